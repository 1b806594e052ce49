"""What is left of a clip when its sampling stops, so that it can go on later, and who keeps that.

The sampler works step by step over all frames, so between two steps a clip is its latents and what the
solver remembers; within a step also the sum of the windows that are done. From that state sampling goes on
to the same bits as if it had never stopped (on the same device, with the same arguments).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch

SolverState = dict[str, "torch.Tensor | int"]
"""Tensors, float32, and numbers by name; see `solver.ClipSolver`."""


@dataclass
class SampleState:
    """Where the sampling of a clip stands. The tensors belong to the sampler: read, never change them.

    step: the step to be done next, 0 .. settings.steps; that number itself means the clip is finished.
    windows_done: windows of that step, in the order of the plan, that are in `total`.
    latents: (F, C, h, w) float32 on the CPU. total: the same shape, weighted sum of the predictions of the
    windows done; None if there are none. solver: what the solver remembers of the steps before.
    """

    step: int
    windows_done: int
    latents: torch.Tensor
    total: torch.Tensor | None = None
    solver: SolverState = field(default_factory=dict)


class SampleKeeper(Protocol):
    """Keeps the state of one clip, on disk for example."""

    @property
    def seconds(self) -> float:
        """How long to work within a step before its windows are saved; 60 is usual. Steps always are."""

    def load(self) -> SampleState | None:
        """The newest state that was saved, or None to begin. Its tensors are the sampler's from then on."""

    def save(self, state: SampleState) -> None:
        """Keep a state instead of those before it, whole or not at all.

        The tensors change as soon as this returns: write or copy them. May raise, which stops sampling.
        """
