"""Noise is drawn on the CPU and shared by the frames."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anchor_core.errors import AnchorError
from anchor_core.sampling.noise import draw_noise


def test_shared_noise_is_one_for_all_frames() -> None:
    noise = draw_noise(3, 5, 4, 6, 7)
    assert noise.shape == (5, 4, 6, 7)
    assert noise.dtype == torch.float32
    assert bool((noise == noise[:1]).all())
    noise[0] = 0  # frames own their memory
    assert bool(noise[1].any())


def test_shared_noise_is_that_of_the_published_sampler(goldens: Path) -> None:
    wanted = load_file(goldens / "b_sample_N21_ws8_os2" / "tensors.safetensors")["latents_init"]
    assert torch.equal(draw_noise(42, 21, 4, 8, 16), wanted[0].transpose(0, 1))


def test_noise_per_frame_differs_and_does_not_know_the_clip_length() -> None:
    noise = draw_noise(
        3, 6, 4, 3, 5, shared=False
    )  # 60 numbers a frame: no multiple of the generator's block
    assert not torch.equal(noise[0], noise[1])
    assert torch.equal(noise[:4], draw_noise(3, 4, 4, 3, 5, shared=False))
    assert torch.equal(noise[:1], draw_noise(3, 1, 4, 3, 5))


def test_noise_has_unit_variance_and_follows_the_seed() -> None:
    noise = draw_noise(2**64 - 1, 8, 4, 64, 64, shared=False)
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    assert not torch.equal(noise, draw_noise(0, 8, 4, 64, 64, shared=False))
    state = torch.get_rng_state()
    draw_noise(1, 1, 4, 2, 2)
    assert torch.equal(state, torch.get_rng_state())


def test_bad_noise_is_refused() -> None:
    with pytest.raises(AnchorError, match="seed is -1: need a whole number from 0"):
        draw_noise(-1, 1, 4, 2, 2)
    with pytest.raises(AnchorError, match="noise of 0 frames"):
        draw_noise(0, 0, 4, 2, 2)
