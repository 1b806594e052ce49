"""The recipe from nothing to a file that samples, at the smallest scale."""

from __future__ import annotations

import json

import pytest
import torch

from anchor_core.anchor.file import load_anchor, read_card
from anchor_core.anchor.use import appearance_tokens, noise_schedule, sampler_settings
from anchor_core.demo import recipe
from anchor_core.demo.identity import make_identity
from anchor_core.demo.recipe import Scale, train_demo_anchor
from anchor_core.sampling.sampler import sample_latents
from anchor_core.sgdm.vae import decode_frames
from anchor_core.training.config import SGDMConfig, VAEConfig

TINY = Scale(
    size=128,
    people=2,
    people_frames=3,
    person_frames=6,
    takes_frames=4,
    faces_frames=4,
    test_frames=3,
    vae=VAEConfig(steps=3, batch_size=2, crop_size=32),
    decoder=VAEConfig(steps=2, batch_size=2, crop_size=32),
    pretrain=SGDMConfig(steps=2, batch_size=2, train_vision=True),
    finetune=SGDMConfig(steps=2, batch_size=2),
    broaden=SGDMConfig(steps=2, batch_size=2),
    refine=VAEConfig(steps=2, batch_size=2),
    face=SGDMConfig(steps=2, batch_size=2),
    face_broaden=SGDMConfig(steps=2, batch_size=2),
    crop_size=32,
    workers=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo")
    train_demo_anchor(path, seed=0, scale=TINY)
    return path


def test_file_samples_and_decodes(folder):
    anchor = load_anchor(folder / recipe.ANCHOR_NAME)
    settings = sampler_settings(anchor.card, steps=2)
    tokens, null = appearance_tokens(anchor)
    mesh = torch.zeros(3, 128, 128, 3)
    latents = sample_latents(anchor.body, mesh, tokens, null, settings, noise_schedule(anchor.card))
    assert decode_frames(anchor.vae, latents).shape == (3, 128, 128, 3)


def test_card_says_how_to_sample(folder):
    card = read_card(folder / recipe.ANCHOR_NAME)
    assert (card.prediction_type, card.zero_terminal_snr) == ("v_prediction", True)
    assert (card.guidance_scale, card.condition_scale, card.null_appearance) == (1.0, 1.0, "stored")
    assert card.betas == pytest.approx(make_identity(0).betas)
    assert card.camera is not None
    assert card.training_steps == 6
    assert card.licence
    assert card.consent


def test_report_measures_held_out_motion(folder):
    rows = json.loads((folder / recipe.REPORT_NAME).read_text())
    assert (len(rows["body"]), len(rows["face"])) == (3, 2)
    assert all(row["psnr"] > 5 for row in (*rows["body"], *rows["face"]))


def test_finished_recipe_does_nothing(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a finished stage was run again")

    for name in ("write_dataset", "train_vae", "train_decoder", "refine_vae", "train_sgdm", "save_anchor"):
        monkeypatch.setattr(recipe, name, refuse)
    assert train_demo_anchor(folder, seed=0, scale=TINY) == folder / recipe.ANCHOR_NAME


def test_goes_on_where_it_was_stopped(folder, monkeypatch):
    (folder / recipe.ANCHOR_NAME).rename(folder / "first.safetensors")
    monkeypatch.setattr(recipe, "write_dataset", None)  # the films are there
    train_demo_anchor(folder, seed=0, scale=TINY)
    assert (folder / recipe.ANCHOR_NAME).read_bytes() == (folder / "first.safetensors").read_bytes()
