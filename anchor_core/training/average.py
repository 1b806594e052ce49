"""Exponential moving average of weights: what a training gives back instead of its last, noisy step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class WeightAverage:
    """Average of `parameters` over about 1 / (1 - decay) steps; young averages forget faster.

    At decay 0 that are the weights themselves, and no second copy is kept.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.parameters = list(parameters) if decay else []
        self.decay = decay
        self.average = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` (0-based)."""
        if not self.average:
            return
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

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside of the block the weights are the average; afterwards each is what it was, to the bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, average in zip(self.parameters, self.average, strict=True):
            last = parameter.clone()
            parameter.copy_(average)
            average.copy_(last)
