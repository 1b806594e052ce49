"""Frames to latents and back: published decoding, chunks, scale and shift, interruption, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anchor_core.errors import AnchorError
from anchor_core.sgdm.vae import decode_chunks, decode_frames, encode_frames, scale_latents, unscale_latents


@pytest.fixture(scope="module")
def golden_vae(goldens: Path) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(goldens / "models/vae").eval()


@pytest.fixture
def vae() -> Any:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        latent_channels=8,
        scaling_factor=0.5,
        shift_factor=0.25,
        mid_block_add_attention=False,
    ).eval()


def test_published_decoding(goldens: Path, golden_vae: Any) -> None:
    folder = goldens / "b_sample_N10_ws4_os1_lastwindow1frame"
    latents = load_file(folder / "tensors.safetensors")["latents_final"][0].transpose(0, 1)
    video = np.load(folder / "decoded_video.npz")["video_b_c_f_h_w"][0]
    expected = torch.from_numpy(video).permute(1, 2, 3, 0)
    for chunk in (1, 3, 10):
        torch.testing.assert_close(decode_frames(golden_vae, latents, chunk), expected, rtol=0, atol=1e-4)


def test_chunks_change_nothing(vae: Any) -> None:
    frames = torch.rand(5, 16, 12, 3)
    latents = encode_frames(vae, frames, chunk=2)
    assert latents.shape == (5, 8, 4, 3)
    torch.testing.assert_close(latents, encode_frames(vae, frames, chunk=5), rtol=1e-4, atol=1e-5)
    chunks = list(decode_chunks(vae, latents, chunk=2))
    assert [len(part) for part in chunks] == [2, 2, 1]
    torch.testing.assert_close(torch.cat(chunks), decode_frames(vae, latents, 5), rtol=1e-4, atol=1e-5)


def test_bytes_are_frames_too(vae: Any) -> None:
    frames = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    torch.testing.assert_close(encode_frames(vae, frames), encode_frames(vae, frames / 255))


def test_scale_and_shift_are_those_of_the_config(vae: Any) -> None:
    frames = torch.rand(2, 8, 8, 3)
    with torch.no_grad():
        mean = vae.encode(frames.permute(0, 3, 1, 2) * 2 - 1).latent_dist.mode()
    torch.testing.assert_close(encode_frames(vae, frames), (mean - 0.25) * 0.5)
    torch.testing.assert_close(unscale_latents(vae, scale_latents(vae, mean)), mean)


def test_posterior_is_drawn_with_the_generator(vae: Any) -> None:
    frames = torch.rand(2, 8, 8, 3)
    first, second = (encode_frames(vae, frames, sample=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, encode_frames(vae, frames))


def test_progress_and_interruption(vae: Any) -> None:
    latents, seen = torch.zeros(5, 8, 2, 2), []

    def progress(done: int, total: int, preview: Any) -> None:
        seen.append((done, total, preview.shape, preview.dtype))
        if done >= 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        decode_frames(vae, latents, chunk=2, progress=progress)
    assert seen == [(2, 5, (8, 8, 3), np.uint8), (4, 5, (8, 8, 3), np.uint8)]


def test_what_does_not_fit(vae: Any) -> None:
    with pytest.raises(AnchorError, match="10 x 8 pixels: resize or crop both sides to multiples of 4"):
        encode_frames(vae, torch.zeros(1, 8, 10, 3))
    with pytest.raises(AnchorError, match=r"Frames have shape \(0, 8, 8, 3\)"):
        encode_frames(vae, torch.zeros(0, 8, 8, 3))
    with pytest.raises(AnchorError, match=r"this VAE needs \(F, 8, h, w\)"):
        decode_frames(vae, torch.zeros(1, 4, 2, 2))
