"""Key poses of a presenter's arms and hands, and the two-bone inverse kinematics that turns them into joints.

All numbers are for the left arm in the frame of the chest at rest (x to the person's left, y up,
z to the front, metres); the right arm is the mirror image. Working with wrist targets instead of
angles keeps hands in front of the body: every target lies in a convex region before the chest, so
do all blends of two targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

# Stand-in body at rest: clavicle, shoulder, elbow, wrist of the left arm.
COLLAR = np.array([0.026, 0.135, 0.031])
SHOULDER = np.array([0.189, 0.104, 0.027])
ELBOW = np.array([0.434, 0.056, -0.012])
WRIST = np.array([0.701, 0.056, -0.012])
POLE = np.array([0.42, -1.0, -0.30])  # elbows hang down, a little outwards and back
FINGERS = ("index", "middle", "pinky", "ring", "thumb")


@dataclass(frozen=True)
class ArmKey:
    """One arm target: wrist place, where the fingers point, where the palm looks, and the hand's shape."""

    wrist: tuple[float, float, float]
    fingers: tuple[float, float, float]
    palm: tuple[float, float, float]
    shape: str
    beats: float = 1.0  # how much the hand beats with the speech while it holds this pose


# Curl in radians of the three joints of index, middle, pinky, ring, thumb; then spread of the fingers.
HAND_SHAPES: dict[str, tuple[float, ...]] = {
    "relaxed": (0.25, 0.32, 0.42, 0.38, 0.10, 0.02),
    "open": (0.04, 0.05, 0.10, 0.06, -0.05, 0.12),
    "flat": (0.06, 0.06, 0.10, 0.08, 0.05, 0.01),
    "point": (0.02, 1.15, 1.30, 1.25, 0.45, 0.0),
    "two": (0.02, 0.03, 1.30, 1.20, 0.50, 0.10),
    "pinch": (0.62, 0.35, 0.30, 0.30, 0.42, 0.04),
    "loose_fist": (0.85, 0.95, 1.0, 1.0, 0.35, 0.0),
    "clasp": (0.35, 0.42, 0.50, 0.46, 0.10, 0.0),
}

ARM_KEYS: dict[str, ArmKey] = {
    "rest": ArmKey((0.17, -0.215, 0.225), (-0.62, -0.15, 0.77), (-0.25, -0.9, -0.3), "relaxed", 0.3),
    "clasp": ArmKey((0.105, -0.195, 0.225), (-0.88, -0.05, 0.47), (-0.45, -0.35, -0.82), "clasp", 0.4),
    "open": ArmKey((0.265, -0.085, 0.30), (0.15, 0.62, 0.76), (-0.55, 0.62, -0.55), "open"),
    "wide": ArmKey((0.275, -0.10, 0.27), (0.42, 0.62, 0.66), (-0.15, 0.85, -0.5), "open"),
    "chop": ArmKey((0.19, -0.06, 0.31), (-0.10, 0.62, 0.78), (-0.97, -0.1, 0.1), "flat", 1.6),
    "palm": ArmKey((0.225, 0.03, 0.29), (0.10, 0.96, 0.25), (-0.25, -0.25, 0.93), "open", 0.8),
    "count": ArmKey((0.25, 0.01, 0.28), (-0.05, 0.97, 0.22), (-0.2, -0.2, 0.95), "two", 1.2),
    "raise": ArmKey((0.26, 0.02, 0.28), (-0.05, 0.97, 0.22), (-0.5, -0.15, 0.85), "point", 1.2),
    "pinch": ArmKey((0.20, -0.03, 0.30), (-0.35, 0.66, 0.66), (-0.72, -0.5, 0.45), "pinch", 1.4),
    "heart": ArmKey((0.155, -0.045, 0.245), (-0.90, 0.36, 0.24), (-0.25, 0.05, -0.96), "flat", 0.5),
    "side": ArmKey((0.27, -0.03, 0.26), (0.50, 0.72, 0.46), (0.25, 0.3, 0.9), "open", 0.7),
    "aim": ArmKey((0.22, -0.02, 0.33), (-0.25, 0.35, 0.90), (-0.75, -0.6, 0.1), "point", 1.2),
    "fist": ArmKey((0.20, -0.07, 0.30), (-0.25, 0.55, 0.80), (-0.85, -0.4, 0.2), "loose_fist", 1.6),
}


def hand_shape(name: str) -> Array:
    """Curl of the five fingers and their spread, (6,) radians."""
    return np.array(HAND_SHAPES[name])


def finger_joints(shape: Array) -> Array:
    """Hand shapes (F, 6) -> axis-angle (F, 15, 3) of the left hand, absolute (zero is a flat hand)."""
    joints = np.zeros((len(shape), 5, 3, 3))
    joints[:, :4, :, 2] = -shape[:, :4, None] * np.array([0.85, 1.1, 0.8])
    for finger, side in ((0, 1.0), (1, 0.25), (3, -0.5), (2, -1.1)):
        joints[:, finger, 0, 1] = -side * shape[:, 5]
    thumb = shape[:, 4, None]
    joints[:, 4, :, 0] = thumb * np.array([0.5, 0.35, 0.2])
    joints[:, 4, :, 1] = thumb * np.array([0.3, 0.7, 0.9])
    return joints.reshape(len(shape), 15, 3)


def solve_arm(wrist: Array, fingers: Array, palm: Array, collar: Array) -> tuple[Array, Array, Array]:
    """Two-bone inverse kinematics of the left arm.

    wrist, fingers, palm: (F, 3) target place and directions in the chest frame; collar: (F, 3, 3) rotation
    of the clavicle. Returns local rotation matrices (F, 3, 3) of shoulder, elbow and wrist.
    """
    shoulder = COLLAR + (collar @ (SHOULDER - COLLAR))
    upper, fore = np.linalg.norm(ELBOW - SHOULDER), np.linalg.norm(WRIST - ELBOW)
    reach = wrist - shoulder
    distance = np.linalg.norm(reach, axis=1, keepdims=True)
    reach = _unit(reach)
    distance = np.clip(distance, abs(upper - fore) + 0.02, 0.985 * (upper + fore))
    along = (upper**2 - fore**2 + distance**2) / (2 * distance)
    side = _unit(POLE - reach * (reach @ POLE)[:, None])
    elbow = shoulder + reach * along + side * np.sqrt(np.maximum(upper**2 - along**2, 1e-8))
    upper_dir = _unit(elbow - shoulder)
    fore_dir = _unit(shoulder + reach * distance - elbow)
    hinge = _unit(np.cross(upper_dir, fore_dir))
    upper_global = _frame(upper_dir, hinge) @ _frame(_unit(ELBOW - SHOULDER), np.array([0.0, -1.0, 0.0])).T
    fore_global = _frame(fore_dir, hinge) @ _frame(_unit(WRIST - ELBOW), np.array([0.0, -1.0, 0.0])).T
    hand_global = (
        _frame(_unit(fingers), palm) @ _frame(np.array([1.0, 0.0, 0.0]), np.array([0.0, -1.0, 0.0])).T
    )
    fore_global = _share_twist(fore_global, hand_global, 0.6)
    return _t(collar) @ upper_global, _t(upper_global) @ fore_global, _t(fore_global) @ hand_global


def _share_twist(fore: Array, hand: Array, share: float) -> Array:
    """Turn the forearm by a share of the hand's twist, as radius and ulna do: sleeves stay smooth."""
    relative = _t(fore) @ hand
    # Twist about x (the forearm's axis at rest) of a rotation matrix, by its quaternion's w and x parts.
    angle = np.arctan2(relative[:, 2, 1] - relative[:, 1, 2], relative[:, 1, 1] + relative[:, 2, 2])
    return fore @ rotation_x(share * angle)


def rotation_x(angle: Array) -> Array:
    """Rotations about x by `angle` (F,) radians -> (F, 3, 3)."""
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], axis=1).reshape(-1, 3, 3)


def mirrored(axis_angle: Array) -> Array:
    """Axis-angle rotations of the left side -> those of the right side."""
    return axis_angle * np.array([1.0, -1.0, -1.0])


def _frame(first: Array, second: Array) -> Array:
    """Orthonormal frames with columns first, second (made orthogonal), third. (…, 3) -> (…, 3, 3)."""
    second = _unit(second - first * (first * second).sum(-1, keepdims=True))
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _t(matrices: Array) -> Array:
    return np.swapaxes(matrices, -1, -2)
