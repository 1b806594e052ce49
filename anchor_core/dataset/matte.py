"""Mattes: which pixels are the person. Read from a MASK video or a folder of pictures, and put to use.

Any matting tool writes one of the two (Robust Video Matting, arXiv 2108.11515, is what the paper used for
its pre-training data). White is the person; grey is hair, and mixes the two.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import AnchorError
from ..video.read import read_frames, read_matte
from ..video.steady import read_at_rate
from .footage import pictures_in


def read_mattes(
    path: str | os.PathLike[str],
    size: tuple[int, int],
    start: int = 0,
    stop: int | None = None,
    fps: float | None = None,
) -> Iterator[np.ndarray]:
    """Mattes (H, W) uint8 one at a time, 255 is the person, at `size` (width, height) of the video's frames.

    path: a video, or a folder of pictures in the order of the numbers in their names, whose alpha channel
    counts where they have one. fps: read a video at this constant rate. Raises AnchorError for what cannot be
    a matte of the video.
    """
    source = Path(path)
    if source.is_dir():
        mattes = (read_matte(picture) for picture in pictures_in(source)[start:stop])
    else:
        frames = read_frames(source, start, stop) if fps is None else read_at_rate(source, fps, start, stop)
        mattes = (_luminance(frame) for frame in frames)
    return _sized(mattes, size, source.name)


def composite(frames: np.ndarray, mattes: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Frames (..., H, W, 3) uint8, over one colour (0 to 255 each) where mattes (..., H, W) are dark."""
    if frames.shape[:-1] != mattes.shape or frames.dtype != np.uint8 or mattes.dtype != np.uint8:
        raise AnchorError(
            f"The frames have shape {frames.shape} and the mattes {mattes.shape}: give uint8 of "
            "(..., H, W, 3) and (..., H, W), one matte per frame."
        )
    if not all(0 <= level <= 255 for level in colour):
        raise AnchorError(f"The background is {tuple(colour)}: give red, green, blue from 0 to 255.")
    alpha = mattes[..., None].astype(np.uint16)
    back = np.array(colour, np.uint16)
    # Whole numbers, rounded: 255 keeps the frame to the bit, 0 gives the colour to the bit.
    return ((frames * alpha + back * (255 - alpha) + 127) // 255).astype(np.uint8)


def _sized(mattes: Iterator[np.ndarray], size: tuple[int, int], name: str) -> Iterator[np.ndarray]:
    from PIL import Image

    for matte in mattes:
        got = (matte.shape[1], matte.shape[0])
        # A pixel more or less comes from rounding to even sides.
        if abs(got[0] * size[1] / size[0] - got[1]) > 2 + 0.01 * got[1]:
            raise AnchorError(
                f"The matte {name} has {got[0]} x {got[1]} pixels and the video {size[0]} x {size[1]}, "
                "which is another shape: give the matte of this video."
            )
        if got != size:
            matte = np.asarray(Image.fromarray(matte).resize(size, Image.Resampling.BILINEAR))
        yield matte


def _luminance(frame: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(frame).convert("L"))
