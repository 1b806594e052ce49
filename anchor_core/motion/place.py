"""Putting a motion in front of an anchor's camera.

The lights of the mesh render stand still about two metres away, so the person has to sit where SHOW puts
people: pelvis near the origin of the world, facing the camera. TalkSHOW has no translation and no camera at
all; the motion of another video has its own. Both get the shape, place and camera of the anchor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import AnchorError
from .camera import Camera
from .motion import Motion
from .rotations import axis_angle_from_matrix, matrix_from_axis_angle

PLACE_ROOT = (3.0747, -0.0158, -0.0152)
"""Root rotation of a person who faces the camera in the "cv" world (axis-angle, the constant of TalkSHOW)."""
PLACE_TRANSLATION = (-0.004, 0.055, 0.0)
"""Translation in metres that centres the pelvis for `default_camera`, with room for hair above the head."""
SEATED_LEGS = {
    1: (-1.183, 0.239, 0.151),
    2: (-1.260, -0.316, -0.160),
    4: (1.165, 0.0, 0.0),
    5: (1.252, 0.042, -0.063),
}
"""Hips and knees of a seated person (axis-angle, TalkSHOW's constants); the other leg joints are at rest."""
LEG_JOINTS = (1, 2, 4, 5, 7, 8, 10, 11)
ROOTS = ("target", "relative", "source")
TO_CV = {
    "cv": np.eye(3),
    "yup": np.diag([1.0, -1.0, -1.0]),
    "zup": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
}
"""Rotation of each world into the "cv" world, for column vectors."""
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Place:
    """Where a person is in front of a camera, in the "cv" world.

    root: rotation as axis-angle. translation: metres. legs: rotations of LEG_JOINTS as axis-angle. The
    defaults put a seated person in front of `default_camera`.
    """

    root: Vector = PLACE_ROOT
    translation: Vector = PLACE_TRANSLATION
    legs: tuple[Vector, ...] = tuple(SEATED_LEGS.get(joint, (0.0, 0.0, 0.0)) for joint in LEG_JOINTS)


DEFAULT_PLACE = Place()


def place_motion(
    motion: Motion,
    camera: Camera,
    betas: np.ndarray | None,
    *,
    root: str = "target",
    keep_camera: bool = False,
    place: Place = DEFAULT_PLACE,
) -> Motion:
    """The motion as the anchor would perform it in front of `camera`, in the "cv" world.

    betas: shape of the anchor's body, or None for the mean body.
    root: "target" freezes the root and the legs at the anchor's place; "relative" adds the movement of
    the root since frame 0 to that place; "source" keeps the root's rotation as it is and moves frame 0 to the
    place.
    keep_camera: a motion with its own camera keeps it and its place; only the shape is replaced.
    place: that of the anchor.
    """
    if root not in ROOTS:
        raise AnchorError(f"root is {root!r}: use one of {', '.join(ROOTS)}.")
    if keep_camera and motion.camera is not None:
        return replace(motion, betas=betas)
    rotation, translation = _PLACEMENTS[root](motion, place)
    pose = motion.pose.copy()
    pose[:, 0] = axis_angle_from_matrix(rotation)
    if root == "target":
        pose[:, LEG_JOINTS] = place.legs
    return replace(motion, pose=pose, translation=translation, betas=betas, camera=camera, world="cv")


def seat(pose: np.ndarray) -> None:
    """Put the legs of a pose (F, 55, 3) on a chair, in place."""
    pose[:, LEG_JOINTS] = DEFAULT_PLACE.legs


def _frozen(motion: Motion, place: Place) -> tuple[np.ndarray, np.ndarray]:
    rotation, n_frames = matrix_from_axis_angle(np.array(place.root)), motion.n_frames
    return np.broadcast_to(rotation, (n_frames, 3, 3)), np.tile(place.translation, (n_frames, 1))


def _relative(motion: Motion, place: Place) -> tuple[np.ndarray, np.ndarray]:
    # R_place R_0^-1 R_t: independent of the world that the motion is in.
    source = matrix_from_axis_angle(motion.pose[:, 0])
    turn = matrix_from_axis_angle(np.array(place.root)) @ source[0].T
    return turn @ source, np.array(place.translation) + _path(motion) @ turn.T


def _unchanged(motion: Motion, place: Place) -> tuple[np.ndarray, np.ndarray]:
    turn = TO_CV[motion.world]
    rotation = turn @ matrix_from_axis_angle(motion.pose[:, 0])
    return rotation, np.array(place.translation) + _path(motion) @ turn.T


def _path(motion: Motion) -> np.ndarray:
    """Where the pelvis went since frame 0, (F, 3) metres in the motion's own world."""
    path = motion.translation.astype(np.float64) - motion.translation[0]
    return path if motion.valid.translation else np.zeros_like(path)


_PLACEMENTS = {"target": _frozen, "relative": _relative, "source": _unchanged}
