"""Training of a finished VAE on another kind of pictures, aligned faces, without a change to what it knew.

A crop shows a face two or three times as large as the frame does, which a tiny VAE has never seen. Encoder
and decoder learn the crops; on frames the encoder is held to its own latents and the decoder to the frames,
so networks that were trained on these latents stay valid. Stable Diffusion's VAE needs none of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..progress import Progress
from .config import VAEConfig
from .data import Pictures
from .loop import batch_indices, fit
from .vae import reconstruction_loss

FRAMES_KEPT = 500
"""Frames that hold the VAE to its latents."""
_CROPS_PER_FRAME = 4
_HOLD = 2.0  # weight of the latents' squared error


def refine_vae(
    vae: Any,
    frames: Pictures,
    crops: Sequence[Pictures],
    config: VAEConfig,
    folder: Path,
    progress: Progress | None = None,
) -> list[float]:
    """Train an AutoencoderKL in place; returns the losses of the steps made now.

    frames: what it was trained on. crops: what it is to learn. config.batch_size: crops per step; crops and
    frames are taken whole.
    """
    vae.to(memory_format=torch.channels_last)
    faces = np.concatenate([part.target for part in crops])
    objective = RefiningObjective(vae, frames.target, faces, config)
    return fit(vae, objective, config, folder, progress)


class RefiningObjective:
    """The losses of a batch of crops, and of some frames with the latents that they had at the start."""

    def __init__(self, vae: Any, frames: np.ndarray, crops: np.ndarray, config: VAEConfig) -> None:
        self.vae, self.crops, self.config = vae, crops, config
        self.frames = frames[np.linspace(0, len(frames) - 1, min(FRAMES_KEPT, len(frames))).astype(int)]
        # By the VAE as it comes in: `fit` loads the checkpoint of a stopped training after this.
        parts = np.array_split(self.frames, max(1, len(self.frames) // 16))
        with torch.no_grad():
            self.latents = torch.cat([vae.encode(self._pixels(part)).latent_dist.mean for part in parts])

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        """Loss of one batch."""
        config = self.config
        n_frames = max(1, config.batch_size // _CROPS_PER_FRAME)
        some = batch_indices(len(self.frames), n_frames, step, config.seed + 1)
        return self.kept(some) + self.learned(step, generator)

    def learned(self, step: int, generator: torch.Generator) -> Tensor:
        """How well crops come back."""
        chosen = batch_indices(len(self.crops), self.config.batch_size, step, self.config.seed)
        pixels = self._pixels(self.crops[chosen.numpy()])
        posterior = self.vae.encode(pixels).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(pixels.device)
        restored = self.vae.decode(posterior.mean + posterior.std * noise).sample
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        return reconstruction_loss(restored, pixels, self.config) + self.config.kl_weight * divergence

    def kept(self, some: Tensor) -> Tensor:
        """How far frames and their latents have moved."""
        pixels, latents = self._pixels(self.frames[some.numpy()]), self.latents[some].to(self.config.device)
        moved = functional.mse_loss(self.vae.encode(pixels).latent_dist.mean, latents)
        return reconstruction_loss(self.vae.decode(latents).sample, pixels, self.config) + _HOLD * moved

    def _pixels(self, pictures: np.ndarray) -> Tensor:
        """(n, 3, H, W) in [-1, 1]."""
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(self.config.device).float()
        return pixels.div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
