"""Training of the decoder of a finished VAE alone, for one person.

The latents keep their meaning, so networks that were trained on them stay valid. The paper leaves the VAE as
it is; a tiny one cannot know all faces and gains by knowing this one. Two kinds of latents can be decoded:
those of true frames, and those that the SGDM makes of their meshes, from which the decoder learns
to draw a clean picture in spite of the small errors of the denoising.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..progress import Progress
from ..sampling.sampler import SamplerSettings, sample_latents
from ..sampling.schedulers import NoiseSchedule
from ..sgdm.network import SGDM
from ..sgdm.vae import scale_latents, unscale_latents
from .config import VAEConfig
from .data import Pictures, TrainingSet
from .loop import batch_indices, fit
from .vae import ReconstructionObjective, reconstruction_loss

TRUE_SHARE = 0.25
"""Share of the samples that are decoded from the true frame's latents, so that the decoder keeps to them."""


def train_decoder(
    vae: Any, pictures: Sequence[Pictures], config: VAEConfig, folder: Path, progress: Progress | None = None
) -> list[float]:
    """Train on whole frames, encoded by the VAE itself; returns the losses of the steps made now."""
    objective = ReconstructionObjective(vae, pictures, replace(config, whole_share=1.0))
    return fit(_decoder_of(vae), objective, config, folder, progress)


def train_decoder_on_denoised(
    vae: Any,
    target: np.ndarray,
    denoised: Tensor,
    config: VAEConfig,
    folder: Path,
    progress: Progress | None = None,
) -> list[float]:
    """Train on what an SGDM made of the meshes of the frames; returns the losses of the steps made now.

    target: (N, H, W, 3) uint8; denoised: (N, C, h, w) scaled latents. A batch holds whole frames.
    """
    return fit(_decoder_of(vae), DenoisedObjective(vae, target, denoised, config), config, folder, progress)


def sample_recordings(
    sgdm: SGDM,
    data: TrainingSet,
    settings: SamplerSettings,
    noise_schedule: NoiseSchedule,
    progress: Progress | None = None,
) -> Tensor:
    """Latents (N, C, h, w) that the SGDM makes of the meshes of a training set, one recording after another.

    data: with tokens as references (the tower is frozen); each recording is seen with its first reference.
    """
    latents = []
    for clip in data.clip.unique_consecutive().tolist():
        rows = (data.clip == clip).nonzero()[:, 0]
        tokens = data.reference[data.which[rows[:1]]]
        latents.append(sample_latents(sgdm, data.pose[rows], tokens, None, settings, noise_schedule))
        if progress:
            progress(int(rows[-1]) + 1, len(data.clip), None)
    return torch.cat(latents)


@dataclass
class DenoisedObjective:
    """Pixel losses of whole frames, most of them decoded from denoised latents."""

    vae: Any
    target: np.ndarray
    denoised: Tensor
    config: VAEConfig

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        """Loss of one batch."""
        config = self.config
        frames = batch_indices(len(self.target), config.batch_size, step, config.seed)
        pixels = torch.from_numpy(self.target[frames.numpy()]).to(config.device).permute(0, 3, 1, 2)
        pixels = (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            true = scale_latents(self.vae, self.vae.encode(pixels).latent_dist.mean)
        use_true = torch.rand(len(frames), 1, 1, 1, generator=generator) < TRUE_SHARE
        latents = torch.where(use_true.to(true.device), true, self.denoised[frames].to(true))
        restored = self.vae.decode(unscale_latents(self.vae, latents)).sample
        return reconstruction_loss(restored, pixels, config)


def _decoder_of(vae: Any) -> nn.ModuleDict:
    """The part behind the latents; the encoder is frozen."""
    vae.to(memory_format=torch.channels_last).requires_grad_(False)
    return nn.ModuleDict({"post_quant_conv": vae.post_quant_conv, "decoder": vae.decoder})
