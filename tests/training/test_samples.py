"""Held-out samples: chosen evenly, equal for equal weights, and nothing of the training is disturbed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anchor_core.errors import AnchorError
from anchor_core.sampling.sampler import SamplerSettings
from anchor_core.sampling.schedulers import ZERO_TERMINAL_SNR
from anchor_core.sgdm.network import start_control_at_half
from anchor_core.training.data import Pictures
from anchor_core.training.samples import evenly, held_out_pictures, held_out_sampler

from ..anchor import models

SETTINGS = SamplerSettings(steps=2, guidance_scale=1.0, condition_scale=1.0, window_size=4, overlap=1)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """6 frames of 16 pixels with two references."""
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, 256, (2, 6, 16, 16, 3), np.uint8)
    reference = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
    return Pictures(source, target, reference, torch.tensor([0, 1, 0, 1, 0, 1]), torch.zeros(6).long())


def sampler(pictures: Pictures, settings: SamplerSettings = SETTINGS, **changes):
    torch.manual_seed(0)
    sgdm = models.tiny_sgdm(in_channels=9 if pictures.mask is not None else 4)
    start_control_at_half(sgdm)  # so that the mesh arrives
    vae, vision = models.tiny_vae(), models.tiny_vision()
    return held_out_sampler(sgdm, vae, vision, pictures, ZERO_TERMINAL_SNR, settings, **changes)


def test_frames_are_chosen_evenly(pictures: Pictures) -> None:
    assert evenly(100, 4) == [12, 37, 62, 87]
    assert evenly(3, 4) == [0, 1, 2]
    chosen = sampler(pictures, n_samples=2)
    assert np.array_equal(chosen.mesh, pictures.source[[1, 4]])
    assert np.array_equal(chosen.truth, pictures.target[[1, 4]])
    assert np.array_equal(chosen.pictures.reference, pictures.reference[[1, 0]])


def test_samples_repeat_and_leave_the_random_state(pictures: Pictures) -> None:
    chosen = sampler(pictures)
    state = torch.get_rng_state()
    first, second = chosen(), chosen()
    assert first.shape == (4, 16, 16, 3)
    assert first.dtype == torch.uint8
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_each_frame_is_sampled_on_its_own(pictures: Pictures) -> None:
    many, few = sampler(pictures, n_samples=6)(), sampler(pictures, n_samples=2)()
    assert torch.equal(many[[1, 4]], few)


def test_mesh_and_reference_are_seen(pictures: Pictures) -> None:
    result = sampler(pictures)()
    for name in ("source", "reference"):
        other = replace(pictures, **{name: 255 - getattr(pictures, name)})
        assert not torch.equal(sampler(other)(), result)


def test_guidance_without_stored_tokens_uses_zeros(pictures: Pictures) -> None:
    guided = replace(SETTINGS, guidance_scale=3.0)
    width = models.VISION["hidden_size"]
    zeros = torch.zeros(1, 5, width)
    assert torch.equal(sampler(pictures, guided)(), sampler(pictures, guided, null=zeros)())


def test_a_face_sees_its_surroundings(pictures: Pictures) -> None:
    mask = np.zeros((6, 16, 16), np.uint8)
    mask[:, 8:] = 255
    face = replace(pictures, mask=mask)
    result = sampler(face)()
    painted = face.target.copy()
    painted[:, :8] = 7  # what is to be painted is not seen
    assert torch.equal(sampler(replace(face, target=painted))(), result)
    painted[:, 8:] = 7
    assert not torch.equal(sampler(replace(face, target=painted))(), result)


def write_manifest(folder: Path, sizes: list[int], **further: str) -> Path:
    lines = []
    for number, size in enumerate(sizes):
        Image.new("RGB", (size, size), (number * 20, 0, 0)).save(folder / f"{number}.png")
        name = f"{number}.png"
        lines.append(json.dumps({"source": name, "target": name, "reference": "0.png", **further}))
    path = folder / "held_out.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_pictures_of_a_manifest_in_one_size(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, [16, 32, 32, 24, 32, 32])
    found = held_out_pictures(path, 3, 24)
    assert found.source.shape == found.target.shape == (3, 24, 24, 3)
    assert found.target[:, 0, 0, 0].tolist() == [20, 60, 100]
    assert found.mask is None


def test_masks_of_a_manifest(tmp_path: Path) -> None:
    found = held_out_pictures(write_manifest(tmp_path, [16, 16], mask="0.png"), 2, 8)
    assert found.mask.shape == (2, 8, 8)
    assert found.context.shape == (2, 8, 8, 3)


def test_an_empty_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("")
    with pytest.raises(AnchorError, match="is empty"):
        held_out_pictures(tmp_path / "m.jsonl", 2, 8)
