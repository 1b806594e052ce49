"""How much of a face can be seen, and why a frame's face is better left as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .align import crop_sides, inverse, transform
from .masks import OVAL_CENTER, OVAL_RADII

TURNED, OUTSIDE, SMALL, COVERED, NO_FACE = (
    "turned away",
    "outside the frame",
    "too small",
    "covered",
    "no face",
)
MIN_FACE_PX = 14
"""A face that is not wider is left as it is: its crop would be invented."""
_CLEAR_FACE_PX = 18  # from here on size takes nothing away; between the two a face that comes nearer fades in
_SEEN_DEG, _LOST_DEG = 50.0, 75.0  # turn of the head up to which all of it counts, from which nothing does
_GRID = 12
_FADE = 0.15  # of visibility, above where a face counts as hidden


def judge(shares: Mapping[str, Tensor], minimum: float) -> tuple[Tensor, tuple[str, ...]]:
    """Visibility (F,) float32, and for each frame below `minimum` the main reason, else "".

    shares: reason to (F,), 1 where it takes nothing away and 0 where it hides the face.
    """
    stacked = torch.stack([share.float() for share in shares.values()])
    visibility = stacked.prod(0)
    worst = stacked.argmin(0).tolist()
    names = tuple(shares)
    lost = (visibility < minimum) | (visibility <= 0)
    hidden = tuple(names[worst[frame]] if gone else "" for frame, gone in enumerate(lost.tolist()))
    return visibility, hidden


def fade_weights(visibility: Tensor, min_visibility: float) -> Tensor:
    """How much of the new face is shown, (F,) float32: 0 where it counts as hidden, rising smoothly to 1.

    visibility: (F,) 0 to 1. A face that is seen completely always has 1.
    """
    width = max(min(_FADE, 1 - min_visibility), 1e-6)
    way = ((visibility.float() - min_visibility) / width).clamp(0, 1)
    way = torch.where(visibility >= 1, 1.0, way)
    return way * way * (3 - 2 * way)


def facing(landmarks: Tensor, eye: tuple[float, float, float]) -> Tensor:
    """Share (F,) of the face that is turned to the camera, from landmarks (F, 68, 3) in the renderer's world.

    eye: where the camera stands. 1 up to a turn of 50 degrees in any direction, 0 from 75 degrees on.
    """
    left, right = landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)
    mouth = landmarks[:, [48, 54]].mean(1)
    center = (left + right) / 2
    outward = torch.linalg.cross(mouth - center, right - left)
    toward = landmarks.new_tensor(eye) - center
    cosine = torch.nn.functional.cosine_similarity(outward, toward, dim=1)
    seen, lost = (math.cos(math.radians(angle)) for angle in (_SEEN_DEG, _LOST_DEG))
    return ((cosine - lost) / (seen - lost)).clamp(0, 1)


def inside_frame(matrices: Tensor, size: tuple[int, int]) -> Tensor:
    """Share (F,) of the face's oval that lies in a frame of (width, height); matrices: to the crop of 512."""
    line = torch.linspace(-1, 1, _GRID, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    oval = grid[grid.square().sum(1) <= 1] * OVAL_RADII + OVAL_CENTER
    x, y = transform(oval.expand(len(matrices), -1, -1), inverse(matrices)).unbind(-1)
    within = (x > -0.5) & (x < size[0] - 0.5) & (y > -0.5) & (y < size[1] - 0.5)
    return within.double().mean(1)


def large_enough(matrices: Tensor) -> Tensor:
    """1 where the face, (F,), is wide enough in the frame, falling to 0 at MIN_FACE_PX."""
    width = crop_sides(matrices) * float(2 * OVAL_RADII[0]) / 512
    return ((width - MIN_FACE_PX) / (_CLEAR_FACE_PX - MIN_FACE_PX)).clamp(0, 1)
