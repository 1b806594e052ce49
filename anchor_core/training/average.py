"""Exponential moving average of weights: what a training gives back instead of its last, noisy step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class WeightAverage:
    """Average of `parameters` over about 1 / (1 - decay) steps; young averages forget faster."""

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.average = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` (0-based)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, self.parameters, 1 - decay)

    @torch.no_grad()
    def restore(self, average: Sequence[Tensor]) -> None:
        """Take over a saved average."""
        for mine, saved in zip(self.average, average, strict=True):
            mine.copy_(saved)

    @torch.no_grad()
    def apply(self) -> None:
        """Write the average into the weights themselves."""
        for parameter, average in zip(self.parameters, self.average, strict=True):
            parameter.copy_(average)
