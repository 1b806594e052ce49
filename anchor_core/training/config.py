"""Settings of the trainers. Unknown names are refused by the dataclasses, wrong values in one sentence.

The published scripts fine-tune Stable Diffusion with batches of 4, a constant learning rate of 1e-5,
no EMA and no condition dropout, and clip the gradients of the ControlNet alone. The defaults here are
for networks that are trained from nothing in few steps; `PUBLISHED` holds the published values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..errors import AnchorError

LearningRateDecay = Literal["cosine", "constant"]


@dataclass(frozen=True)
class LoopConfig:
    """What every training has: length, optimiser, average of the weights, seed, files.

    steps: optimiser steps in all. batch_size: samples per step. learning_rate: after `warmup_steps` of
    linear growth; `decay` is what follows. betas, weight_decay: of AdamW. gradient_clip: largest norm of
    ALL gradients together. ema_decay: of the moving average that becomes the result; 0 takes the last
    weights. device: "cpu", "cuda", ... checkpoint_every, log_every: steps.
    """

    steps: int
    batch_size: int = 16
    learning_rate: float = 1e-3
    decay: LearningRateDecay = "cosine"
    warmup_steps: int = 30
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-2
    gradient_clip: float = 1.0
    ema_decay: float = 0.997
    seed: int = 0
    device: str = "cpu"
    checkpoint_every: int = 250
    log_every: int = 50

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every", "log_every"):
            check_range(name, getattr(self, name), 1, 10**9)
        check_range("learning_rate", self.learning_rate, 1e-12, 1)
        check_range("warmup_steps", self.warmup_steps, 0, 10**9)
        check_range("ema_decay", self.ema_decay, 0, 0.999999)
        check_range("gradient_clip", self.gradient_clip, 1e-6, 1e9)
        if self.decay not in ("cosine", "constant"):
            raise AnchorError(f"decay is {self.decay!r}; need 'cosine' or 'constant'; choose one of them")


@dataclass(frozen=True)
class SGDMConfig(LoopConfig):
    """Training of U-Net and ControlNet, and of the vision tower if `train_vision`.

    clip_length: frames per sample that attend to each other; 1 is how the published weights were trained.
    shared_noise: one noise for the frames of a sample, as sampling draws it. null_probability: share of
    samples that see the null tokens instead of a reference, so that guidance has a trained
    unconditional branch (the published scripts parse such an option and never use it).
    """

    clip_length: int = 1
    shared_noise: bool = True
    null_probability: float = 0.1
    train_vision: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("clip_length", self.clip_length, 1, 4096)
        check_range("null_probability", self.null_probability, 0, 1)


@dataclass(frozen=True)
class VAEConfig(LoopConfig):
    """Training of an AutoencoderKL from nothing.

    crop_size: side of the training crops, pixels. person_share: share of the crops that lie on the person
    instead of anywhere. whole_share: last part of the steps that sees crops of `whole_size` (0: whole
    frames), as few per batch as have the pixels of one batch of crops: GroupNorm has to know the
    statistics of the large pictures on which the VAE will work.
    """

    learning_rate: float = 2e-3
    ema_decay: float = 0.99
    weight_decay: float = 0.0
    crop_size: int = 64
    person_share: float = 0.7
    whole_share: float = 0.15
    whole_size: int = 0
    kl_weight: float = 1e-4
    gradient_weight: float = 0.5
    square_weight: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("crop_size", self.crop_size, 8, 4096)
        check_range("person_share", self.person_share, 0, 1)
        check_range("whole_share", self.whole_share, 0, 1)


PUBLISHED: dict[str, Any] = {
    "batch_size": 4,
    "learning_rate": 1e-5,
    "decay": "constant",
    "warmup_steps": 0,
    "betas": (0.9, 0.999),
    "ema_decay": 0.0,
    "null_probability": 0.0,
}
"""Values of the published scripts for Stable Diffusion 1.5: `SGDMConfig(steps=50_000, **PUBLISHED)`.

They hold for the face too, at 256 pixels and 80,000 steps; its validation samples without guidance (1.0).
"""


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise AnchorError unless low <= value <= high."""
    if not low <= value <= high:
        raise AnchorError(f"{name} is {value}; need {low:g} to {high:g}; change the training settings")
