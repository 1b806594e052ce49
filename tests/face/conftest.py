"""A body, a small camera and poses of the head and of one hand for the tests of the face track."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from anchor_core.body import BodyModel, standin_body
from anchor_core.demo.arm_poses import solve_arm
from anchor_core.demo.gestures import make_motion
from anchor_core.motion import Camera, Motion, default_camera
from anchor_core.motion.place import PLACE_ROOT, PLACE_TRANSLATION
from anchor_core.motion.rotations import axis_angle_from_matrix

Pose = Callable[..., Motion]
HEAD, LEFT_ARM, RIGHT_ARM = 15, (16, 18, 20), (17, 19, 21)


@pytest.fixture(scope="session")
def body() -> BodyModel:
    """The body that ships with the pack."""
    return standin_body()


@pytest.fixture(scope="session")
def camera() -> Camera:
    """The demo anchor's camera: a face is about 27 pixels wide."""
    return default_camera(192, 192)


@pytest.fixture(scope="session")
def talk() -> Motion:
    """Nine frames of the demo motion, a third of a second apart."""
    return _every(make_motion(7, 72), 8)


@pytest.fixture(scope="session")
def posed() -> Pose:
    """posed(turns in degrees, hand, shift): a seated person with hanging arms, one frame per turn.

    hand: place of the left wrist in metres before the chest, its palm to the face. shift: metres right,
    down, away.
    """
    return _posed


@pytest.fixture(scope="session")
def hand_before_face() -> tuple[float, float, float]:
    """The wrist of a hand that covers the face from chin to brows."""
    return (-0.02, 0.18, 0.25)


def _posed(
    turns: Sequence[float] = (0.0,),
    hand: tuple[float, float, float] | None = None,
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Motion:
    count = len(turns)
    pose = np.zeros((count, 55, 3))
    pose[:, 0] = PLACE_ROOT
    pose[:, HEAD, 1] = np.radians(turns)
    pose[:, LEFT_ARM[0], 2], pose[:, RIGHT_ARM[0], 2] = -1.1, 1.1
    if hand is not None:
        up, inwards, straight = np.array([[0.0, 1, 0]]), np.array([[0.0, 0, -1]]), np.eye(3)[None]
        for joint, turn in zip(LEFT_ARM, solve_arm(np.array([hand]), up, inwards, straight), strict=True):
            pose[:, joint] = axis_angle_from_matrix(turn)[0]
    place = np.tile(np.add(PLACE_TRANSLATION, shift), (count, 1))
    return Motion(pose, place, np.zeros((count, 0)), hands="absolute", expression_space="none")


def _every(motion: Motion, step: int) -> Motion:
    return replace(
        motion,
        pose=motion.pose[::step],
        translation=motion.translation[::step],
        expression=motion.expression[::step],
    )
