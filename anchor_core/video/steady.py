"""Videos of variable rate at a constant one: phones and screen recorders store a time with every frame.

A frame lasts until the next one comes; at a constant rate each tick shows the frame whose time, rounded to
ticks, came last. That is the choice of FFmpeg's `fps` filter, which estimators of motion are fed through.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import AnchorError
from .read import decoded_frames, open_container, picture_stream, to_rgb

_EPSILON = 1e-4  # ticks: containers round times to milliseconds or finer units
_LONGEST_LAST_S = 0.2  # how long the last frame may last; nothing follows it to tell


def frame_times(path: str | os.PathLike[str]) -> np.ndarray:
    """Times (F,) float64 of the frames in seconds after the first, without decoding; (0,) if there are none.

    Raises AnchorError when the file is no video.
    """
    with open_container(path) as container:
        stream = picture_stream(container, path)
        packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
        stamps = [packet.pts for packet in packets if packet.pts is not None]
        times = np.sort(np.array(stamps, np.float64)) * float(stream.time_base or 0)
    return times - times[:1] if len(times) else times


def is_steady(times: np.ndarray, fps: float) -> bool:
    """Whether frames at these times (F,) are those of a video of constant rate: one to each tick of fps."""
    return bool(np.array_equal(_ticks(times, fps), np.arange(len(times))))


def frames_at_rate(times: np.ndarray, fps: float) -> int:
    """How many frames `read_at_rate` gives for frames at these times (F,)."""
    if not len(times):
        return 0
    step = float(times[-1] - times[-2]) if len(times) > 1 else 0.0
    return _end(float(times[-1]), step, fps)


def read_at_rate(
    path: str | os.PathLike[str], fps: float, start: int = 0, stop: int | None = None
) -> Iterator[np.ndarray]:
    """Frames `start` to `stop` of a video at a constant rate: (H, W, 3) uint8 sRGB, upright, one at a time.

    A video that has this rate gives its frames as they are. Raises AnchorError.
    """
    if not 0 < fps <= 1000:
        raise AnchorError(f"The rate is {fps:g} frames per second: give more than 0 and at most 1000.")
    shown, rgb = None, None
    for tick, frame in enumerate(_per_tick(path, fps)):
        if stop is not None and tick >= stop:
            return
        if tick < start:
            continue
        if frame is not shown or rgb is None:
            shown, rgb = frame, to_rgb(frame)
        yield rgb


def _per_tick(path: str | os.PathLike[str], fps: float) -> Iterator[Any]:
    """The decoded frame that each tick shows."""
    tick, held, before, now = 0, None, 0.0, 0.0
    first: float | None = None
    for index, frame in enumerate(decoded_frames(path)):
        stamp = index / fps if frame.time is None else float(frame.time)
        first = stamp if first is None else first
        before, now = now, stamp - first
        while held is not None and tick < int(_ticks(np.array([now]), fps)[0]):
            yield held
            tick += 1
        held = frame
    while held is not None and tick < _end(now, now - before, fps):
        yield held
        tick += 1


def _ticks(times: np.ndarray, fps: float) -> np.ndarray:
    return np.floor(times * fps + 0.5 + _EPSILON).astype(np.int64)


def _end(last: float, step: float, fps: float) -> int:
    """The tick after the last one that shows the last frame."""
    tick = int(_ticks(np.array([last]), fps)[0])
    return max(tick + 1, int(_ticks(np.array([last + min(step, _LONGEST_LAST_S)]), fps)[0]))
