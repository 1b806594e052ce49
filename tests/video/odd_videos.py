"""Writes the videos that people bring: other containers, depths, sizes, rates, turned and without sound."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

LEVELS = tuple(range(40, 220, 15))
"""Brightness of the frames: each frame can be told from its neighbours after any codec."""


def write_odd(
    path: Path,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    times_ms: Sequence[int] | None = None,
    turned: int = 0,
) -> Path:
    """Frames of LEVELS, a white corner in the upper left of the stored picture; times_ms: when each is shown,
    25 fps by default; turned: degrees to the left that a player is told to turn the picture by."""
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if times_ms is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if turned:
            stream.set_display_rotation(turned)
        for index, level in enumerate(LEVELS):
            rgb = np.full((height, width, 3), level, np.uint8)
            rgb[: height // 3, : width // 3] = 255
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def level_of(frame: np.ndarray) -> float:
    """Brightness of a frame beside its white corner."""
    return float(frame[-8:, -8:].mean())


def levels_of(frames: Sequence[np.ndarray]) -> list[int]:
    """Which of LEVELS each frame shows."""
    return [int(np.argmin([abs(level_of(frame) - level) for level in LEVELS])) for frame in frames]
