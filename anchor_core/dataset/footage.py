"""The frames of a recording, from a video file or from a folder of pictures, at a constant rate."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ..errors import AnchorError
from ..video.read import read_frames, read_info, read_picture

logger = logging.getLogger("anchor")

SLACK = 2
"""Frames by which video and motion may differ: estimators lose one at an end, rates are rounded."""
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Footage:
    """size: (width, height) pixels, upright. n_frames: as the file says it; a damaged one may hold fewer.

    steady: False where frames are picked by their times. pictures: files in order, None for a video.
    """

    path: Path
    size: tuple[int, int]
    fps: float
    n_frames: int
    steady: bool = True
    pictures: tuple[Path, ...] | None = None

    @property
    def duration_s(self) -> float:
        """Seconds that the frames last."""
        return self.n_frames / self.fps

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Frames `start` to `stop` - 1, (H, W, 3) uint8, one at a time. Raises AnchorError."""
        if self.pictures is not None:
            return self._read(islice(self.pictures, start, stop))
        if self.steady:
            return read_frames(self.path, start, stop)
        from ..video.steady import read_at_rate

        return read_at_rate(self.path, self.fps, start, stop)

    def _read(self, files: Iterator[Path]) -> Iterator[np.ndarray]:
        for file in files:
            picture = read_picture(file)
            if picture.shape[1::-1] != self.size:
                got, need = picture.shape[1::-1], self.size
                raise AnchorError(
                    f"{file} has {got[0]} x {got[1]} pixels and the first picture {need[0]} x {need[1]}: all "
                    "pictures of a recording need one size."
                )
            yield picture


def open_footage(path: Path, motion_fps: float, n_poses: int) -> Footage:
    """Look at a video or a folder of pictures, without decoding it.

    motion_fps: rate at which frames are taken from a folder, and from a video whose rate varies, for the
    estimator saw it at that rate; unless its n_poses poses are those of the frames as they are in the file.
    Raises AnchorError.
    """
    if path.is_dir():
        pictures = pictures_in(path)
        height, width = read_picture(pictures[0]).shape[:2]
        return Footage(path, (width, height), motion_fps, len(pictures), pictures=tuple(pictures))
    from ..video.steady import frame_times, frames_at_rate, is_steady

    info, times = read_info(path), frame_times(path)
    fps = info.fps or motion_fps
    if len(times) > 1 and not is_steady(times, fps):
        picked = frames_at_rate(times, motion_fps)
        if abs(len(times) - n_poses) > SLACK or abs(picked - n_poses) <= SLACK:
            logger.warning(
                "%s has a variable frame rate: its frames are taken at %g per second.", path.name, motion_fps
            )
            return Footage(path, info.size, motion_fps, picked, steady=False)
        logger.warning("%s has a variable frame rate: one pose belongs to each of its frames.", path.name)
    n_frames = len(times) or info.n_frames
    if not n_frames:
        raise AnchorError(f"{path.name} does not say how many frames it has: convert it to .mp4.")
    return Footage(path, info.size, fps, n_frames)


def pictures_in(folder: Path) -> list[Path]:
    """Picture files of a folder in the order of their numbers; AnchorError where there is none."""
    # Hidden ones are halves of killed programs, and what macOS leaves on foreign disks.
    files = [f for f in folder.iterdir() if f.suffix.lower() in _PICTURES and not f.name.startswith(".")]
    if not files:
        raise AnchorError(f"{folder} holds no pictures: give a video, or a folder of PNG or JPEG files.")
    return sorted(files, key=natural_order)


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sorts frame_2 before frame_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
