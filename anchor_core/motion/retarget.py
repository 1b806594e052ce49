"""Anybody's motion on the person of an anchor: shape, camera and place of the card, gestures of the source.

The lights of the mesh render stand still in the world, and an anchor has learned their shading: the person
has to sit where it sat in training, not only to look as large. Hence the place in the world, which the card's
ranges know, and the card's camera; a motion's own camera is left behind.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import AnchorError
from .describe import name_frames, stretches
from .motion import Motion
from .place import DEFAULT_PLACE, LEG_JOINTS, Place, place_motion
from .rotations import matrix_from_axis_angle

if TYPE_CHECKING:
    from ..anchor.card import AnchorCard

log = logging.getLogger("anchor")

LOWER_BODIES = ("target", "sit", "stand", "source")


def retarget(
    motion: Motion,
    card: AnchorCard,
    *,
    root: str = "target",
    lower_body: str = "target",
    enabled: bool = True,
) -> Motion:
    """The motion as the person of the card performs it, in the "cv" world; `performer` becomes its name.

    Body shape, camera and place are the anchor's; upper body, hands, jaw, eyes and expression stay.
    root: "target" keeps the body where it was in training; "relative" adds the source's turns and steps since
    frame 0, which faces the camera; "source" keeps its turns as they are and adds its steps.
    lower_body: legs as in training ("target"), "sit", "stand", or those of the "source".
    enabled: False leaves all as it is; only a motion without a camera gets that and the place of the anchor.
    A motion whose performer is this person is returned unchanged, and so is one that stands before the very
    camera of the card, as those that `prepare` writes do, unless another root or lower body is asked for: the
    anchor was trained on its meshes as they are. Logs a warning that names the frames whose back is turned to
    the camera. Raises AnchorError for an unknown word.
    """
    from ..anchor.use import betas_of, camera_of

    if lower_body not in LOWER_BODIES:
        raise AnchorError(f"lower_body is {lower_body!r}: use one of {', '.join(LOWER_BODIES)}.")
    if motion.performer == card.name:
        return motion
    if enabled and root == lower_body == "target" and is_footage(motion, card):
        log.info("the motion stands before the camera of %s: it is left as it is", card.name)
        return replace(motion, performer=card.name)
    place = place_of(card)
    if not enabled:
        seen = place_motion(motion, camera_of(card), motion.betas, root=root, keep_camera=True, place=place)
        return replace(seen, performer=card.name)
    placed = place_motion(motion, camera_of(card), betas_of(card), root=root, place=place)
    pose = placed.pose.copy()
    pose[:, LEG_JOINTS] = _legs(motion, place, lower_body)
    placed = replace(placed, pose=pose, performer=card.name)
    if root != "target":
        _warn_of_backs(placed, root)
    return placed


def is_footage(motion: Motion, card: AnchorCard) -> bool:
    """Whether a motion has exactly the camera of the card, that of the training's pictures at their size,
    and was not put before it for another person."""
    same = motion.camera is not None and card.camera is not None and motion.camera.to_dict() == card.camera
    return same and not motion.performer


def place_of(card: AnchorCard) -> Place:
    """Where the person of the card was in training; in the middle of the picture where it does not know."""
    return DEFAULT_PLACE if card.ranges is None else card.ranges.place


def faces_away(motion: Motion) -> np.ndarray:
    """(F,) bool: whether the back of the pelvis is turned to the camera, in a motion of the "cv" world."""
    front = matrix_from_axis_angle(motion.pose[:, 0])[:, :, 2]  # bodies face +z at rest
    return np.asarray(front[:, 2] > 0)


def _legs(motion: Motion, place: Place, lower_body: str) -> np.ndarray:
    """Rotations that can be written to LEG_JOINTS."""
    if lower_body == "source":
        return motion.pose[:, LEG_JOINTS]
    legs = {"target": place.legs, "sit": DEFAULT_PLACE.legs, "stand": np.zeros((len(LEG_JOINTS), 3))}
    return np.asarray(legs[lower_body])


def _warn_of_backs(motion: Motion, root: str) -> None:
    away = faces_away(motion)
    if not away.any():
        return
    others = "root='target'" if root == "relative" else "root='relative' (frame 0 faces it) or root='target'"
    log.warning(
        "The back is turned to the camera in frames %s: %s turns the person to it.",
        name_frames(stretches(away)),
        others,
    )
