"""TalkSHOW's generated motion (arXiv 2212.04420): .npy of 265 numbers per frame, 30 fps, no camera.

Columns: jaw 0:3, left eye 3:6, right eye 6:9, root 9:12, body 12:75, left hand 75:120, right hand 120:165,
expression 165:265. The root stands still, eyes are zero, and the legs are a preset of a seated person.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..errors import AnchorError
from .archive import read_npy
from .motion import N_JOINTS, Motion, Validity

FPS = 30.0
WIDTH = 265
# first column, first joint, number of joints
_PARTS = ((0, 22, 1), (3, 23, 1), (6, 24, 1), (9, 0, 1), (12, 1, 21), (75, 25, 15), (120, 40, 15))
_VALID = Validity(eyes=False, lower=False, translation=False)


def read_talkshow(path: str | os.PathLike[str], sample: int | None = None) -> Motion:
    """Read (F, 265), or one of the N variants of (N, F, 265), which `sample` chooses (0 is the first)."""
    array = read_npy(path)
    try:
        return motion_from_talkshow(_choose(array, sample))
    except AnchorError as error:
        raise AnchorError(f"{Path(path).name}: {error}") from error


def motion_from_talkshow(frames: np.ndarray) -> Motion:
    """frames: (F, 265)."""
    pose = np.zeros((len(frames), 3 * N_JOINTS), dtype=np.float32)
    for column, joint, count in _PARTS:
        pose[:, 3 * joint : 3 * (joint + count)] = frames[:, column : column + 3 * count]
    return Motion(
        pose=pose.reshape(-1, N_JOINTS, 3),
        translation=np.zeros((len(frames), 3), dtype=np.float32),
        expression=frames[:, 165:],
        fps=FPS,
        world="cv",
        hands="relative",
        source="TalkSHOW",
        valid=_VALID,
    )


def _choose(array: np.ndarray, sample: int | None) -> np.ndarray:
    if array.ndim not in (2, 3) or array.shape[-1] != WIDTH or array.dtype.kind != "f":
        raise AnchorError(
            f"The array has shape {array.shape} of {array.dtype}: a motion of TalkSHOW has floats of shape "
            "(frames, 265)."
        )
    if array.ndim == 2:
        array = array[None]
    if not len(array):
        raise AnchorError("The motion has no frames: it needs at least one.")
    if sample is None and len(array) == 1:
        sample = 0
    if sample is None:
        raise AnchorError(
            f"The file holds {len(array)} variants of the motion: choose one, sample=0 to {len(array) - 1}."
        )
    if not 0 <= sample < len(array):
        holds = f"0 to {len(array) - 1}" if len(array) > 1 else "one motion, number 0"
        raise AnchorError(f"There is no sample {sample}: the file holds {holds}.")
    return array[sample]
