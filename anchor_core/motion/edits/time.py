"""Edits along time: another frame rate, a part, one motion after the other, a loop.

Joints are interpolated as rotations (slerp), translation, expression and PCA coefficients linearly. The sound
follows: it keeps its pace, and is cut, faded and repeated with the frames.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...errors import AnchorError
from ..motion import Motion
from ..rotations import axis_angle_from_quaternion, quaternion_from_axis_angle, slerp
from .align import aligned
from .blend import cross_fade, in_a_row
from .checks import check_fps, check_range
from .sound import fade, overlapped, repeated

logger = logging.getLogger("anchor")

_CHUNK = 2048  # frames interpolated at once: as fast as all, in a bounded memory
_MAX_FRAMES = 2_000_000  # 18 hours at 30 fps: more is a slip in a number


def resample(motion: Motion, fps: float) -> Motion:
    """The motion at another frame rate, as long as before to within half a frame.

    fps: more than 0 and less than 1000. Frame i shows the source at i / fps seconds; past its last frame,
    which is shown until the end of its own time, it stands still. A frame between two of which one is marked
    as interpolated is marked.
    """
    check_fps(fps)
    if fps == motion.fps:
        return motion
    n_frames = max(1, round(motion.duration_s * fps))
    _check_length(n_frames)
    last = motion.n_frames - 1
    place = np.minimum(np.arange(n_frames) * (motion.fps / fps), last)
    before = (place + 1e-6).astype(np.int64)  # frames that fall on one of the source take it as it is
    after, share = np.minimum(before + 1, last), (place - before).clip(min=0).astype(np.float32)

    def between(rows: np.ndarray) -> np.ndarray:
        if rows.dtype == bool:
            mixed: np.ndarray = rows[before] | (rows[after] & (share > 0))
            return mixed
        if rows.ndim == 3:
            return _turned_between(rows, before, after, share)
        return rows[before] + share[:, None] * (rows[after] - rows[before])

    return motion.per_frame(between, fps=fps)


def _turned_between(pose: np.ndarray, before: np.ndarray, after: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rotations (F, 55, 3) at the given share of the way between frames."""
    result = np.empty((len(before), *pose.shape[1:]), np.float32)
    for start in range(0, len(before), _CHUNK):
        part = slice(start, start + _CHUNK)
        start_turn, end_turn = (quaternion_from_axis_angle(pose[frames[part]]) for frames in (before, after))
        result[part] = axis_angle_from_quaternion(slerp(start_turn, end_turn, share[part, None]))
    return result


def trim(motion: Motion, start_s: float = 0.0, duration_s: float | None = None) -> Motion:
    """The part that begins `start_s` seconds after the first frame and lasts `duration_s` (None, or more than
    there is: to the end), in whole frames, with its sound. An AnchorError where no frame is left."""
    if not 0 <= start_s < motion.duration_s:
        raise AnchorError(
            f"The part begins at {start_s:g} s and the motion lasts {motion.duration_s:g} s: begin inside it."
        )
    if duration_s is not None and not duration_s > 0:
        raise AnchorError(f"The part lasts {duration_s:g} s: give more than 0, or nothing for all the rest.")
    first = min(round(start_s * motion.fps), motion.n_frames - 1)
    length = motion.duration_s if duration_s is None else min(duration_s, motion.duration_s)
    last = max(first + 1, round((start_s + length) * motion.fps))
    return motion.sliced(first, min(last, motion.n_frames))


def join(motions: Sequence[Motion], blend_s: float = 0.4) -> Motion:
    """One motion after the other. The end of one and the beginning of the next overlap by `blend_s` seconds
    (at most half of the shorter), in which frames and sound fade from one to the other; 0 is a cut.

    Rate, world, conventions, shape and camera are those of the first; each later one is brought to them and
    moved so that the pelvis does not jump: level on a common floor, in all directions elsewhere. Which way a
    person faces is kept. Differences that matter are logged.
    """
    if not motions:
        raise AnchorError("There is no motion to join: give one or more.")
    check_range("blend_s", blend_s, 0, 60)
    joined = motions[0]
    for motion in motions[1:]:
        joined = _joined(joined, motion, blend_s)
    return joined


def _joined(first: Motion, second: Motion, blend_s: float) -> Motion:
    if second.fps != first.fps:
        logger.info("joined motions have %g and %g fps: resampled to the first", first.fps, second.fps)
    second = resample(second, first.fps)
    overlap = _overlap(blend_s, first.fps, min(len(first), len(second)))
    first, second = aligned(first, second, overlap)
    start = len(first) - overlap
    _check_length(start + len(second))
    sound = overlapped(first.sound, second.sound, start / first.fps, first.duration_s)
    parts = [_frames(first, 0, start), _frames(second, overlap, len(second))]
    if overlap:
        blended = cross_fade(_frames(first, start, len(first)), _frames(second, 0, overlap), fade(overlap))
        parts.insert(1, blended)
    return in_a_row(parts, sound=sound)


def loop(motion: Motion, times: int, blend_s: float = 0.4) -> Motion:
    """The motion `times` times without a jump, also from the last frame to the first: a video of it loops.

    Each round begins with a blend from the motion's last `blend_s` seconds (at most half of it) into its
    beginning, and so is shorter by them. A path that leads away is led back evenly: who walks, walks on the
    spot. The sound is blended likewise.
    """
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise AnchorError(f"The motion is asked for {times!r} times: give a whole number from 1 on.")
    check_range("blend_s", blend_s, 0, 60)
    overlap = _overlap(blend_s, motion.fps, len(motion))
    period = len(motion) - overlap
    _check_length(period * times)
    still = replace(_without_drift(motion, period), sound=None)
    turn = _frames(still, 0, period)
    if overlap:
        blended = cross_fade(_frames(still, period, len(still)), _frames(still, 0, overlap), fade(overlap))
        turn = in_a_row([blended, _frames(still, overlap, period)]) if period > overlap else blended
    sound = motion.sound and repeated(motion.sound, period / motion.fps, overlap / motion.fps, times)
    return in_a_row([turn] * times, sound=sound)


def _without_drift(motion: Motion, period: int) -> Motion:
    """The motion with its path turned back evenly, so that it is where it was after `period` frames."""
    path = motion.translation.astype(np.float64)
    overlap = max(1, len(path) - period)
    drift = path[-overlap:].mean(axis=0) - path[:overlap].mean(axis=0)
    return replace(motion, translation=path - drift * (np.arange(len(path)) / max(1, period))[:, None])


def _frames(motion: Motion, start: int, stop: int) -> Motion:
    """Frames without their sound."""
    return replace(motion, sound=None).sliced(start, stop)


def _overlap(blend_s: float, fps: float, n_frames: int) -> int:
    return min(round(blend_s * fps), n_frames // 2)


def _check_length(n_frames: int) -> None:
    if n_frames > _MAX_FRAMES:
        raise AnchorError(
            f"The motion would have {n_frames} frames and the limit is {_MAX_FRAMES}: choose smaller numbers."
        )
