"""The experiments change what they say and leave the network as it was; the table holds all rows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from anchor_core.anchor.file import Anchor, save_anchor
from anchor_core.demo.networks import LATENT_CHANNELS, TOKEN_WIDTH, new_sgdm, new_vae, new_vision
from anchor_core.demo.recipe import QUICK, demo_card
from anchor_core.errors import AnchorError
from anchor_core.evaluation.benchmark import benchmark_demo, uncovered
from anchor_core.evaluation.experiments import EXPERIMENTS, Experiment, prepared


@pytest.fixture(scope="module")
def anchor():
    """An untrained anchor of the demo world."""
    return Anchor(
        card=replace(demo_card(QUICK, 0), steps=2),
        body=new_sgdm(0),
        vae=new_vae(0),
        vision=new_vision(0),
        null_appearance=torch.zeros(1, 17, TOKEN_WIDTH),
        reference=torch.zeros(64, 64, 3, dtype=torch.uint8),
    )


def test_table_and_json(anchor, tmp_path):
    path = tmp_path / "anchor.safetensors"
    save_anchor(anchor, path)
    text = benchmark_demo(path, n_frames=3, out=tmp_path / "rows.json", experiments=EXPERIMENTS[:2])
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["name"] for row in rows][1:] == [experiment.name for experiment in EXPERIMENTS[:2]]
    assert all(row["name"] in text for row in rows)
    assert len(text.splitlines()) == 2 + len(rows)


def test_foreign_anchors_are_refused(anchor, tmp_path):
    path = tmp_path / "anchor.safetensors"
    save_anchor(replace(anchor, vae=None), path)
    with pytest.raises(AnchorError, match="has no VAE and vision tower of its own"):
        benchmark_demo(path)


@pytest.mark.parametrize("n_frames", [-1, 0, 1])
def test_a_clip_without_movement_is_refused(anchor, tmp_path, n_frames):
    path = tmp_path / "anchor.safetensors"
    save_anchor(anchor, path)
    with pytest.raises(AnchorError, match=f"the held-out clip has {n_frames} frames: need 2 or more"):
        benchmark_demo(path, n_frames)


@torch.no_grad()
def predict(sgdm, latents):
    generator = torch.Generator().manual_seed(3)
    appearance = torch.randn(1, 17, TOKEN_WIDTH, generator=generator)
    features = sgdm.embed_pose(torch.rand(3, 3, 64, 64, generator=generator))[None]
    return sgdm(latents, 500, appearance, features)


def test_without_everything_frames_are_alone(anchor):
    latents = torch.randn(1, 3, LATENT_CHANNELS, 8, 8, generator=torch.Generator().manual_seed(4))
    changed = latents.clone()
    changed[:, 2] += 1
    before = predict(anchor.body, latents)
    with prepared(anchor.body, Experiment("", without=("attention", "normalization"))) as sgdm:
        alone, other = predict(sgdm, latents), predict(sgdm, changed)
    torch.testing.assert_close(alone[:, 0], other[:, 0])
    assert not torch.allclose(before, alone, atol=1e-3)
    assert torch.equal(predict(anchor.body, latents), before)


@pytest.mark.parametrize("ingredient", ["attention", "normalization"])
def test_each_ingredient_joins_frames(anchor, ingredient):
    latents = torch.randn(1, 3, LATENT_CHANNELS, 8, 8, generator=torch.Generator().manual_seed(4))
    changed = latents.clone()
    changed[:, 2] += 1
    with prepared(anchor.body, Experiment("", without=(ingredient,))) as sgdm:
        assert not torch.allclose(predict(sgdm, latents)[:, 0], predict(sgdm, changed)[:, 0], atol=1e-5)


def test_fidelity_is_put_back(anchor):
    with pytest.raises(RuntimeError), prepared(anchor.body, Experiment("", fidelity="reference")) as sgdm:
        assert sgdm.fidelity == "reference"
        raise RuntimeError
    assert anchor.body.fidelity == "trained"


def test_background_keeps_a_margin_to_the_person():
    mesh = torch.zeros(2, 48, 48, 3, dtype=torch.uint8)
    mesh[1, 20:28, 20:28] = 200
    background = uncovered(mesh)
    assert not background[16:32, 16:32].any()
    assert background[:16].all()
