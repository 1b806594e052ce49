"""SHOW's parameter pickles (arXiv 2212.04420): one dictionary per person, angles in radians, metres, 30 fps.

Hands are 12 coefficients of the hand PCA of the SMPL-X file and relative to its hand mean.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import AnchorError
from .camera import Camera
from .motion import N_JOINTS, Motion
from .pickles import read_pickle

FPS = 30.0
_BODY_KEYS = ("body_pose_axis", "body_pose")
# key: first joint, number of joints
_PARTS = {"global_orient": (0, 1), "jaw_pose": (22, 1), "leye_pose": (23, 1), "reye_pose": (24, 1)}
_HANDS = {"left_hand_pose": (25, 15), "right_hand_pose": (40, 15)}
_HAND_WIDTH = 45
# key: how many numbers it may have
_CAMERA_SIZES = {"camera_transl": (3,), "center": (2,), "focal_length": (1, 2), "width": (1,), "height": (1,)}


def read_show(path: str | os.PathLike[str]) -> Motion:
    """Read the first person of a SHOW pickle; an AnchorError names what is missing or has the wrong width."""
    name = Path(path).name
    content = read_pickle(path)
    if isinstance(content, (list, tuple)) and content:
        content = content[0]
    if not isinstance(content, Mapping):
        raise AnchorError(f"{name} holds {type(content).__name__} and a motion of SHOW is a dictionary.")
    try:
        return motion_from_show(content)
    except AnchorError as error:
        raise AnchorError(f"{name}: {error}") from error


def motion_from_show(parameters: Mapping[str, Any]) -> Motion:
    """The motion in SHOW's dictionary of arrays or tensors."""
    body_key = next((key for key in _BODY_KEYS if key in parameters), _BODY_KEYS[0])
    missing = [key for key in ("expression", "transl", body_key, *_PARTS, *_HANDS) if key not in parameters]
    if missing:
        raise AnchorError(f"The pickle is not a motion of SHOW: it lacks {', '.join(missing)}.")
    expression = _array(parameters, "expression")
    n_frames = len(expression) if expression.ndim else 0
    hands = tuple(_rows(parameters, key, n_frames) for key in _HANDS)
    has_angles = _check_hands(*hands)
    parts = {body_key: (1, 21), **_PARTS, **(_HANDS if has_angles else {})}
    pose = np.zeros((n_frames, 3 * N_JOINTS), dtype=np.float32)
    for key, (first, count) in parts.items():
        pose[:, 3 * first : 3 * (first + count)] = _rows(parameters, key, n_frames, 3 * count)
    return Motion(
        pose=pose.reshape(n_frames, N_JOINTS, 3),
        translation=_rows(parameters, "transl", n_frames, 3),
        expression=expression,
        betas=_array(parameters, "betas").reshape(-1) if "betas" in parameters else None,
        fps=FPS,
        world="cv",
        hands="relative",
        hands_pca=None if has_angles else (hands[0], hands[1]),
        camera=_camera(parameters),
        source="SHOW",
    )


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


def _rows(parameters: Mapping[str, Any], key: str, n_frames: int, width: int | None = None) -> np.ndarray:
    """The array under `key` as (n_frames, width), or of any width."""
    array = _array(parameters, key)
    rows = len(array) if array.ndim else 0
    if rows != n_frames:
        raise AnchorError(
            f"'{key}' has {rows} frames and 'expression' has {n_frames}: they need to be the same."
        )
    flat = array.reshape(n_frames, int(np.prod(array.shape[1:])))
    if width is not None and flat.shape[1] != width:
        raise AnchorError(f"'{key}' has {flat.shape[1]} numbers per frame: it needs {width}.")
    return flat


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
