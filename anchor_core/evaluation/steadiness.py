"""How steady a clip is in time, which single frames do not tell: flicker, seams of windows, drifting colours.

The paper measures none of it. All compare changes of the result with those of the truth, so motion that
really happened does not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..sampling.windows import check_windows, plan_windows
from .meter import Pair
from .metrics import LEVELS
from .report import Curve, Measurement, left_out

_MINUTE_S = 60.0
_NEAR = 3  # steps before and after a window's border that it is compared with
_CHANNELS = ("red", "green", "blue")
_TELLING_S = 10.0  # of a clip whose slope per minute is more than chance


@dataclass(frozen=True)
class Windows:
    """How the result was denoised, see `plan_windows`. Raises AnchorError for numbers that make no plan."""

    size: int = 16
    overlap: int = 4
    schedule: str = "static"

    def __post_init__(self) -> None:
        check_windows(self.size, self.overlap, self.schedule)

    def borders(self, n_frames: int) -> list[int]:
        """Frames t whose step to t + 1 other windows made: (N,) sorted; none for windows that move."""
        return [] if self.moving else window_borders(n_frames, self)

    @property
    def moving(self) -> bool:
        """Whether the borders lie elsewhere at each step."""
        return self.schedule in ("uniform", "looped")


def window_borders(n_frames: int, windows: Windows) -> list[int]:
    """Frames t for which t and t + 1 do not lie in the same windows, of the first denoising step."""
    plan = plan_windows(n_frames, windows.size, windows.overlap, windows.schedule)
    changed = {edge for window in plan for edge in (window[0] - 1, window[-1])}
    return sorted(t for t in changed if 0 <= t < n_frames - 1)


class TimeMeter:
    """Flicker, seam index, acceleration and colour drift.

    skipped, n_frames: frames of the result before the first that is seen and from it on, as the windows were
    planned over all of them; n_frames may be 0 where all is seen.
    """

    def __init__(self, windows: Windows | None, fps: float, skipped: int = 0, n_frames: int = 0) -> None:
        self._windows, self._fps = windows, fps
        self._skipped, self._n_frames = skipped, n_frames
        self._flicker: list[float] = []
        self._tint: list[np.ndarray] = []
        self._before: list[tuple[Tensor, Tensor]] = []  # the one or two frames before
        self._bend = [0.0, 0.0]  # sums of |second differences| of result and truth

    def add(self, pair: Pair) -> None:
        """Look at one frame."""
        error = pair.result - pair.truth
        self._tint.append(error.double().mean(dim=(0, 1)).numpy() * LEVELS)
        if self._before:
            result, truth = self._before[-1]
            change = (pair.result - result) - (pair.truth - truth)
            self._flicker.append(float(change.abs().mean()) * LEVELS)
        if len(self._before) == 2:
            for which, now in enumerate((pair.result, pair.truth)):
                first, middle = (frames[which] for frames in self._before)
                self._bend[which] += float((now - 2 * middle + first).abs().mean())
        self._before = [*self._before[-1:], (pair.result, pair.truth)]

    @property
    def borders(self) -> list[int]:
        """See `Windows.borders`; of the frames that were seen, counted from the first of them."""
        if self._windows is None:
            return []
        seen = len(self._tint)
        planned = self._windows.borders(self._skipped + max(seen, self._n_frames))
        return [t - self._skipped for t in planned if 0 <= t - self._skipped < seen - 1]

    def measurements(self) -> list[Measurement]:
        """Flicker, seam index, acceleration, colour offset and drift."""
        flicker = left_out("one frame does not change", "flicker")
        if self._flicker:
            flicker = [Measurement("flicker", float(np.mean(self._flicker)))]
        return [*flicker, *self._seams(), *self._acceleration(), self._offset(), *self._drift()]

    def _seams(self) -> list[Measurement]:
        if self._windows is None:
            return left_out("no windows given (--anchor or --windows SIZE/OVERLAP)", "seams")
        if self._windows.moving:
            return left_out(f"{self._windows.schedule} windows move, so no frame is a border", "seams")
        value, n_borders = seam_index(self._flicker, self.borders)
        if math.isnan(value):
            why = "nothing flickers around the borders" if n_borders else "this clip has no window borders"
            return left_out(why, "seams")
        note = f"{n_borders} borders, windows {self._windows.size}/{self._windows.overlap}"
        return [Measurement("seams", value, note)]

    def _acceleration(self) -> list[Measurement]:
        if not self._bend[1]:
            return left_out("the truth does not move, or has less than 3 frames", "acceleration")
        return [Measurement("acceleration", self._bend[0] / self._bend[1])]

    def _offset(self) -> Measurement:
        mean = np.mean(self._tint, axis=0)
        most = int(np.abs(mean).argmax())
        return Measurement("colour_offset", float(mean[most]), _CHANNELS[most])

    def _drift(self) -> list[Measurement]:
        if not self._fps:
            return left_out("the frame rate is not known (--fps)", "colour_drift")
        if len(self._tint) < 3:
            return left_out(f"{len(self._tint)} frames have no slope", "colour_drift")
        slopes, errors = drift(np.stack(self._tint), self._fps)
        most = int(np.abs(slopes).argmax())
        seconds = len(self._tint) / self._fps
        note = f"{_CHANNELS[most]}, ± {errors[most]:.2f}, over {seconds:.1f} s"
        if seconds < _TELLING_S:
            note += ": too short to tell of minutes"
        return [Measurement("colour_drift", float(slopes[most]), note)]

    def curves(self) -> dict[str, Curve]:
        """Flicker of each step in time, mean error of each channel."""
        tint = np.stack(self._tint)
        lines = {name: tint[:, channel].tolist() for channel, name in enumerate(_CHANNELS)}
        borders = tuple(self.borders)
        return {
            "flicker": Curve("Flicker from each frame to the next", "levels", {"": self._flicker}, borders),
            "colour": Curve("Mean error of each channel", "levels", lines),
        }


def seam_index(flicker: list[float], borders: list[int]) -> tuple[float, int]:
    """Flicker at borders over that of the steps around each, and the number of borders that have such.

    flicker: (F - 1,), from frame t to t + 1. Only steps near by are compared, because flicker rises and falls
    with the motion. nan where there is no border, or nothing beside them.
    """
    values, taken = np.asarray(flicker), set(borders)
    at, around = [], []
    for border in borders:
        near = range(max(0, border - _NEAR), min(len(values), border + _NEAR + 1))
        others = [t for t in near if t not in taken]
        if others:
            at.append(values[border])
            around.append(values[others].mean())
    total = float(np.sum(around))
    return (float(np.sum(at)) / total if total else math.nan), len(at)


def drift(errors: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (C,) per minute of errors (F, C) by least squares, and their standard errors.

    The errors of neighbouring frames are alike, which the standard error does not know: it is too small.
    """
    minutes = np.arange(len(errors)) / fps / _MINUTE_S
    centred = minutes - minutes.mean()
    spread = (centred**2).sum()
    slopes = centred @ errors / spread
    rest = errors - errors.mean(0) - centred[:, None] * slopes
    variance = (rest**2).sum(0) / max(1, len(errors) - 2)
    return slopes, np.sqrt(variance / spread)
