"""Every kind of beginning is recognised and loaded; what is missing is named."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from anchor_core.anchor.configs import CONTROLNET, UNET, read_config
from anchor_core.anchor.file import save_anchor
from anchor_core.errors import AnchorError
from anchor_core.training.job import job_from
from anchor_core.training.start import load_start, start_kind

from ..anchor import models


@pytest.fixture
def job(tmp_path):
    def build(networks, stage="body", **start):
        given = {"stage": stage, "name": "Ada", "out": str(tmp_path / "out.safetensors")}
        start = {"networks": str(networks), **{key: str(value) for key, value in start.items()}}
        train = start.pop("train", {})
        return job_from({**given, "data": {"sets": "d"}, "start": start, "train": train})

    return build


@pytest.fixture(scope="module")
def anchor_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("anchors") / "ada.safetensors"
    save_anchor(models.tiny_anchor(), path, torch.float32)
    return path


def write_network(folder, kind, network):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(read_config(kind, network)))
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")


def write_published(folder, sgdm):
    write_network(folder / "unet", UNET, sgdm.unet)
    write_network(folder / "controlnet", CONTROLNET, sgdm.controlnet)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_an_anchor_brings_everything(job, anchor_file):
    start = load_start(job(anchor_file))
    wanted = models.tiny_anchor()
    assert same(start.sgdm, wanted.body)
    assert same(start.vae, wanted.vae)
    assert same(start.vision, wanted.vision)
    assert torch.equal(start.null, wanted.null_appearance)
    assert start.sgdm.fidelity == "trained"
    assert start.anchor.body is start.anchor.face is None


def test_tiny_is_the_same_each_time(job):
    one, other = (load_start(job("tiny", stage)) for stage in ("body", "face"))
    assert same(one.vae, other.vae)  # so that both can go into one file
    assert same(one.vision, other.vision)
    assert same(one.sgdm, load_start(job("tiny")).sgdm)
    assert (one.sgdm.inpaint_channels, other.sgdm.inpaint_channels) == (0, 5)


def test_published_folder_and_checkpoints(job, anchor_file, tmp_path):
    torch.manual_seed(1)
    first, last = models.tiny_sgdm(), models.tiny_sgdm()
    write_published(tmp_path / "run" / "checkpoint-900", first)
    write_published(tmp_path / "run" / "checkpoint-10000", last)
    write_published(tmp_path / "ada" / "body", first)
    parts = {"vae": tmp_path / "vae", "clip_vision": tmp_path / "clip"}
    models.tiny_vae().save_pretrained(parts["vae"])
    models.tiny_vision().save_pretrained(parts["clip_vision"])
    off = {"train": {"null_probability": 0.0}}
    assert same(load_start(job_with(job, tmp_path / "ada", parts, off)).sgdm, first)
    assert same(load_start(job_with(job, tmp_path / "run", parts, off)).sgdm, last)
    assert start_kind(job(tmp_path / "run" / "checkpoint-900"))[0] == "published"
    with pytest.raises(
        AnchorError, match=r"null_probability is 0\.1 and .* holds no tokens of no appearance"
    ):
        load_start(job_with(job, tmp_path / "ada", parts, {}))
    with pytest.raises(AnchorError, match=r"holds the body of a person and no face"):
        load_start(job(tmp_path / "ada", "face"))


def job_with(job, networks, parts, changes):
    from dataclasses import replace

    made = job(networks, **parts)
    return replace(made, train=replace(made.train, **changes.get("train", {})))


def test_a_base_model_gets_a_controlnet(job, tmp_path):
    folder = tmp_path / "sd"
    torch.manual_seed(2)
    unet = models.tiny_unet()
    write_network(folder / "unet", UNET, unet)
    models.tiny_vae().save_pretrained(folder / "vae")
    models.tiny_vision().save_pretrained(folder / "image_encoder")
    made = job_with(job, folder, {}, {"train": {"null_probability": 0.0}})
    with pytest.raises(AnchorError, match="text encoder"):  # the folder has none
        load_start(made)
    shutil.copytree(folder / "vae", tmp_path / "vae")
    assert start_kind(made) == ("base", folder)


@pytest.mark.parametrize(
    ("networks", "stage", "message"),
    [
        ("nowhere", "body", r"start\.networks is .*nowhere, which does not exist"),
        (None, "face", r"ada\.safetensors has no face network to start from"),
    ],
)
def test_wrong_starts(job, anchor_file, networks, stage, message):
    with pytest.raises(AnchorError, match=message):
        load_start(job(networks or anchor_file, stage))


def test_missing_parts(job, tmp_path):
    path = tmp_path / "bare.safetensors"
    save_anchor(models.tiny_anchor(vae=None), path)
    with pytest.raises(AnchorError, match=r"bare\.safetensors holds no VAE; give one as start\.vae"):
        load_start(job(path))
    save_anchor(models.tiny_anchor(vision=None), path)
    with pytest.raises(AnchorError, match=r"holds no vision tower; give one as start\.clip_vision"):
        load_start(job(path))
