"""Edits of parts of the body: root, legs, fingers; and of the place of the sound."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...errors import AnchorError
from ..motion import Motion
from ..place import LEG_JOINTS, seat
from ..rotations import axis_angle_from_quaternion, quaternion_from_axis_angle, slerp
from .checks import check_range, check_word
from .hands import absolute_hands, with_absolute_hands

logger = logging.getLogger("anchor")

ROOTS = ("source", "freeze", "set")
LOWER_BODIES = ("source", "sit", "stand")
_FIST_RAD = (1.35, 1.6, 1.0)  # curl of knuckle, middle and last joint of a fist
_SPLAY_RAD = (-0.15, 0.0, 0.35, 0.15)  # of index, middle, little and ring finger: each curls in its own plane
_THUMB_RAD = ((0.35, 0.35, 0.0), (0.25, 0.6, 0.0), (0.15, 0.8, 0.0))  # of the left hand, over the fingers
_LONGEST_OFFSET_S = 3600.0


def set_root(
    motion: Motion,
    mode: str,
    rotation: Sequence[float] | None = None,
    translation: Sequence[float] | None = None,
) -> Motion:
    """Where the person is and which way the pelvis faces.

    mode: "source" changes nothing; "freeze" holds the first frame's root rotation and translation; "set" puts
    every frame at `rotation` (axis-angle in radians) and `translation` (metres) of the motion's own world,
    either of them None: as in the source.
    """
    check_root(mode, rotation, translation)
    if mode == "source":
        return motion
    if mode == "freeze":
        rotation, translation = motion.pose[0, 0].tolist(), motion.translation[0].tolist()
    pose, places = motion.pose.copy(), motion.translation.copy()
    if rotation is not None:
        pose[:, 0] = rotation
    if translation is not None:
        places[:] = translation
    return replace(motion, pose=pose, translation=places)


def check_root(
    mode: str, rotation: Sequence[float] | None = None, translation: Sequence[float] | None = None
) -> None:
    """Raise an AnchorError unless mode and values fit together."""
    check_word("root", mode, ROOTS)
    given = {"rotation": rotation, "translation": translation}
    values = {name: value for name, value in given.items() if value is not None}
    if (mode == "set") != bool(values):
        raise AnchorError(
            f"root is {mode!r} and {' and '.join(values) or 'no rotation and no translation'} given: give "
            "one or both with 'set', and only with it."
        )
    for name, value in values.items():
        if np.shape(value) != (3,) or not np.isfinite(np.asarray(value, np.float64)).all():
            raise AnchorError(f"The {name} of the root is {value}: give three finite numbers.")


def set_lower_body(motion: Motion, preset: str) -> Motion:
    """Hips, knees, ankles and feet: "source" as they are, "sit" on a chair, "stand" straight."""
    check_word("lower_body", preset, LOWER_BODIES)
    if preset == "source":
        return motion
    pose = motion.pose.copy()
    pose[:, LEG_JOINTS] = 0
    if preset == "sit":
        seat(pose)
    return replace(motion, pose=pose, valid=replace(motion.valid, lower=False))


def curl_hands(motion: Motion, amount: float) -> Motion:
    """Hands that a source opens or closes too much: 0 as they are, 1 fists, -1 flat, else on the way there.

    Hands relative to a hand mean are taken relative to the stand-in's. An AnchorError where the hands are PCA
    coefficients.
    """
    check_range("curl", amount, -1, 1)
    if amount == 0:
        return motion
    if motion.hands_pca is not None:
        raise AnchorError(
            "The fingers of this motion are coefficients of a hand PCA, which only a licensed SMPL-X body "
            "decodes: they cannot be curled; leave curl at 0."
        )
    goal = fist() if amount > 0 else np.zeros((30, 3))
    turned = slerp(
        quaternion_from_axis_angle(absolute_hands(motion)), quaternion_from_axis_angle(goal), abs(amount)
    )
    return with_absolute_hands(motion, axis_angle_from_quaternion(turned))


def fist() -> np.ndarray:
    """(30, 3) absolute rotations of two fists, axis-angle radians, left then right."""
    left = np.zeros((5, 3, 3))
    axes = np.array([[-np.sin(splay), 0.0, -np.cos(splay)] for splay in _SPLAY_RAD])
    left[:4] = np.array(_FIST_RAD)[:, None] * axes[:, None]
    left[4] = _THUMB_RAD
    return np.concatenate([left.reshape(15, 3), left.reshape(15, 3) * (1, -1, -1)])


def shift_sound(motion: Motion, seconds: float) -> Motion:
    """The sound `seconds` later (below 0: earlier), silent where there is none; what leaves the motion's
    length is cut off. A motion without sound stays as it is, which is logged."""
    check_range("sound_offset_s", seconds, -_LONGEST_OFFSET_S, _LONGEST_OFFSET_S)
    if seconds == 0:
        return motion
    if motion.sound is None:
        logger.warning("The motion has no sound to shift: attach one, or leave sound_offset_s at 0.")
        return motion
    return replace(motion, sound=motion.sound.cut(-seconds, motion.duration_s))
