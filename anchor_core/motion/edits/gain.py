"""More or less of a movement: gestures, hands and mouth exaggerated or damped."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from ..motion import Motion
from ..rotations import (
    axis_angle_from_quaternion,
    inverse,
    mean_rotation,
    multiply,
    quaternion_from_axis_angle,
)
from .checks import check_range
from .mirror import arkit_names

logger = logging.getLogger("anchor")

LARGEST = 3.0
"""Of a gain: beyond, hands go through the body."""
_JAW = 22
_ELBOWS = {18: 1.0, 19: -1.0}  # and the sign of the y component that would bend them backwards
_FURTHEST_BEND_RAD = 2.6  # of an elbow
# How far a joint may leave its mean, in radians, unless the source goes further.
_GESTURES = {6: 0.4, 9: 0.4, 13: 0.5, 14: 0.5, 16: 1.6, 17: 1.6, 18: 1.1, 19: 1.1, 20: 1.1, 21: 1.1}
_FINGERS = dict.fromkeys(range(25, 55), 1.0)
_WIDEST_JAW_RAD = 0.5
_LARGEST_COEFFICIENT = 5.0  # of SMPL-X expressions, which are in standard deviations


def gain(motion: Motion, gestures: float = 1.0, hands: float = 1.0, mouth: float = 1.0) -> Motion:
    """The motion with more (above 1) or less (below 1) of a movement; 0 holds it still, 1 leaves it.

    gestures: collars to wrists and the upper spine, turned about their mean over time. hands: the fingers
    likewise, PCA coefficients about their mean. mouth: the jaw about closed, and the ARKit expressions of
    mouth and jaw; SMPL-X coefficients mix all of the face, so that all of them move about their mean, which
    is logged. Each from 0 to 3. Joints stop at what a body does, or where the source already went further.
    """
    for name, value in (("gestures", gestures), ("hands_gain", hands), ("mouth", mouth)):
        check_range(name, value, 0, LARGEST)
    changed = motion
    if gestures != 1:
        changed = _elbows_forward(_about_mean(changed, _GESTURES, gestures), motion.pose)
    if hands != 1:
        changed = _about_mean(changed, _FINGERS, hands)
        sides = changed.hands_pca
        changed = replace(changed, hands_pca=sides and (_spread(sides[0], hands), _spread(sides[1], hands)))
    return changed if mouth == 1 else _mouth(changed, mouth)


def _about_mean(motion: Motion, limits: dict[int, float], factor: float) -> Motion:
    """Joints turned `factor` times as far from their mean rotation, each at most as far as its limit."""
    joints = list(limits)
    quaternions = quaternion_from_axis_angle(motion.pose[:, joints])
    mean = mean_rotation(quaternions)
    away = axis_angle_from_quaternion(multiply(inverse(mean), quaternions))
    turned = quaternion_from_axis_angle(_scaled(away, factor, np.array(list(limits.values()))))
    pose = motion.pose.copy()
    pose[:, joints] = axis_angle_from_quaternion(multiply(mean, turned))
    return replace(motion, pose=pose)


def _scaled(vectors: np.ndarray, factor: float, limit: np.ndarray | float) -> np.ndarray:
    """Rotation vectors (F, J, 3) `factor` times as long; above 1 up to the limit (J,), or as they were."""
    if factor <= 1:
        return vectors * factor
    angle = np.linalg.norm(vectors, axis=-1)
    longest = np.maximum(angle, limit)
    return vectors * (np.minimum(factor * angle, longest) / np.maximum(angle, 1e-12))[..., None]


def _elbows_forward(motion: Motion, source: np.ndarray) -> Motion:
    """No elbow bends backwards, or through its upper arm, further than the source's does."""
    pose = motion.pose.copy()
    for joint, sign in _ELBOWS.items():
        bends = sign * source[:, joint, 1]
        least, most = min(-_FURTHEST_BEND_RAD, float(bends.min())), max(0.0, float(bends.max()))
        pose[:, joint, 1] = sign * (sign * pose[:, joint, 1]).clip(least, most)
    return replace(motion, pose=pose)


def _mouth(motion: Motion, factor: float) -> Motion:
    pose = motion.pose.copy()
    pose[:, _JAW] = _scaled(pose[:, _JAW].astype(np.float64), factor, _WIDEST_JAW_RAD)
    return replace(motion, pose=pose, expression=_mouth_expression(motion, factor))


def _mouth_expression(motion: Motion, factor: float) -> np.ndarray:
    rows = motion.expression.copy()
    if motion.expression_space == "arkit52":
        names = arkit_names()[: rows.shape[1]]
        columns = [place for place, name in enumerate(names) if name.startswith(("mouth", "jaw"))]
        mouth = rows[:, columns]
        rows[:, columns] = (factor * mouth).clip(mouth.clip(max=0), mouth.clip(min=1))
    elif motion.expression_space == "smplx" and rows.any():
        logger.info("mouth gain: SMPL-X expression coefficients mix all of the face, so all of it changes")
        widest = np.maximum(np.abs(rows), _LARGEST_COEFFICIENT)
        rows = _spread(rows, factor).clip(-widest, widest)
    return rows


def _spread(rows: np.ndarray, factor: float) -> np.ndarray:
    """Each column (F, K) `factor` times as far from its mean over time."""
    mean = rows.mean(axis=0, keepdims=True, dtype=np.float64)
    return np.asarray(mean + factor * (rows - mean), np.float32)
