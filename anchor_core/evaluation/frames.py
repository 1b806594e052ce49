"""Clips to compare, one frame at a time: a video, a folder of pictures, a list of them, or a tensor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch

from ..dataset.footage import open_footage
from ..errors import AnchorError
from ..video.read import read_info, read_picture

_SAME_SHAPE = 0.015
"""Sides may be rounded to even numbers or multiples of 8: so much may their ratio differ."""


@dataclass(frozen=True)
class Clip:
    """Frames that can be read again. fps: 0 where it is not known; n_frames: 0 where nothing tells.

    read: a new run through all frames, (H, W, 3) uint8 sRGB each. skipped: frames before the first, that were
    made together with these.
    """

    name: str
    fps: float
    n_frames: int
    read: Callable[[], Iterator[np.ndarray]]
    skipped: int = 0


def open_clip(path: str | os.PathLike[str], start: int = 0, like: Clip | None = None) -> Clip:
    """A video file, or a folder of pictures in the order of their numbers, from frame `start` on.

    like: the clip that it is compared with; a video of variable rate is read at its rate. Raises AnchorError
    where there is neither, or where it ends before `start`.
    """
    path = Path(path)
    fps, n_frames = (like.fps, like.n_frames) if like else (0.0, 0)
    if path.is_file():
        fps = fps or read_info(path).fps
    footage = open_footage(path, fps, n_frames)
    held = footage.n_frames
    if not 0 <= start < held:
        raise AnchorError(
            f"the first frame is to be {start} and {path.name} has {held} frames: choose a smaller one"
        )
    return Clip(str(path), footage.fps, held - start, lambda: footage.frames(start), start)


def picture_clip(files: Sequence[Path], name: str, fps: float = 0.0) -> Clip:
    """Picture files as a clip."""
    return Clip(name, fps, len(files), lambda: (read_picture(file) for file in files))


def tensor_clip(frames: torch.Tensor, name: str, fps: float = 0.0) -> Clip:
    """(F, H, W, 3) uint8, or float in [0, 1], as a clip. Raises AnchorError for another shape."""
    from ..render.mesh import to_bytes

    if frames.ndim != 4 or frames.shape[3] != 3 or not len(frames):
        raise AnchorError(
            f"{name} has the shape {tuple(frames.shape)}: need (frames, height, width, 3) with one or more"
        )
    whole = frames.dtype == torch.uint8
    return Clip(
        name, fps, len(frames), lambda: (frame.numpy() if whole else to_bytes(frame) for frame in frames)
    )


def shared_length(result: Clip, truth: Clip, trim: bool = False) -> int:
    """How many frames both have by what their headers promise, 0 where they do not tell.

    Raises AnchorError where the lengths differ, unless both are to be trimmed.
    """
    ours, theirs = result.n_frames, truth.n_frames
    if not ours or not theirs:
        return 0 if trim else ours or theirs
    _check_lengths(result, truth, ours, theirs, trim)
    return min(ours, theirs)


def pairs(result: Clip, truth: Clip, trim: bool = False) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames of both, of one size: the truth is scaled to the result where only its size differs.

    trim: end with the shorter one. Raises AnchorError where lengths differ otherwise, or the shapes of
    frames do.
    """
    shared_length(result, truth, trim)
    count = 0
    for ours, theirs in zip_longest(result.read(), truth.read()):
        if ours is None or theirs is None:
            break
        yield ours, _fitted(theirs, ours, count)
        count += 1
    else:
        _check_any(result, truth, count)
        return
    lengths = (count + (ours is not None), count + (theirs is not None))
    _check_lengths(result, truth, *lengths, trim, at_least=True)
    _check_any(result, truth, count)


def _check_any(result: Clip, truth: Clip, count: int) -> None:
    if not count:
        raise AnchorError(f"{result.name} or {truth.name} holds no frames: there is nothing to compare")


def _check_lengths(
    result: Clip, truth: Clip, ours: int, theirs: int, trim: bool, at_least: bool = False
) -> None:
    if ours != theirs and not trim:
        more = " or more" if at_least else ""
        lengths = [f"{n}{more if n == max(ours, theirs) else ''}" for n in (ours, theirs)]
        raise AnchorError(
            f"the result {result.name} has {lengths[0]} frames and the truth {truth.name} has {lengths[1]}: "
            "give the same stretch of both (--truth-start), or cut both to the shorter one (--trim)"
        )


def _fitted(frame: np.ndarray, like: np.ndarray, index: int) -> np.ndarray:
    """The frame at the size of `like`."""
    if frame.shape == like.shape:
        return frame
    (height, width), (high, wide) = frame.shape[:2], like.shape[:2]
    if abs(width * high / (height * wide) - 1) > _SAME_SHAPE:
        raise AnchorError(
            f"frame {index} of the truth is {width} x {height} pixels and that of the result {wide} x {high}:"
            " they show different parts; crop the truth as the training was (a data set of `prepare` is)"
        )
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((wide, high), Image.Resampling.LANCZOS))
