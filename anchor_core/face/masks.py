"""Masks of the face in the aligned crop: 255 where it is to be painted. Lengths are shares of the side."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

OVAL_CENTER = torch.tensor([256.0, 282.0], dtype=torch.float64)
OVAL_RADII = torch.tensor([128.0, 178.0], dtype=torch.float64)
"""The oval of a face that is aligned to FFHQ, in pixels of the crop of 512."""
_CLOSING = 0.02  # of the side: eye slits and the gaps between lashes and lids


def face_mask(face: Tensor, arm: Tensor, fill: bool, dilation: float) -> Tensor:
    """Coverage of face and arms, each (S, S) in [0, 1], to the mask (S, S) uint8.

    fill: also what the face surrounds, where no arm is in front. dilation: reach beyond the mesh.
    """
    painted, kept = face >= 0.5, arm >= 0.5
    if not bool(painted.any()):
        return torch.zeros_like(face, dtype=torch.uint8)
    if fill:
        closed = ~grown(~grown(painted, radius_of(_CLOSING, len(face))), radius_of(_CLOSING, len(face)))
        painted = painted | closed | surrounded(painted)
    if dilation > 0:
        painted = grown(painted, radius_of(dilation, len(face)))
    return (painted & ~kept).to(torch.uint8) * 255


def face_oval(size: int) -> Tensor:
    """The mask (S, S) uint8 of an average aligned face, where no mesh tells its own."""
    place = (torch.arange(size, dtype=torch.float64) + 0.5) * 512 / size - 0.5
    x, y = (place - OVAL_CENTER[0]) / OVAL_RADII[0], (place - OVAL_CENTER[1]) / OVAL_RADII[1]
    return ((x.square()[None] + y.square()[:, None]) <= 1).to(torch.uint8) * 255


def grown(mask: Tensor, radius: int) -> Tensor:
    """A bool mask (S, S) with a disc of this radius, in pixels, around each of its pixels."""
    if radius < 1:
        return mask
    size = len(mask)
    # How many pixels are set to the left of each place: a row of the disc is then one difference.
    count = functional.pad(mask.cumsum(1, dtype=torch.int16), (radius + 1, 0))
    count = torch.cat([count, count[:, -1:].expand(-1, radius)], dim=1)
    result = torch.zeros_like(mask)
    for dy in range(min(radius, size - 1) + 1):
        half = math.isqrt(radius**2 - dy**2)
        last, first = radius + half + 1, radius - half
        row = count[:, last : last + size] > count[:, first : first + size]
        result[dy:] |= row[: size - dy]
        result[: size - dy] |= row[dy:]
    return result


def surrounded(mask: Tensor) -> Tensor:
    """Pixels of (S, S) that have mask to their left, right, above and below."""
    across, down = mask.cumsum(1, dtype=torch.int16), mask.cumsum(0, dtype=torch.int16)
    left, above = across > 0, down > 0
    right, below = across[:, -1:] - across > 0, down[-1:] - down > 0
    return left & right & above & below


def radius_of(share: float, size: int) -> int:
    """A share of the crop's side in whole pixels."""
    return round(share * size)
