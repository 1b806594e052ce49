"""What a file does not say and may have wrong: unit of the angles, world, hands. Judged by how people move.

Measured on real motions: the spine of a person who stands or sits points up; a joint is turned by less than a
full turn. Absolute finger angles are those of the joints: 0.2 rad on average in BEAT2, 0.48 in the mean of
MANO, and no finger bends far backwards. Relative ones are near 0 on average (-0.18 to 0.11 in TalkSHOW), and
go below -0.3 wherever a hand is opened.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from ..errors import AnchorError
from .formats.parts import Parts
from .rotations import matrix_from_axis_angle

logger = logging.getLogger("anchor")

_UP = {"cv": (0.0, -1.0, 0.0), "yup": (0.0, 1.0, 0.0), "zup": (0.0, 0.0, 1.0)}
_WORDS = {"cv": "y pointing down", "yup": "y pointing up", "zup": "z pointing up"}
_SPINE = (0, 3, 6, 9)  # pelvis to chest; each joint's y axis points up in the rest pose
_LOOKED_AT = 600  # frames are enough to judge a convention by
_CONTRADICTS, _FITS = 0.5, 0.8  # cosine of the spine with up: 60 degrees, and 37
_FULL_TURN = 2 * np.pi
_LEFT_FINGERS, _RIGHT_FINGERS = slice(25, 37), slice(40, 52)  # without the thumbs
_CURLED = 0.15  # radians, mean over fingers and frames; below it, absolute hands would be flat
_IMPOSSIBLE, _NATURAL = -0.35, -0.15  # how far the most opened twentieth of all finger joints is bent back


def in_radians(parts: Parts, asked: str | None) -> Parts:
    """The parts with angles in radians: converted where the user says "degrees"; angles that can only be
    degrees are an AnchorError unless the user insists on "radians"."""
    if asked == "degrees":
        return replace(parts, pose=np.radians(parts.pose))
    usual = _usual_turn(parts.pose)
    if asked is None and usual > _FULL_TURN:
        raise AnchorError(
            f"Joints are turned by {usual:.0f} for most of the time, and a full turn has 6.28 radians: give "
            'angles="degrees" to convert the motion, or angles="radians" to keep it as it is.'
        )
    return parts


def upright_world(parts: Parts) -> str:
    """The world in which the person is upright, where the declared one turns the spine away from up for most
    of the time; else the declared one. The change is logged as a warning that names the option."""
    up = spine_direction(parts.pose)
    fit = {world: float(up @ np.array(direction)) for world, direction in _UP.items()}
    best = max(fit, key=lambda world: fit[world])
    if fit[parts.world] >= _CONTRADICTS or fit[best] < _FITS:
        return parts.world
    logger.warning(
        f"The person stands upright with {_WORDS[best]}, and {parts.source} has {_WORDS[parts.world]}: read "
        f'as world="{best}"; give world="{parts.world}" to keep what the format says.'
    )
    return best


def check_hands(parts: Parts) -> None:
    """Log a warning that names the option where the fingers contradict the declared hand convention."""
    bends = finger_bends(parts.pose)
    if not parts.valid.hands or parts.hands_pca is not None or not bends.any():
        return
    curl, opened = float(bends.mean()), float(np.quantile(bends, 0.05))
    if parts.hands == "absolute" and (curl < _CURLED or opened < _IMPOSSIBLE):
        looks, would = "relative", "stiff and flat"
    elif parts.hands == "relative" and curl > _CURLED and opened > _NATURAL:
        looks, would = "absolute", "clenched"
    else:
        return
    logger.warning(
        f"The fingers are curled by {curl:.2f} rad on average, which looks like {looks} hand angles, and "
        f'{parts.source} has {parts.hands} ones: if the hands come out {would}, give hands="{looks}".'
    )


def spine_direction(pose: np.ndarray) -> np.ndarray:
    """Mean over the frames of the unit vector from pelvis to neck, (3,): shorter than 1 if it turns about.

    pose: (F, 55, 3) axis-angle, radians."""
    turn = np.eye(3)
    total = np.zeros(3)
    for joint in _SPINE:
        turn = turn @ matrix_from_axis_angle(_some(pose)[:, joint])
        total = total + turn[..., 1]
    unit: np.ndarray = total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-9)
    return unit.mean(axis=0)


def finger_bends(pose: np.ndarray) -> np.ndarray:
    """How far each finger joint but those of the thumbs is bent towards the palm, (some frames, 24) radians.

    pose: (F, 55, 3). The fingers of the left hand bend about -z, those of the right about +z."""
    frames = _some(pose)
    return np.concatenate([-frames[:, _LEFT_FINGERS, 2], frames[:, _RIGHT_FINGERS, 2]], axis=1)


def _usual_turn(pose: np.ndarray) -> float:
    """Median over the frames of the angle of the joint that is turned most there; the root may turn often."""
    angles = np.linalg.norm(_some(pose)[:, 1:].astype(np.float64), axis=2)
    angles = angles[np.isfinite(angles).all(axis=1)]
    return float(np.median(angles.max(axis=1))) if len(angles) else 0.0


def _some(pose: np.ndarray) -> np.ndarray:
    return pose[:: max(1, len(pose) // _LOOKED_AT)]
