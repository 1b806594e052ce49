"""How steady the face sits: what is left of its motion once the mesh's motion is taken out.

The mesh says where the face of each frame is, so result and truth are cut out by the same matrix. In the two
crops the face should lie in one place. The shift between them is found by least squares on the brightness
(Lucas and Kanade 1981), together with a gain and an offset, because a blurred face has less contrast.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..face.warp import warp_to_crops
from .guide import CROP, FaceView
from .meter import Pair
from .report import Curve, Measurement, left_out

_LUMA = torch.tensor([0.299, 0.587, 0.114])
_ROUNDS = 8
_LEVELS = (4, 2, 1)
"""The shift is found in crops that are made smaller by these factors, one after the other."""
_LARGEST = 0.25  # of the crop: a face that is further away is another thing


class FaceMeter:
    """Steadiness and offset of the face."""

    def __init__(self) -> None:
        self._shifts: list[tuple[float, float]] = []  # pixels of the frame; nan where there is no face
        self._shown = 0  # frames whose mesh shows the face

    def add(self, pair: Pair) -> None:
        """Look at one frame."""
        face = pair.hint.face
        self._shown += face is not None
        self._shifts.append((math.nan, math.nan) if face is None else _shift_in_frame(pair, face))

    def measurements(self) -> list[Measurement]:
        """Face steadiness, face offset."""
        shifts = np.asarray(self._shifts)
        known = np.isfinite(shifts[:, 0])
        steps = np.diff(shifts, axis=0)
        steps = steps[np.isfinite(steps[:, 0])]
        if not len(steps):
            return left_out(self._why(bool(known.any())), "face_jitter", "face_offset")
        note = f"found in {int(known.sum())} of {self._shown} frames that show it"
        jitter = float(np.sqrt((steps**2).sum(1).mean()))
        offset = float(np.linalg.norm(shifts[known], axis=1).mean())
        return [Measurement("face_jitter", jitter, note), Measurement("face_offset", offset, note)]

    def _why(self, found: bool) -> str:
        if not self._shown:
            return "no mesh shows where the face is (--motion or --dataset)"
        if not found:
            return "the result does not show the true face"
        return "no two neighbouring frames show the face"

    def curves(self) -> dict[str, Curve]:
        """The shift of the face in each frame."""
        shifts = np.asarray(self._shifts)
        if not np.isfinite(shifts).any():
            return {}
        lines = {"right": shifts[:, 0].tolist(), "down": shifts[:, 1].tolist()}
        return {"face": Curve("Where the face lies against the true one", "px", lines)}


def _shift_in_frame(pair: Pair, face: FaceView) -> tuple[float, float]:
    """The shift in pixels of the frame."""
    matrix = face.matrix[None]
    crops = [warp_to_crops(frame[None], matrix, CROP)[0] @ _LUMA for frame in (pair.result, pair.truth)]
    found = face_shift(crops[0], crops[1], face.mask)
    turn = face.matrix[:, :2].numpy()
    x, y = np.linalg.solve(turn, found)
    return float(x), float(y)


def face_shift(result: Tensor, truth: Tensor, mask: Tensor) -> np.ndarray:
    """How far the content of `result` lies to the right of and below that of `truth`: (2,) pixels.

    result, truth: (S, S) brightness; mask: (S, S) bool, where the face is. nan where nothing can be found.
    """
    shift = np.zeros(2)
    for factor in _LEVELS:
        one, two, weight = (_reduced(part, factor) for part in (result, truth, mask.float()))
        found = _refined(one, two, (weight > 0.5).float(), shift / factor)
        if found is None:
            return np.full(2, math.nan)
        shift = found * factor
    return shift if np.abs(shift).max() < _LARGEST * len(result) else np.full(2, math.nan)


def _refined(one: Tensor, two: Tensor, weight: Tensor, shift: np.ndarray) -> np.ndarray | None:
    """Gauss-Newton steps on |one - (gain * two(x - shift) + offset)|^2."""
    two_x, two_y = _gradient(two)
    for _ in range(_ROUNDS):
        moved, right, down = (_moved(part, shift) for part in (two, two_x, two_y))
        columns = torch.stack([-right, -down, torch.ones_like(moved), moved], dim=-1).flatten(0, 1)
        weights = weight.flatten()[:, None]
        normal = (columns * weights).T.double() @ columns.double()
        target = (columns * weights).T.double() @ (one - moved).flatten().double()
        normal[:2, :2] += 1e-9 * torch.eye(2, dtype=torch.float64)
        if not bool(torch.isfinite(normal).all()) or float(torch.linalg.det(normal)) <= 0:
            return None
        step = torch.linalg.solve(normal, target)
        gain = float(1 + step[3])
        if not 0.05 < gain < 20:  # nothing of the one face is in the other
            return None
        shift = shift + step[:2].numpy() / gain
        if float(step[:2].abs().max()) < 1e-4:
            break
    return shift


def _gradient(picture: Tensor) -> tuple[Tensor, Tensor]:
    down, right = torch.gradient(picture)
    return right, down


def _moved(picture: Tensor, shift: np.ndarray) -> Tensor:
    """picture(x - shift), by the cubic of Keys (1981), which keeps slopes (torch's bicubic does not)."""
    for dim, along in ((1, float(shift[0])), (0, float(shift[1]))):
        whole = math.ceil(along)
        t = whole - along
        places = torch.arange(picture.shape[dim]) - whole
        taps = (
            (-(t**3) + 2 * t**2 - t) / 2,
            (3 * t**3 - 5 * t**2 + 2) / 2,
            (-3 * t**3 + 4 * t**2 + t) / 2,
            (t**3 - t**2) / 2,
        )
        picture = sum(
            weight * picture.index_select(dim, (places + tap - 1).clamp(0, picture.shape[dim] - 1))
            for tap, weight in enumerate(taps)
        )  # type: ignore[assignment]
    return picture


def _reduced(picture: Tensor, factor: int) -> Tensor:
    """Blurred a little, and smaller by a whole factor."""
    if factor > 1:
        picture = functional.avg_pool2d(picture[None, None], factor)[0, 0]
    kernel = torch.tensor([0.25, 0.5, 0.25])
    padded = functional.pad(picture[None, None], (1, 1, 1, 1), mode="replicate")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, 3))
    return functional.conv2d(rows, kernel.view(1, 1, 3, 1))[0, 0]
