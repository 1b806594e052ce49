"""A filter over time that neither lags nor shortens moves: local parabolas (Savitzky and Golay 1964).

Each value becomes that of the parabola that fits its neighbours best, weighted by a bell around it. The
window is symmetric, so nothing is delayed; at the ends, and beside missing frames, it is what is there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import AnchorError

_REACH = 3.0  # standard deviations


def smooth(values: Tensor, sigma: float, known: Tensor | None = None) -> Tensor:
    """Values (F, C) smoothed over frames, float64; missing ones are filled in from their neighbours.

    sigma: standard deviation of the bell in frames; 0 leaves known values as they are. known: (F,) bool.
    A missing frame that has no known one within reach takes the value of the nearest. Raises AnchorError
    where nothing is known.
    """
    values = values.double()
    known = torch.ones(len(values), dtype=torch.bool) if known is None else known
    if not bool(known.any()):
        raise AnchorError("No frame has a face: there is nothing to follow; give a motion that shows one.")
    values = _nearest_known(values, known)
    if sigma <= 0:
        return values
    reach = max(1, round(_REACH * sigma))
    return torch.stack([_parabola(values, known, frame, reach, sigma) for frame in range(len(values))])


def _parabola(values: Tensor, known: Tensor, frame: int, reach: int, sigma: float) -> Tensor:
    """The fitted value (C,) at a frame."""
    first, last = max(0, frame - reach), min(len(values), frame + reach + 1)
    offset = torch.arange(first - frame, last - frame, dtype=torch.float64)
    weight = torch.exp(-0.5 * (offset / sigma).square()) * known[first:last]
    degree = min(2, int((weight > 0).sum()) - 1)
    if degree < 0:
        return values[frame]
    basis = torch.stack([offset**power for power in range(degree + 1)], dim=1)  # (K, degree + 1)
    root = weight.sqrt()[:, None]
    solution: Tensor = torch.linalg.lstsq(basis * root, values[first:last] * root).solution
    return solution[0]


def _nearest_known(values: Tensor, known: Tensor) -> Tensor:
    """Values with those of missing frames replaced by the nearest known ones."""
    frames, places = torch.arange(len(values)), known.nonzero()[:, 0]
    after = torch.searchsorted(places, frames).clamp(max=len(places) - 1)
    later, earlier = places[after], places[(after - 1).clamp(min=0)]
    return values[torch.where((frames - earlier).abs() <= (later - frames).abs(), earlier, later)]
