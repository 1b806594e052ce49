"""Frames without a pose: short stretches are filled from their neighbours and marked, long ones refused."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from ..errors import AnchorError
from .describe import stretches
from .formats.parts import Parts
from .rotations import axis_angle_from_matrix, matrix_from_axis_angle

logger = logging.getLogger("anchor")

_LISTED = 3  # stretches that the log names


def fill_gaps(parts: Parts, fps: float, max_gap_s: float) -> tuple[Parts, np.ndarray]:
    """The parts with every number finite, and (F,) bool of the frames that were filled.

    Rotations are interpolated on the shortest arc (slerp), other numbers linearly; at both ends the nearest
    frame is held. A stretch longer than `max_gap_s` is an AnchorError that names its frames. One warning is
    logged where frames are filled.
    """
    arrays = _arrays(parts)
    n_frames = len(parts.pose)
    if any(array.ndim < 2 or len(array) != n_frames for array in arrays.values()):
        return parts, np.zeros(n_frames, bool)  # not to be repaired; the motion says what is wrong
    holes = {name: ~np.isfinite(array.reshape(n_frames, -1)).all(axis=1) for name, array in arrays.items()}
    marks: np.ndarray = np.any(list(holes.values()), axis=0)
    if not marks.any():
        return parts, marks
    gaps = stretches(marks)
    _check_gaps(gaps, [name for name, bad in holes.items() if bad.any()], n_frames, fps, max_gap_s)
    _say(gaps, n_frames)
    filled = {name: _filled(name, array) for name, array in arrays.items()}
    hands = None if parts.hands_pca is None else (filled["left hand"], filled["right hand"])
    return (
        replace(
            parts,
            pose=filled["pose"],
            translation=filled["translation"],
            expression=filled["expression"],
            hands_pca=hands,
        ),
        marks,
    )


def _arrays(parts: Parts) -> dict[str, np.ndarray]:
    arrays = {"pose": parts.pose, "translation": parts.translation, "expression": parts.expression}
    if parts.hands_pca is not None:
        arrays |= dict(zip(("left hand", "right hand"), parts.hands_pca, strict=True))
    return {name: np.asarray(array) for name, array in arrays.items()}


def _check_gaps(
    gaps: list[tuple[int, int]], names: list[str], n_frames: int, fps: float, max_gap_s: float
) -> None:
    what = ", ".join(names)
    if gaps[0] == (0, n_frames - 1):
        raise AnchorError(
            f"None of the {n_frames} frames is whole, there are numbers that are not finite (NaN or "
            f"infinite) in {what}: export the motion again."
        )
    long = [(first, last) for first, last in gaps if (last - first + 1) / fps > max_gap_s + 1e-6]
    if long:
        first, last = long[0]
        more = f" (and {len(long) - 1} more such stretches)" if long[1:] else ""
        raise AnchorError(
            f"Frames {first} to {last} have no {what} (NaN or infinite) for {(last - first + 1) / fps:.2f} s"
            f"{more}, and up to max_gap_s={max_gap_s:g} s are interpolated: cut these frames out, or give a "
            "larger max_gap_s."
        )


def _say(gaps: list[tuple[int, int]], n_frames: int) -> None:
    count = sum(last - first + 1 for first, last in gaps)
    named = ", ".join(f"{first} to {last}" for first, last in gaps[:_LISTED])
    logger.warning(
        f"{count} of {n_frames} frames had numbers that are not finite and were interpolated: frames {named}"
        f"{' and others' if gaps[_LISTED:] else ''}; the motion marks them."
    )


def _filled(name: str, array: np.ndarray) -> np.ndarray:
    finite = np.isfinite(array)
    if finite.all():
        return array
    result = array.copy()
    if name == "pose":
        whole = finite.all(axis=2)
        for joint in np.flatnonzero(~whole.all(axis=0)):
            _fill_rotations(result[:, joint], whole[:, joint])
        return result
    frames = np.arange(len(array))
    for column in np.flatnonzero(~finite.all(axis=0)):
        good = finite[:, column]
        result[~good, column] = np.interp(frames[~good], frames[good], array[good, column])
    return result


def _fill_rotations(rotations: np.ndarray, good: np.ndarray) -> None:
    """Fill the rows of (F, 3) axis-angle that are not `good`, in place: R_a exp(t log(R_a^-1 R_b))."""
    known, missing = np.flatnonzero(good), np.flatnonzero(~good)
    after = np.searchsorted(known, missing)
    a, b = known[np.maximum(after - 1, 0)], known[np.minimum(after, len(known) - 1)]
    share = ((missing - a) / np.maximum(b - a, 1)).clip(0, 1)  # at both ends a is b
    start, end = matrix_from_axis_angle(rotations[a]), matrix_from_axis_angle(rotations[b])
    way = axis_angle_from_matrix(start.swapaxes(-1, -2) @ end)
    rotations[missing] = axis_angle_from_matrix(start @ matrix_from_axis_angle(way * share[:, None]))
