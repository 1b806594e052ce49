"""What Multi-HMR returns (arXiv 2402.14654), as people keep it: a pickle, JSON or file of torch with the
humans of each frame; angles in radians, metres, the camera's world.

A human is a dictionary with rotvec (53, 3): root, 21 body joints, 15 of the left hand, 15 of the right one,
jaw; shape (10), expression (10), transl (the head) and transl_pelvis (the pelvis, about which the root
rotates). Read are a list with a list of humans for each frame, a list of humans (one per frame), a
dictionary of either by name, and dictionaries with "humans". Hands are absolute, eyes are not measured, the
camera is not in the data. Humans are found in each frame anew: they are followed by where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import AnchorError
from ..motion import Validity
from .frames import PELVIS, natural, numbers, spread, stack, typical
from .parts import JOINTS, Parts, ReadOptions, assemble, choose_person
from .people import follow

_ORDER = ("root", "body", "left_hand", "right_hand", "jaw")  # of the 53 rotations
_PLACE = "transl_pelvis"
_WIDTHS = {"rotvec": 159, _PLACE: 3, "shape": None, "expression": None}


def matches(content: Any) -> bool:
    """Whether the content holds humans of Multi-HMR, and nothing else in their places."""
    frames = _frames(content)
    humans = [human for frame in frames or () for human in frame]
    return bool(humans) and all(isinstance(human, Mapping) and "rotvec" in human for human in humans)


def read(content: Any, options: ReadOptions) -> Parts:
    """content: see the module's text; `options.person` chooses one of several people, as they are numbered
    in the first frame that shows them."""
    frames = _frames(content) or []
    people = follow([_places(frame) for frame in frames])
    names = sorted({person for found in people for person in found})
    person = names[choose_person([str(name) for name in names], options.person)]
    seen = [i for i, found in enumerate(people) if person in found]
    columns = stack([frames[i][people[i][person]] for i in seen], _WIDTHS)
    if seen != list(range(len(frames))):
        columns = spread(columns, np.array(seen))
    return _parts(columns)


def _parts(columns: dict[str, np.ndarray]) -> Parts:
    n_frames = len(columns["rotvec"])
    ends = np.cumsum([3 * JOINTS[part][1] for part in _ORDER])[:-1]
    angles = dict(zip(_ORDER, np.split(columns["rotvec"], ends, axis=1), strict=True))
    return Parts(
        source="Multi-HMR",
        pose=assemble(n_frames, angles),
        translation=columns[_PLACE] - np.array(PELVIS, np.float32),
        expression=columns["expression"],
        betas=typical(columns["shape"]),
        fps=None,
        world="cv",
        hands="absolute",
        valid=Validity(eyes=False),
    )


def _frames(content: Any) -> list[list[Any]] | None:
    """The humans of each frame; None where the content has another form."""
    if isinstance(content, Mapping) and "humans" not in content and "rotvec" not in content:
        content = [content[key] for key in sorted(content, key=lambda key: natural(str(key)))]
    elif isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, (list, tuple)):
        return None
    frames = [_humans(frame) for frame in content]
    return None if None in frames else [frame for frame in frames if frame is not None]


def _humans(frame: Any) -> list[Any] | None:
    if isinstance(frame, Mapping):
        frame = frame.get("humans", [frame])
    if frame is None:
        return []
    return list(frame) if isinstance(frame, (list, tuple)) else None


def _places(humans: list[Any]) -> dict[int, np.ndarray]:
    places = {i: numbers(human.get(_PLACE, ()), _PLACE).reshape(-1) for i, human in enumerate(humans)}
    if any(place.size != 3 for place in places.values()):
        raise AnchorError(f"A human has no '{_PLACE}' of 3 numbers: keep all that Multi-HMR returns.")
    return places
