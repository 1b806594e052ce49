"""The hand mean of the body model, and hands relative to it as absolute ones.

The body adds the mean to relative hands as vectors (MANO convention), so it is added and subtracted here in
the same way. The mean is the stand-in's; that of a licensed SMPL-X file differs from it by some degrees a
joint.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from ...files import ASSETS
from ..archive import read_archive
from ..motion import Motion

HANDS = slice(25, 55)
"""The joints of both hands, left then right."""


@cache
def hand_mean() -> np.ndarray:
    """(30, 3) axis-angle radians of the relaxed hands of the stand-in, left then right."""
    keys = ("hands_meanl", "hands_meanr")
    arrays = read_archive(ASSETS / "standin.npz", keys)
    return np.concatenate([arrays[key].reshape(15, 3) for key in keys]).astype(np.float64)


def absolute_hands(motion: Motion) -> np.ndarray:
    """Rotations (F, 30, 3) of the joints of both hands, axis-angle, 0 is a flat hand."""
    fingers = motion.pose[:, HANDS].astype(np.float64)
    return fingers + hand_mean() if motion.hands == "relative" else fingers


def with_absolute_hands(motion: Motion, fingers: np.ndarray) -> Motion:
    """The motion with these absolute hands (F, 30, 3), written in its own convention."""
    pose = motion.pose.copy()
    pose[:, HANDS] = fingers - hand_mean() if motion.hands == "relative" else fingers
    return replace(motion, pose=pose)


def in_convention(motion: Motion, hands: str) -> Motion:
    """The same hands in the other convention: "relative" or "absolute"."""
    if hands == motion.hands:
        return motion
    return with_absolute_hands(replace(motion, hands=hands), absolute_hands(motion))
