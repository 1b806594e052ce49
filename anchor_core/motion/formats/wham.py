"""WHAM's wham_output.pkl (arXiv 2312.07531), a file of joblib: angles in radians, metres, the video's frames.

{person: {pose (F, 72), trans (F, 3) in the camera's world; pose_world, trans_world with y up; betas (F, 10);
verts; frame_ids (F,)}}. The body is SMPL's: its 24 joints are SMPL-X's first 22 and two in the hands, which
are left out, and so are the shape coefficients, which mean something else to SMPL-X. There is no camera, no
hand and no face. Read is what the camera sees; with world="yup" the motion in the world. Frames without the
person are missing in frame_ids. The translation is SMPL's, whose origin lies 0.11 m higher above the pelvis
than SMPL-X's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import AnchorError
from ..motion import Validity
from .frames import numbers, spread, stack
from .parts import Parts, ReadOptions, assemble, choose_person

_KEYS = {"cv": ("pose", "trans"), "yup": ("pose_world", "trans_world")}
_ROOT, _BODY = slice(0, 3), slice(3, 66)  # of SMPL's 72 angles
_VALID = Validity(jaw=False, eyes=False, hands=False, expression=False)


def matches(content: Any) -> bool:
    """Whether the content holds people of WHAM by their numbers, or one of them."""
    people = _people(content)
    return bool(people) and all(
        isinstance(one, Mapping) and any(set(keys) <= set(one) for keys in _KEYS.values())
        for one in people.values()
    )


def read(content: Any, options: ReadOptions) -> Parts:
    """content: the dictionary of the file; `options.person` is a number of WHAM's tracker, `options.world`
    "yup" takes the motion in the world."""
    people = _people(content)
    person = list(people.values())[choose_person(list(people), options.person)]
    world = "yup" if options.world == "yup" else "cv"
    pose_key, place_key = _KEYS[world]
    if pose_key not in person or place_key not in person:
        need = "leave world out" if world == "yup" else 'give world="yup"'
        raise AnchorError(f"The person has no {pose_key} and {place_key}: {need}, or run WHAM again.")
    columns = stack([person], {pose_key: 72, place_key: 3})
    if "frame_ids" in person:
        columns = spread(columns, _frame_ids(person["frame_ids"]))
    pose = columns[pose_key]
    return Parts(
        source="WHAM",
        pose=assemble(len(pose), {"root": pose[:, _ROOT], "body": pose[:, _BODY]}),
        translation=columns[place_key],
        expression=np.zeros((len(pose), 0), np.float32),
        fps=None,
        world=world,
        hands="relative",  # zeros are then the relaxed hand
        expression_space="none",
        valid=_VALID,
    )


def _people(content: Any) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        return {}
    one = any(set(keys) <= set(content) for keys in _KEYS.values())
    return {"0": content} if one else {str(key): value for key, value in content.items()}


def _frame_ids(value: Any) -> np.ndarray:
    found = numbers(value, "frame_ids").reshape(-1)
    if not found.size or not np.isfinite(found).all() or np.abs(found).max() > 2**24:
        raise AnchorError("'frame_ids' are not the numbers of frames: run WHAM again.")
    return found.astype(np.int64)
