"""Training of the decoder of a finished VAE alone, for one person.

The latents keep their meaning, so networks that were trained on them stay valid. The paper leaves the VAE
as it is; a tiny one cannot know all faces and gains by knowing this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..progress import Progress
from .config import VAEConfig
from .data import Pictures
from .loop import fit
from .vae import ReconstructionObjective


def train_decoder(
    vae: Any, pictures: Sequence[Pictures], config: VAEConfig, folder: Path, progress: Progress | None = None
) -> list[float]:
    """Train on whole frames, encoded by the VAE itself; returns the losses of the steps made now."""
    objective = ReconstructionObjective(vae, pictures, replace(config, whole_share=1.0))
    return fit(_decoder_of(vae), objective, config, folder, progress)


def _decoder_of(vae: Any) -> nn.ModuleDict:
    """The part behind the latents; the encoder is frozen."""
    vae.to(memory_format=torch.channels_last).requires_grad_(False)
    return nn.ModuleDict({"post_quant_conv": vae.post_quant_conv, "decoder": vae.decoder})
