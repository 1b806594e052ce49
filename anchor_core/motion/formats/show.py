"""SHOW's parameter pickles (arXiv 2212.04420): one dictionary per person, angles in radians, metres, 30 fps.

Hands are 12 coefficients of the hand PCA of the SMPL-X file and relative to its hand mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from ...errors import AnchorError
from ..camera import Camera
from .parts import JOINTS, Parts, ReadOptions, assemble, choose_person, rows

FPS = 30.0
_BODY_KEYS = ("body_pose_axis", "body_pose")
_PARTS = {"root": "global_orient", "jaw": "jaw_pose", "left_eye": "leye_pose", "right_eye": "reye_pose"}
_HANDS = {"left_hand": "left_hand_pose", "right_hand": "right_hand_pose"}
_HAND_WIDTH = 45
# key: how many numbers it may have
_CAMERA_SIZES = {"camera_transl": (3,), "center": (2,), "focal_length": (1, 2), "width": (1,), "height": (1,)}


def matches(content: Any) -> bool:
    """Whether a pickle holds SHOW's dictionary, or a list of them, one for each person."""
    people = _people(content)
    return bool(people) and all(
        isinstance(one, Mapping) and "expression" in one and "global_orient" in one for one in people
    )


def read(content: Any, options: ReadOptions) -> Parts:
    """content: what SHOW pickles; `options.person` chooses one of several people, counted from 0."""
    people = _people(content)
    parameters = people[choose_person([str(i) for i in range(len(people))], options.person)]
    body_key = next((key for key in _BODY_KEYS if key in parameters), _BODY_KEYS[0])
    wanted = ("expression", "transl", body_key, *_PARTS.values(), *_HANDS.values())
    missing = [key for key in wanted if key not in parameters]
    if missing:
        raise AnchorError(f"The pickle is not a motion of SHOW: it lacks {', '.join(missing)}.")
    expression = _array(parameters, "expression")
    n_frames = len(expression) if expression.ndim else 0
    hands = tuple(rows(key, _array(parameters, key), n_frames) for key in _HANDS.values())
    has_angles = _check_hands(*hands)
    keys = {"body": body_key, **_PARTS, **(_HANDS if has_angles else {})}
    angles = {
        part: rows(key, _array(parameters, key), n_frames, 3 * JOINTS[part][1]) for part, key in keys.items()
    }
    return Parts(
        source="SHOW",
        pose=assemble(n_frames, angles),
        translation=rows("transl", _array(parameters, "transl"), n_frames, 3),
        expression=expression,
        betas=_array(parameters, "betas").reshape(-1) if "betas" in parameters else None,
        fps=FPS,
        world="cv",
        hands="relative",
        hands_pca=None if has_angles else (hands[0], hands[1]),
        camera=_camera(parameters),
    )


def _people(content: Any) -> list[Any]:
    return list(content) if isinstance(content, (list, tuple)) else [content]


def _check_hands(left: np.ndarray, right: np.ndarray) -> bool:
    """True when the hands are angles, False when they are PCA coefficients."""
    widths = (left.shape[1], right.shape[1])
    if widths[0] != widths[1] or not 0 < widths[0] <= _HAND_WIDTH:
        raise AnchorError(
            f"The hands have {widths[0]} and {widths[1]} numbers per frame: both need 45 angles or the same "
            "number of PCA coefficients."
        )
    return widths[0] == _HAND_WIDTH


def _array(parameters: Mapping[str, Any], key: str) -> np.ndarray:
    value = parameters[key]
    try:
        array = np.asarray(value.float().numpy() if isinstance(value, Tensor) else _flat(value))
    except (TypeError, ValueError, RuntimeError):
        array = np.asarray("")
    if array.size and array.dtype.kind not in "fiu":
        raise AnchorError(f"'{key}' is not an array of numbers: the pickle is not a motion of SHOW.")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _flat(value: Any) -> Any:
    """The value, unless lists are in lists: one that holds another many times has no bound on its size."""
    if isinstance(value, (list, tuple)) and not all(isinstance(item, (int, float)) for item in value):
        raise ValueError("nested")
    return value


def _camera(parameters: Mapping[str, Any]) -> Camera | None:
    """SHOW's camera, or None when the pickle holds only a part of it."""
    if not set(_CAMERA_SIZES) <= set(parameters):
        return None
    values = {key: _array(parameters, key).reshape(-1) for key in _CAMERA_SIZES}
    for key, sizes in _CAMERA_SIZES.items():
        if values[key].size not in sizes or not np.isfinite(values[key]).all():
            raise AnchorError(
                f"The camera's '{key}' is {values[key].tolist()}: it needs {sizes[0]} finite number(s)."
            )
    place, center, focal = (values[key].tolist() for key in ("camera_transl", "center", "focal_length"))
    return Camera(
        focal_px=(focal[0], focal[-1]),
        center_px=(center[0], center[1]),
        size=(int(values["width"][0]), int(values["height"][0])),
        translation=(place[0], place[1], place[2]),
    )
