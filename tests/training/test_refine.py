"""A VAE that learns another kind of pictures and keeps its latents of the first kind."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from anchor_core.demo.networks import new_vae
from anchor_core.training.config import VAEConfig
from anchor_core.training.data import Pictures
from anchor_core.training.refine import refine_vae
from anchor_core.training.vae import train_vae


def _pictures(target: np.ndarray) -> Pictures:
    count = len(target)
    return Pictures(target, target, target[:1], torch.zeros(count).long(), torch.zeros(count).long())


@pytest.fixture(scope="module")
def kinds() -> tuple[Pictures, Pictures]:
    """Blue pictures 64 px wide, and reddish ones 32 px wide, each of patches."""
    rng = np.random.default_rng(0)
    blue = rng.integers((0, 0, 120), (60, 90, 255), (12, 4, 4, 3)).repeat(16, 1).repeat(16, 2)
    red = rng.integers((150, 0, 0), (255, 120, 40), (16, 2, 2, 3)).repeat(16, 1).repeat(16, 2)
    return _pictures(blue.astype(np.uint8)), _pictures(red.astype(np.uint8))


@pytest.fixture(scope="module")
def finished(kinds, tmp_path_factory):
    vae = new_vae(0)
    config = VAEConfig(steps=40, batch_size=4, crop_size=32, whole_share=0.3)
    train_vae(vae, [kinds[0]], config, tmp_path_factory.mktemp("vae"))
    return vae


def _latents_and_error(vae, pictures: Pictures) -> tuple[torch.Tensor, float]:
    pixels = torch.from_numpy(pictures.target).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        latents = vae.encode(pixels).latent_dist.mean
        return latents, float((vae.decode(latents).sample - pixels).abs().mean())


def test_learns_crops_and_keeps_frames(finished, kinds, tmp_path) -> None:
    frames, crops = kinds
    latents, frames_before = _latents_and_error(finished, frames)
    _, crops_before = _latents_and_error(finished, crops)
    vae = copy.deepcopy(finished)
    refine_vae(vae, frames, [crops], VAEConfig(steps=60, batch_size=4, learning_rate=1e-3), tmp_path)
    moved, frames_after = _latents_and_error(vae, frames)
    _, crops_after = _latents_and_error(vae, crops)
    assert crops_after < 0.8 * crops_before
    assert frames_after < 1.1 * frames_before
    assert float((moved - latents).square().mean()) < 0.1 * float(latents.var())


def test_resumes_with_the_latents_of_the_start(finished, kinds, tmp_path) -> None:
    frames, crops = kinds
    config = VAEConfig(steps=4, batch_size=4, learning_rate=1e-3, checkpoint_every=2)
    whole, stopped = copy.deepcopy(finished), copy.deepcopy(finished)
    refine_vae(whole, frames, [crops], config, tmp_path / "whole")

    def stop(done: int, _total: int, _preview: object) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine_vae(stopped, frames, [crops], config, tmp_path / "stopped", stop)
    again = copy.deepcopy(finished)
    refine_vae(again, frames, [crops], config, tmp_path / "stopped")
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
