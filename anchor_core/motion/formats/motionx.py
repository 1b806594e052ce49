"""Motion-X (arXiv 2307.00818): .npy of 322 numbers per frame, 30 fps, y up, no eyes.

Columns: root 0:3, body 3:66, left hand 66:111, right hand 111:156, jaw 156:159, expression 159:209, shape of
the face (of FLAME, left out) 209:309, translation 309:312, betas 312:322. Hand angles are absolute. The axes
are unified for all parts of the data set, the first frame faces +z; a few clips are known to stand on their
head.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..motion import Validity
from .parts import Parts, ReadOptions, assemble, rows

FPS = 30.0
WIDTH = 322
_COLUMNS = {
    "root": (0, 3),
    "body": (3, 66),
    "left_hand": (66, 111),
    "right_hand": (111, 156),
    "jaw": (156, 159),
}


def matches(content: Any) -> bool:
    """Whether an array has the width of Motion-X: (F, 322)."""
    return isinstance(content, np.ndarray) and content.ndim == 2 and content.shape[1] == WIDTH


def read(content: np.ndarray, options: ReadOptions) -> Parts:
    """content: (F, 322). The betas do not change; those of the first whole frame are taken."""
    frames = rows("frames", content, len(content), WIDTH)
    betas = frames[:, 312:]
    whole = np.isfinite(betas).all(axis=1)
    return Parts(
        source="Motion-X",
        pose=assemble(len(frames), {name: frames[:, first:last] for name, (first, last) in _COLUMNS.items()}),
        translation=frames[:, 309:312],
        expression=frames[:, 159:209],
        betas=betas[whole.argmax()].copy() if whole.any() else None,
        fps=FPS,
        world="yup",
        hands="absolute",
        valid=Validity(eyes=False),
    )
