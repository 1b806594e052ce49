"""Clips to compare, one frame at a time: a video, a folder of pictures, a list of them, or a tensor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch

from ..errors import AnchorError
from ..video.read import read_frames, read_info, read_picture

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_SAME_SHAPE = 0.015
"""Sides may be rounded to even numbers or multiples of 8: so much may their ratio differ."""


@dataclass(frozen=True)
class Clip:
    """Frames that can be read again. fps: 0 where it is not known; n_frames: 0 where a video does not say.

    read: a new run through all frames, (H, W, 3) uint8 sRGB each.
    """

    name: str
    fps: float
    n_frames: int
    read: Callable[[], Iterator[np.ndarray]]


def open_clip(path: str | os.PathLike[str], start: int = 0) -> Clip:
    """A video file, or a folder of pictures in the order of their names, from frame `start` on.

    Raises AnchorError where there is neither, or where it ends before `start`.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        if not files:
            raise AnchorError(f"{path} holds no pictures ({', '.join(PICTURES)}): choose a folder of frames.")
        _check_start(path, start, len(files))
        return picture_clip(files[start:], str(path))
    info = read_info(path)
    if info.n_frames:
        _check_start(path, start, info.n_frames)
    return Clip(str(path), info.fps, max(0, info.n_frames - start), lambda: read_frames(path, start))


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


def pairs(result: Clip, truth: Clip, trim: bool = False) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames of both, of one size: the truth is scaled to the result where only its size differs.

    trim: end with the shorter one. Raises AnchorError where lengths differ otherwise, or the shapes of
    frames do.
    """
    if result.n_frames and truth.n_frames:
        _check_lengths(result, truth, result.n_frames, truth.n_frames, trim)
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


def _check_start(path: Path, start: int, n_frames: int) -> None:
    if not 0 <= start < n_frames:
        raise AnchorError(
            f"the first frame is to be {start} and {path.name} has {n_frames} frames: choose a smaller one"
        )


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
