"""Parameters of Hand4Whole (arXiv 2011.11534) and OSX (arXiv 2303.16160): angles in radians, of a video's
frames.

The demo writes one JSON per picture, smplx_param.json, with root_pose, body_pose, lhand_pose, rhand_pose,
jaw_pose, shape and expr as flat lists. Read are one of them, a list of them, a dictionary of them by name,
or a folder of such files. There are no eyes and no place in front of the camera; hands are relative to the
hand mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..motion import Validity
from .frames import natural, spread, stack, typical
from .parts import Parts, ReadOptions, assemble, choose_person

_PARTS = {
    "root": ("root_pose", 3),
    "body": ("body_pose", 63),
    "jaw": ("jaw_pose", 3),
    "left_hand": ("lhand_pose", 45),
    "right_hand": ("rhand_pose", 45),
}
_WIDTHS = {**dict(_PARTS.values()), "shape": None, "expr": None}
_NEEDED = {"root_pose", "body_pose", "lhand_pose"}


def matches(content: Any) -> bool:
    """Whether the content is one frame of Hand4Whole's, or all are that there are; None is a frame without a
    person."""
    frames = [frame for frame in _frames(content) if frame is not None]
    return bool(frames) and all(_is_frame(frame) for frame in frames)


def read(content: Any, options: ReadOptions) -> Parts:
    """content: the values of JSON; one person."""
    choose_person(("0",), options.person)
    frames = _frames(content)
    columns = stack([frame for frame in frames if frame is not None], _WIDTHS)
    if None in frames:
        columns = spread(columns, np.array([i for i, frame in enumerate(frames) if frame is not None]))
    n_frames = len(columns["root_pose"])
    return Parts(
        source="Hand4Whole or OSX",
        pose=assemble(n_frames, {part: columns[key] for part, (key, _) in _PARTS.items()}),
        translation=np.zeros((n_frames, 3), np.float32),
        expression=columns["expr"],
        betas=typical(columns["shape"]),
        fps=None,
        world="cv",
        hands="relative",
        valid=Validity(eyes=False, translation=False),
    )


def _is_frame(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) >= _NEEDED


def _frames(content: Any) -> list[Any]:
    """The frames in their order; names are sorted as people count."""
    if isinstance(content, Mapping) and not _is_frame(content):
        return [content[key] for key in sorted(content, key=lambda key: natural(str(key)))]
    return list(content) if isinstance(content, (list, tuple)) else [content]
