"""How far a motion leaves what an anchor was trained on: by part and frame, in words that name the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .describe import name_frames, stretches
from .motion import N_JOINTS, Motion
from .ranges import FIRST_HAND_JOINT, Array, MotionRanges, Seen, look
from .rotations import matrix_from_axis_angle

if TYPE_CHECKING:
    from ..body.model import BodyModel

_JOINTS: dict[str, tuple[tuple[int, ...], float]] = {
    "turn of the body": ((0,), 10.0),
    "spine": ((3, 6, 9), 10.0),
    "neck and head": ((12, 15), 10.0),
    "jaw": ((22,), 6.0),
    "eyes": ((23, 24), 25.0),
    "left shoulder": ((13, 16), 20.0),
    "right shoulder": ((14, 17), 20.0),
    "left elbow": ((18,), 20.0),
    "right elbow": ((19,), 20.0),
    "left wrist": ((20,), 25.0),
    "right wrist": ((21,), 25.0),
    "left fingers": (tuple(range(FIRST_HAND_JOINT, 40)), 35.0),
    "right fingers": (tuple(range(40, N_JOINTS)), 35.0),
    "legs": ((1, 2, 4, 5, 7, 8), 20.0),
}
"""Joints that are looked at together, and how many degrees beyond the range count as much. Chosen, not
measured on pictures: three held-out clips of the demo presenter stay below all of them."""
_DEGREES, _PERCENT, _CENTIMETRES = "°", " %", " cm"
_UNITS = {_DEGREES: " degrees", _PERCENT: " % of the picture", _CENTIMETRES: " cm"}
_HEAD_PLACE_LIMIT, _HEAD_SIZE_LIMIT = 5.0, 3.0  # % of the picture's height
_REACH_LIMIT = 10.0  # cm
_LEAST_TOLD = 0.1  # of the limit; less is noise
_MOST_NAMED = 4  # parts in the one sentence of a warning, and stretches of each
_JOIN_S = 0.2  # stretches that are nearer are named as one

UNKNOWN = (
    "The anchor's card does not say what motion it was trained on, so the motion cannot be compared with it."
)


@dataclass(frozen=True, eq=False)
class RangeRow:
    """One part of the body. excess: (F,) how far beyond the range, 0 inside it; NaN throughout where the
    motion or the card does not tell. limit: what counts as much. unit: of both: "°", " %" or " cm"."""

    name: str
    excess: Array
    limit: float
    unit: str

    @property
    def limit_text(self) -> str:
        """The limit with its unit, as people write it."""
        return f"{self.limit:g}{self.unit}"

    @property
    def known(self) -> bool:
        """Whether there was something to compare."""
        return not bool(np.isnan(self.excess).any())

    @property
    def severity(self) -> Array:
        """(F,) excess over limit: 0 as trained, 1 and more is much."""
        return np.nan_to_num(self.excess / self.limit)

    @property
    def worst(self) -> float:
        """The largest severity."""
        return float(self.severity.max())


@dataclass(frozen=True, eq=False)
class RangeReport:
    """What of a motion leaves the ranges. rows: empty where the card knows no ranges. n_trained: frames that
    the ranges come from. performer: the anchor."""

    rows: tuple[RangeRow, ...]
    n_frames: int
    fps: float
    n_trained: int = 0
    performer: str = ""

    @property
    def severity(self) -> Array:
        """(F,) that of the worst part in each frame."""
        known = [row.severity for row in self.rows]
        return np.max(known, axis=0) if known else np.zeros(self.n_frames)

    @property
    def far(self) -> list[RangeRow]:
        """The rows that leave the ranges by much, the worst first."""
        return sorted((row for row in self.rows if row.worst >= 1), key=lambda row: -row.worst)

    def frames(self, row: RangeRow) -> list[tuple[int, int]]:
        """First and last frame of the stretches where a row leaves its range by much; those that hardly stop
        between are one."""
        return _joined(stretches(row.severity >= 1), round(_JOIN_S * self.fps))

    def sentences(self) -> list[str]:
        """The report in words: a summary, then one sentence for each part, the worst first."""
        if not self.rows:
            return [UNKNOWN]
        name = self.performer or "the anchor"
        count = int((self.severity >= 1).sum())
        summary = f"{self.n_frames - count} of {self.n_frames} frames are near what {name} was trained on."
        lines = [self._sentence(row) for row in self.far]
        near = [row for row in self.rows if _LEAST_TOLD <= row.worst < 1]
        if near:
            lines.append("A little beyond the training: " + ", ".join(map(_at_most, near)) + ".")
        unknown = [row.name for row in self.rows if not row.known]
        if unknown:
            lines.append("Not compared, as it is not known: " + ", ".join(unknown) + ".")
        return [summary, *lines]

    def warning(self) -> str | None:
        """One sentence that names parts and frames where the motion leaves the ranges by much, or None."""
        if not self.far:
            return None
        named = [
            f"{row.name} by up to {_amount(row)} (frames {name_frames(self.frames(row), _MOST_NAMED)})"
            for row in self.far[:_MOST_NAMED]
        ]
        more = len(self.far) - len(named)
        return (
            f"The motion leaves what {self.performer or 'the anchor'} was trained on: {', '.join(named)}"
            f"{f' and {more} other parts' if more > 0 else ''}; expect a worse picture there."
        )

    def _sentence(self, row: RangeRow) -> str:
        return (
            f"{row.name.capitalize()}: up to {_amount(row)} beyond the training ({row.limit_text} is much), "
            f"frames {name_frames(self.frames(row))}."
        )


def compare_ranges(motion: Motion, ranges: MotionRanges | None, body: BodyModel) -> RangeReport:
    """How far a retargeted motion leaves the ranges of its anchor; only joints are posed, so that ten minutes
    take seconds. The head is not compared where the motion has no camera."""
    facts = {"n_frames": len(motion), "fps": motion.fps, "performer": motion.performer}
    if ranges is None:
        return RangeReport((), **facts)  # type: ignore[arg-type]
    from ..render.motion import fit_camera

    camera = motion.camera and fit_camera(motion.camera, ranges.size)
    seen = look(motion, camera, body, matrix_from_axis_angle(ranges.mean))
    rows = (*_joint_rows(seen, ranges), *_head_rows(seen, ranges), *_reach_rows(seen, ranges))
    return RangeReport(rows, n_trained=ranges.n_frames, **facts)  # type: ignore[arg-type]


def _joint_rows(seen: Seen, ranges: MotionRanges) -> list[RangeRow]:
    beyond = np.linalg.norm(_beyond(seen.deviation, ranges.low, ranges.high), axis=-1)
    return [
        RangeRow(name, beyond[:, joints].max(axis=1), limit, _DEGREES)
        for name, (joints, limit) in _JOINTS.items()
    ]


def _head_rows(seen: Seen, ranges: MotionRanges) -> list[RangeRow]:
    beyond = 100 * _beyond(seen.head, ranges.head_low, ranges.head_high)
    aspect = ranges.size[0] / ranges.size[1]  # x counts in shares of the height too
    place = np.hypot(beyond[:, 0] * aspect, beyond[:, 1])
    return [
        RangeRow("place of the head", place, _HEAD_PLACE_LIMIT, _PERCENT),
        RangeRow("size of the head", beyond[:, 2], _HEAD_SIZE_LIMIT, _PERCENT),
    ]


def _reach_rows(seen: Seen, ranges: MotionRanges) -> list[RangeRow]:
    beyond = 100 * np.linalg.norm(_beyond(seen.reach, ranges.reach_low, ranges.reach_high), axis=-1)
    return [
        RangeRow(f"reach of the {side} hand", beyond[:, number], _REACH_LIMIT, _CENTIMETRES)
        for number, side in enumerate(("left", "right"))
    ]


def _beyond(values: Array, low: Array, high: Array) -> Array:
    """How far values lie outside low to high; NaN where any of them is."""
    return np.asarray(np.maximum(np.maximum(low - values, values - high), 0.0))


def _joined(runs: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in runs:
        if joined and first - joined[-1][1] - 1 <= gap:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _amount(row: RangeRow) -> str:
    return f"{row.excess.max():.0f}{_UNITS[row.unit]}"


def _at_most(row: RangeRow) -> str:
    return f"{row.name} (up to {row.excess.max():.1f}{row.unit})"
