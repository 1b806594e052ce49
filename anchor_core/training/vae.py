"""Training of a small VAE from nothing, for anchors that do not stand on Stable Diffusion's.

The paper takes Stable Diffusion's autoencoder as it is. A tiny one is trained here on crops of the frames
of several people (one who has seen a single person cannot paint another), with plain pixel losses:
    L1 + 0.5 L1 of the gradients + 2 squared error + 1e-4 KL
No perceptual or adversarial part: both need networks that are larger than everything else here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..progress import Progress
from .config import VAEConfig
from .data import Pictures, encode_targets
from .loop import batch_indices, fit


def train_vae(
    vae: Any, pictures: Sequence[Pictures], config: VAEConfig, folder: Path, progress: Progress | None = None
) -> list[float]:
    """Train an AutoencoderKL in place on the targets of several sets, then whiten its latents.

    Returns the losses of the steps made now. Resumes as `fit` does.
    """
    vae.to(memory_format=torch.channels_last)
    objective = ReconstructionObjective(vae, pictures, config)
    losses = fit(vae, objective, config, folder, progress)
    whiten(vae, objective.some_targets(64))
    return losses


@dataclass
class ReconstructionObjective:
    """Pixel losses of a batch of random crops."""

    vae: Any
    pictures: Sequence[Pictures]
    config: VAEConfig

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        """Loss of one batch."""
        config = self.config
        pixels = self.draw_crops(step, generator).to(config.device).float().div(127.5).sub(1)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        posterior = self.vae.encode(pixels).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(config.device)
        restored = self.vae.decode(posterior.mean + posterior.std * noise).sample
        loss: Tensor = reconstruction_loss(restored, pixels, config)
        return loss + config.kl_weight * posterior.kl().mean() / posterior.mean[0].numel()

    def draw_crops(self, step: int, generator: torch.Generator) -> Tensor:
        """(B, 3, s, s) uint8 crops; towards the end fewer and larger ones."""
        config = self.config
        sides = self.pictures[0].target.shape[1:3]
        size = min(config.crop_size, *sides)
        batch = config.batch_size
        if step >= config.steps * (1 - config.whole_share):
            whole = min(config.whole_size or min(sides), *sides)
            batch = max(1, round(batch * size**2 / whole**2))
            size = whole
        lengths = [len(part) for part in self.pictures]
        chosen = batch_indices(sum(lengths), batch, step, config.seed)
        return torch.stack([self._crop(int(index), size, generator) for index in chosen])

    def _crop(self, index: int, size: int, generator: torch.Generator) -> Tensor:
        """One crop of frame `index` of all sets in a row, (3, size, size) uint8."""
        for part in self.pictures:
            if index < len(part):
                break
            index -= len(part)
        frame, mesh = part.target[index], part.source[index]
        share, *place = torch.rand(3, generator=generator).tolist()
        room = np.array(frame.shape[:2]) - size
        corner = (np.array(place) * (room + 1)).astype(int)
        person = np.flatnonzero(mesh.any(axis=2)) if share < self.config.person_share else ()
        if len(person):
            centre = np.unravel_index(person[int(place[0] * len(person))], mesh.shape[:2])
            corner = np.clip(np.array(centre) - size // 2, 0, room)
        top, left = corner
        return torch.from_numpy(frame[top : top + size, left : left + size]).permute(2, 0, 1)

    def some_targets(self, per_set: int) -> np.ndarray:
        """Frames spread evenly over the sets of the first one's size, (n, H, W, 3) uint8."""
        first = self.pictures[0].target.shape[1:]
        return np.concatenate(
            [
                part.target[np.linspace(0, len(part) - 1, min(per_set, len(part))).astype(int)]
                for part in self.pictures
                if part.target.shape[1:] == first
            ]
        )


def reconstruction_loss(restored: Tensor, pixels: Tensor, config: VAEConfig) -> Tensor:
    """L1, L1 of the horizontal and vertical differences, squared error; pictures in [-1, 1]."""
    error = restored - pixels
    gradients = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    square = functional.mse_loss(restored, pixels)
    return error.abs().mean() + config.gradient_weight * gradients + config.square_weight * square


@torch.no_grad()
def whiten(vae: Any, target: np.ndarray) -> None:
    """Give the latents mean 0 and deviation 1 per channel, exactly, by the two 1x1 convolutions around them.

    Channels of a home-made VAE have means of several deviations, which one scaling factor cannot remove.
    quant_conv shifts and scales the means and shifts the log-variances, post_quant_conv undoes it; the
    pictures stay the same and scaling_factor becomes 1. target: (N, H, W, 3) uint8 typical frames.
    """
    vae.register_to_config(scaling_factor=1.0)
    mean, _ = encode_targets(vae, target)
    channels = mean.shape[1]
    centre = mean.mean(dim=(0, 2, 3))
    scale = mean.std(dim=(0, 2, 3)).clamp_min(1e-6)
    quant, post = vae.quant_conv, vae.post_quant_conv
    # post(z * scale + centre) first: its bias needs the weights as they were.
    post.bias += post.weight[:, :, 0, 0] @ centre.to(post.weight)
    post.weight *= scale.to(post.weight).view(1, -1, 1, 1)
    quant.weight[:channels] /= scale.to(quant.weight).view(-1, 1, 1, 1)
    quant.bias[:channels] = (quant.bias[:channels] - centre.to(quant.bias)) / scale.to(quant.bias)
    quant.bias[channels:] -= 2 * scale.to(quant.bias).log()
