"""Between frames and latents (section 3.1), a few frames at a time: the VAE's memory is that of a chunk.

Scale and shift of the latents come from the config of the autoencoder; the published code holds
0.18215, Stable Diffusion's, as a constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ..errors import AnchorError
from ..progress import Progress


@torch.no_grad()
def encode_frames(
    vae: Any,
    frames: torch.Tensor,
    chunk: int = 8,
    sample: torch.Generator | None = None,
    progress: Progress | None = None,
) -> torch.Tensor:
    """Scaled latents (F, C, h, w), float32 on the CPU, of frames (F, H, W, 3) uint8 or float in [0, 1].

    vae: `AutoencoderKL`; sample: draw from the posterior with this generator (of the CPU or of the device of
    the VAE), by default its mean is taken. Raises AnchorError when sides do not fit the latent grid.
    """
    check_frames(frames, latent_stride(vae))
    weight = next(vae.parameters())
    latents = []
    for start in range(0, len(frames), chunk):
        pixels = frames[start : start + chunk].to(weight.device)
        pixels = pixels.to(weight.dtype) / 255 if pixels.dtype == torch.uint8 else pixels.to(weight.dtype)
        posterior = vae.encode(pixels.permute(0, 3, 1, 2) * 2 - 1).latent_dist
        drawn = posterior.mode() if sample is None else posterior.sample(generator=sample)
        latents.append(scale_latents(vae, drawn.float()).cpu())
        if progress is not None:
            progress(min(start + chunk, len(frames)), len(frames), None)
    return torch.cat(latents)


def decode_frames(
    vae: Any, latents: torch.Tensor, chunk: int = 8, progress: Progress | None = None
) -> torch.Tensor:
    """Frames (F, H, W, 3), float32 in [0, 1] on the CPU, of scaled latents (F, C, h, w).

    The whole clip; for one that does not fit into memory see `decode_chunks`.
    """
    check_vae_latents(latents, int(vae.config.latent_channels))
    height, width = (side * latent_stride(vae) for side in latents.shape[2:])
    frames = torch.empty(len(latents), height, width, int(vae.config.out_channels))
    done = 0
    for part in decode_chunks(vae, latents, chunk, progress):
        frames[done : done + len(part)] = part
        done += len(part)
    return frames


def decode_chunks(
    vae: Any, latents: torch.Tensor, chunk: int = 8, progress: Progress | None = None
) -> Iterator[torch.Tensor]:
    """Frames of scaled latents (F, C, h, w), `chunk` at a time: (chunk, H, W, 3) float32 in [0, 1], CPU.

    vae: `AutoencoderKL`. Frames do not depend on each other: `chunk` changes memory only. Raises AnchorError,
    on the first chunk, when the latents are those of another kind of autoencoder.
    """
    check_vae_latents(latents, int(vae.config.latent_channels))
    for start in range(0, len(latents), chunk):
        frames = _decode(vae, latents[start : start + chunk])
        if progress is not None:
            newest = frames[-1].mul(255).round().to(torch.uint8).numpy()
            progress(start + len(frames), len(latents), newest)
        yield frames


@torch.no_grad()
def _decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    weight = next(vae.parameters())
    unscaled = unscale_latents(vae, latents.to(weight.device).float())
    pixels = vae.decode(unscaled.to(weight.dtype), return_dict=False)[0].float()
    return (pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).contiguous().cpu()


def scale_latents(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Latents of the autoencoder to those that are diffused, near unit variance."""
    shift, factor = _shift_and_factor(vae)
    return (latents - shift) * factor


def unscale_latents(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Inverse of `scale_latents`."""
    shift, factor = _shift_and_factor(vae)
    return latents / factor + shift


def latent_stride(vae: Any) -> int:
    """Pixels per latent pixel: 8 for Stable Diffusion."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def check_frames(frames: torch.Tensor, stride: int) -> None:
    """Raise AnchorError unless `frames` is (F, H, W, 3) with sides divisible by `stride`."""
    if frames.ndim != 4 or frames.shape[3] != 3 or len(frames) == 0:
        raise AnchorError(
            f"Frames have shape {tuple(frames.shape)}: give (F, H, W, 3) with at least one frame."
        )
    height, width = frames.shape[1:3]
    if height % stride or width % stride:
        raise AnchorError(
            f"Frames are {width} x {height} pixels: resize or crop both sides to multiples of {stride}."
        )


def check_vae_latents(latents: torch.Tensor, channels: int) -> None:
    """Raise AnchorError unless `latents` is (F, channels, h, w)."""
    if latents.ndim != 4 or latents.shape[1] != channels or len(latents) == 0:
        raise AnchorError(
            f"Latents have shape {tuple(latents.shape)} and this VAE needs (F, {channels}, h, w): "
            "decode with the VAE of the anchor that made them."
        )


def _shift_and_factor(vae: Any) -> tuple[float, float]:
    return float(vae.config.get("shift_factor") or 0.0), float(vae.config.scaling_factor)
