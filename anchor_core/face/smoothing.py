"""A filter over time that neither lags nor shortens moves: local parabolas (Savitzky and Golay 1964).

Each value becomes that of the parabola that fits its neighbours best, weighted by a bell around it. The
window is symmetric, so nothing is delayed; at the ends, and beside missing frames, it is what is there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import AnchorError

_REACH = 3.0  # standard deviations
_TOGETHER = 1024  # frames


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
    parts = torch.arange(len(values)).split(_TOGETHER)
    return torch.cat([_parabolas(values, known, frames, reach, sigma) for frames in parts])


def _parabolas(values: Tensor, known: Tensor, frames: Tensor, reach: int, sigma: float) -> Tensor:
    """The fitted values (n, C) at some frames (n,).

    On polynomials that are orthogonal to each other under the weights of a frame (Forsythe 1957), in plain
    sums: solvers of least squares round differently from run to run.
    """
    offset = torch.arange(-reach, reach + 1, dtype=torch.float64)
    place = frames[:, None] + offset.long()
    inside = (place >= 0) & (place < len(values))
    place = place.clamp(0, len(values) - 1)
    weight = torch.exp(-0.5 * (offset / sigma).square()) * (known[place] & inside)
    count = (weight > 0).sum(1, keepdim=True)
    share = torch.zeros_like(weight)  # of each neighbour in the fitted value
    before, now, size_before = torch.zeros_like(weight), torch.ones_like(weight), torch.ones(1)
    for degree in range(3):
        size = (weight * now.square()).sum(1, keepdim=True)
        used = count > degree
        share = torch.where(used, share + now[:, reach, None] * now * weight / size, share)
        middle = (weight * offset * now.square()).sum(1, keepdim=True) / size
        before, now = now, (offset - middle) * now - (size / size_before if degree else 0.0) * before
        size_before = size
    fitted = sum(share[:, k, None] * values[place[:, k]] for k in range(len(offset)))
    return torch.where(count > 0, torch.as_tensor(fitted), values[frames])


def _nearest_known(values: Tensor, known: Tensor) -> Tensor:
    """Values with those of missing frames replaced by the nearest known ones."""
    frames, places = torch.arange(len(values)), known.nonzero()[:, 0]
    after = torch.searchsorted(places, frames).clamp(max=len(places) - 1)
    later, earlier = places[after], places[(after - 1).clamp(min=0)]
    return values[torch.where((frames - earlier).abs() <= (later - frames).abs(), earlier, later)]
