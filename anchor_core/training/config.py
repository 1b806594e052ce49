"""Settings of the trainers. Unknown names are refused by the dataclasses, wrong values in one sentence.

The published scripts fine-tune Stable Diffusion with batches of 4, a constant learning rate of 1e-5,
no EMA and no condition dropout, and clip the gradients of the ControlNet alone. The defaults here are
for networks that are trained from nothing in few steps; `PUBLISHED` holds the published values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import AnchorError

LearningRateDecay = Literal["cosine", "constant"]
Precision = Literal["fp32", "bf16", "fp16"]
Optimiser = Literal["adamw", "adamw8bit"]
LoraLayers = Literal["attention", "all"]
"""`attention`: its projections; `all`: feed-forward layers and the convolutions of all blocks too."""


@dataclass(frozen=True)
class LoopConfig:
    """What every training has: length, optimiser, average of the weights, seed, files, and what saves memory.

    steps: optimiser steps in all. batch_size: samples per step, whatever the number of processes.
    learning_rate: after `warmup_steps` of linear growth; `decay` is what follows. betas, weight_decay: of
    AdamW. gradient_clip: largest norm of ALL gradients together. ema_decay: of the moving average that
    becomes the result; 0 takes the last weights. device: "cpu", "cuda", ... checkpoint_every, log_every:
    steps. keep_checkpoints: how many stay on disk, the newest included.

    precision: of the computation; weights, gradients and their average are float32 in any case, "fp16"
    scales the loss. accumulation: parts in which a batch is computed, one after the other, with the same
    gradient up to rounding. optimiser: "adamw8bit" keeps its state in 8 bits (Dettmers et al. 2022) and
    needs bitsandbytes.
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
    keep_checkpoints: int = 1
    precision: Precision = "fp32"
    accumulation: int = 1
    optimiser: Optimiser = "adamw"

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "checkpoint_every", "log_every", "keep_checkpoints", "accumulation")
        for name in counts:
            check_range(name, getattr(self, name), 1, 10**9)
        check_range("learning_rate", self.learning_rate, 1e-12, 1)
        check_range("warmup_steps", self.warmup_steps, 0, 10**9)
        check_range("ema_decay", self.ema_decay, 0, 0.999999)
        check_range("gradient_clip", self.gradient_clip, 1e-6, 1e9)
        check_range("weight_decay", self.weight_decay, 0, 1)
        check_range("seed", self.seed, 0, 2**63 - 1)
        for beta in self.betas:
            check_range("betas", beta, 0, 0.999999)
        check_word("decay", self.decay, LearningRateDecay)
        check_word("precision", self.precision, Precision)
        check_word("optimiser", self.optimiser, Optimiser)
        if self.accumulation > self.batch_size:
            raise AnchorError(
                f"accumulation is {self.accumulation} and batch_size {self.batch_size}; each part of a"
                " batch needs a sample; raise batch_size or lower accumulation"
            )


@dataclass(frozen=True)
class SGDMConfig(LoopConfig):
    """Training of U-Net and ControlNet, and of the vision tower if `train_vision`.

    clip_length: frames per sample that attend to each other; 1 is how the published weights were trained.
    shared_noise: one noise for the frames of a sample, as sampling draws it. null_probability: share of
    samples that see the null tokens instead of a reference, so that guidance has a trained
    unconditional branch (the published scripts parse such an option and never use it). perturbation: share
    of samples that see a perturbed mesh (the SMPL-X perturbation of the paper) instead of the estimated one.
    min_snr_gamma: weights the loss of a step by its signal-to-noise ratio, at most this one (Hang et al.
    2023, who take 5); 0 weights all steps alike. lora_rank: of low-rank layers that are trained instead of
    the networks, 0 for none; lora_alpha: what they say is scaled by lora_alpha / lora_rank. lora_layers:
    where they are; "all" for small networks, which have no attention at their top level.
    gradient_checkpointing: activations are computed a second time instead of kept. dataset_hash: of the data,
    so that a checkpoint is not continued with others.
    """

    clip_length: int = 1
    shared_noise: bool = True
    null_probability: float = 0.1
    train_vision: bool = False
    perturbation: float = 0.0
    min_snr_gamma: float = 0.0
    lora_rank: int = 0
    lora_alpha: float = 16.0
    lora_layers: LoraLayers = "attention"
    gradient_checkpointing: bool = False
    dataset_hash: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("clip_length", self.clip_length, 1, 4096)
        check_range("null_probability", self.null_probability, 0, 1)
        check_range("perturbation", self.perturbation, 0, 1)
        check_range("min_snr_gamma", self.min_snr_gamma, 0, 1000)
        check_range("lora_rank", self.lora_rank, 0, 1024)
        check_range("lora_alpha", self.lora_alpha, 1e-6, 1024)
        check_word("lora_layers", self.lora_layers, LoraLayers)
        if self.lora_rank and self.train_vision:
            raise AnchorError(
                f"lora_rank is {self.lora_rank} and train_vision is on; low-rank layers stand on networks"
                " that stay as they are; switch one of the two off"
            )


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


def check_word(name: str, value: str, words: Any) -> None:
    """Raise AnchorError unless `value` is one of the words of the Literal `words`."""
    if value not in get_args(words):
        raise AnchorError(
            f"{name} is {value!r}; need one of {', '.join(get_args(words))}; change the training settings"
        )
