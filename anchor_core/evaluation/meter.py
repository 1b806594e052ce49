"""What every meter takes and gives: frames go by one at a time, only numbers are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .guide import Hint, person
from .report import Curve, Measurement


@dataclass(frozen=True, eq=False)
class Pair:
    """One frame of result and truth. bytes: (H, W, 3) uint8; result, truth: the same, float32 in [0, 1].

    person: (H, W) bool, the mesh's pixels, or None.
    """

    index: int
    result_bytes: np.ndarray
    truth_bytes: np.ndarray
    result: Tensor
    truth: Tensor
    hint: Hint
    person: Tensor | None

    @classmethod
    def of(cls, index: int, result: np.ndarray, truth: np.ndarray, hint: Hint) -> Pair:
        """Two frames (H, W, 3) uint8 of one size."""
        ours, theirs = (torch.from_numpy(frame.astype(np.float32)).div(255) for frame in (result, truth))
        mask = person(hint)
        return cls(index, result, truth, ours, theirs, hint, mask)


class Meter(Protocol):
    """Sees every pair once, in order."""

    def add(self, pair: Pair) -> None:
        """Look at one frame."""

    def measurements(self) -> list[Measurement]:
        """What all frames together say."""

    def curves(self) -> dict[str, Curve]:
        """Numbers per frame, by a name for JSON."""
