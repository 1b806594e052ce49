"""The motion in a mirror: left and right swapped."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from ...files import ASSETS
from ..archive import read_archive
from ..camera import Camera
from ..motion import N_JOINTS, Motion
from .align import PELVIS

logger = logging.getLogger("anchor")

_LEFT = (1, 4, 7, 10, 13, 16, 18, 20, 23, *range(25, 40))
_RIGHT = (2, 5, 8, 11, 14, 17, 19, 21, 24, *range(40, 55))
_TURN = np.array([1, -1, -1], np.float32)  # of a rotation vector, where x is reflected


def mirror(motion: Motion) -> Motion:
    """The motion as a mirror shows it: reflected at the plane x = 0, which is upright in every world.

    Joints, hands and ARKit expressions change sides; the camera is mirrored too, so that it sees the mirrored
    picture. SMPL-X (FLAME) coefficients have no sides and stay, which is logged. PCA hands change sides as
    they are: the two bases of MANO are taken as mirror images. The sound stays. The motion is nobody's
    performance any more (`performer`), since its camera is another. Twice is as before.
    """
    translation = motion.translation * np.array([-1, 1, 1], np.float32)
    translation[:, 0] -= 2 * PELVIS[0]  # the body's own plane is that of its pelvis, not x = 0
    return replace(
        motion,
        pose=motion.pose[:, mirrored_joints()] * _TURN,
        translation=translation,
        expression=_mirrored_expression(motion),
        hands_pca=motion.hands_pca and (motion.hands_pca[1], motion.hands_pca[0]),
        camera=motion.camera and mirrored_camera(motion.camera),
        performer="",
    )


def mirrored_joints() -> np.ndarray:
    """(55,) number of the joint on the other side, or the joint's own."""
    order = np.arange(N_JOINTS)
    order[[*_LEFT, *_RIGHT]] = (*_RIGHT, *_LEFT)
    return order


def mirrored_camera(camera: Camera) -> Camera:
    """The camera that sees the mirror image of what this one sees, when the world is reflected at x = 0."""
    x, y, z = camera.translation
    center = (camera.size[0] - camera.center_px[0], camera.center_px[1])
    return replace(camera, center_px=center, translation=(-x, y, z))


def mirrored_names(names: Sequence[str]) -> list[int]:
    """Place of each name's other side ("mouthLeft" for "mouthRight"); that of itself where there is none."""
    sides = {"Left": "Right", "Right": "Left"}
    places = {name: place for place, name in enumerate(names)}
    others = (re.sub("Left|Right", lambda found: sides[found[0]], name) for name in names)
    return [places.get(other, place) for place, other in enumerate(others)]


@cache
def arkit_names() -> tuple[str, ...]:
    """The 52 ARKit expressions in the order of the columns of a motion."""
    names = read_archive(ASSETS / "standin.npz", ("expression_names",))["expression_names"]
    return tuple(str(name) for name in names)


def _mirrored_expression(motion: Motion) -> np.ndarray:
    if motion.expression_space == "arkit52":
        return motion.expression[:, mirrored_names(arkit_names()[: motion.expression.shape[1]])]
    if motion.expression_space == "smplx" and motion.expression.any():
        logger.warning("The face is not mirrored: SMPL-X expression coefficients have no left and right.")
    return motion.expression
