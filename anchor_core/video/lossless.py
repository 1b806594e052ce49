"""Frames as an .avi that gives them back bit for bit: FFV1 in RGB, for pictures that are trained on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from ..errors import AnchorError
from ..files import atomic_path
from .write import check_frame


def write_lossless(path: str | os.PathLike[str], frames: Iterable[np.ndarray], fps: Fraction) -> int:
    """Write a video without sound and return its number of frames.

    frames: (H, W, 3) uint8 sRGB each, all of one size, any size. Equal frames give an equal file, so that it
    can be recognised. About half as large as the frames themselves. Raises AnchorError for what does not fit.
    """
    import av

    stream, count, size = None, 0, None
    # Without the flag the file would hold the version of the library.
    with (
        atomic_path(path) as partial,
        av.open(str(partial), "w", options={"fflags": "+bitexact"}) as container,
    ):
        for frame in frames:
            check_frame(frame, size, count)
            if stream is None:
                size = frame.shape[:2]
                stream = container.add_stream("ffv1", rate=fps)
                stream.height, stream.width = size
                stream.pix_fmt = "bgr0"
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture = picture.reformat(format="bgr0")
            picture.pts, count = count, count + 1
            container.mux(stream.encode(picture))
        if stream is None:
            raise AnchorError("There are no frames to write: give at least one.")
        container.mux(stream.encode())
    return count
