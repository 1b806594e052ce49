"""AdamW, as published, in 32 bits or with its state in 8."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import AnchorError
from .config import LoopConfig


def make_optimiser(parameters: Sequence[Tensor], config: LoopConfig) -> Any:
    """An optimiser for `parameters`. Raises AnchorError where the 8-bit one is asked for and missing."""
    options: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": config.betas,
        "weight_decay": config.weight_decay,
    }
    if config.optimiser == "adamw":
        return torch.optim.AdamW(parameters, **options)
    try:
        import bitsandbytes
    except ImportError:
        raise AnchorError(
            "optimiser is 'adamw8bit', which needs bitsandbytes, and that is not installed;"
            " pip install bitsandbytes, or take 'adamw'"
        ) from None
    return bitsandbytes.optim.AdamW8bit(parameters, **options)


def learning_rate(config: LoopConfig, step: int) -> float:
    """Of step `step` (0-based): linear warm-up, then constant or half a cosine to zero."""
    rate = config.learning_rate * min(1.0, (step + 1) / (config.warmup_steps + 1))
    if config.decay == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return rate
