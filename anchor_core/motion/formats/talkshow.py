"""TalkSHOW's generated motion (arXiv 2212.04420): .npy of 265 numbers per frame, 30 fps, no camera.

Columns: jaw 0:3, left eye 3:6, right eye 6:9, root 9:12, body 12:75, left hand 75:120, right hand 120:165,
expression 165:265. The root stands still, eyes are zero, and the legs are a preset of a seated person.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import AnchorError
from ..motion import Validity
from .parts import Parts, ReadOptions, assemble

FPS = 30.0
WIDTH = 265
_COLUMNS = {
    "jaw": (0, 3),
    "left_eye": (3, 6),
    "right_eye": (6, 9),
    "root": (9, 12),
    "body": (12, 75),
    "left_hand": (75, 120),
    "right_hand": (120, 165),
}
_VALID = Validity(eyes=False, lower=False, translation=False)


def matches(content: Any) -> bool:
    """Whether an array has the width of TalkSHOW: (F, 265), or N variants (N, F, 265)."""
    return content.ndim in (2, 3) and content.shape[-1] == WIDTH


def read(content: np.ndarray, options: ReadOptions) -> Parts:
    """content: (F, 265), or (N, F, 265), of which `options.sample` chooses one."""
    frames = _choose(content, options.sample)
    parts = {name: frames[:, first:last] for name, (first, last) in _COLUMNS.items()}
    return Parts(
        source="TalkSHOW",
        pose=assemble(len(frames), parts),
        translation=np.zeros((len(frames), 3), np.float32),
        expression=frames[:, 165:],
        fps=FPS,
        world="cv",
        hands="relative",
        valid=_VALID,
    )


def _choose(array: np.ndarray, sample: int | None) -> np.ndarray:
    if array.dtype.kind != "f":
        raise AnchorError(f"The array holds {array.dtype} and a motion of TalkSHOW floats: export it again.")
    if array.ndim == 2:
        array = array[None]
    if not array.size:
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
