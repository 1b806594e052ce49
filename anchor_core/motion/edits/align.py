"""A motion brought to the conventions and the place of the one that it follows."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace

import numpy as np

from ..motion import Motion, Validity
from ..place import TO_CV
from ..rotations import axis_angle_from_matrix, matrix_from_axis_angle
from .hands import in_convention

logger = logging.getLogger("anchor")

PELVIS = np.array([0.003, -0.351, 0.012])
"""Pelvis of the mean SMPL-X body and of the stand-in at rest, metres: the point that the root turns about."""
_FLOOR_AXES = {"yup": (0, 2), "zup": (0, 1), "cv": (0, 1, 2)}  # a camera's world knows no floor


def aligned(first: Motion, second: Motion, overlap: int) -> tuple[Motion, Motion]:
    """Both motions, fit to be joined: `second` in the world, conventions and place of `first`.

    Both need the same fps. overlap: frames of both that will be blended. `first` changes only in what
    both must share: width of the expression, what is valid, whose performance it is. Each difference that
    matters is logged.
    """
    _tell(first, second)
    moved = in_convention(in_world(second, first.world), first.hands)
    moved = _placed(first, moved, overlap, first.world != second.world)
    first, moved = _same_expression(*_same_fingers(first, moved))
    measured = asdict(moved.valid)
    first = replace(
        first,
        valid=Validity(**{part: good and measured[part] for part, good in asdict(first.valid).items()}),
        performer=first.performer if first.performer == second.performer else "",
    )
    return first, moved


def in_world(motion: Motion, world: str) -> Motion:
    """The motion in another world: the root and its path turn, the camera (which is the "cv" world's) is
    dropped. The place is exact for a body with the mean pelvis (`PELVIS`)."""
    if world == motion.world:
        return motion
    turn = TO_CV[world].T @ TO_CV[motion.world]
    pose = motion.pose.copy()
    pose[:, 0] = axis_angle_from_matrix(turn @ matrix_from_axis_angle(pose[:, 0]))
    path = (motion.translation + PELVIS) @ turn.T - PELVIS
    return replace(motion, pose=pose, translation=path, world=world, camera=None)


def _placed(first: Motion, second: Motion, overlap: int, other_world: bool) -> Motion:
    """The pelvis of both at the same place in the middle of the blend; a common floor stays where it is."""
    frames = max(1, overlap)
    gap = first.translation[-frames:].mean(axis=0) - second.translation[:frames].mean(axis=0)
    axes = (0, 1, 2) if other_world else _FLOOR_AXES[first.world]
    move = np.zeros(3)
    move[list(axes)] = gap[list(axes)]
    return replace(second, translation=second.translation + move)


def _same_fingers(first: Motion, second: Motion) -> tuple[Motion, Motion]:
    if first.hands_pca is None and second.hands_pca is None:
        return first, second
    if first.hands_pca is None or second.hands_pca is None:
        logger.warning(
            "The fingers of one motion stay relaxed: they are coefficients of a hand PCA and those of the "
            "other are angles; join motions of the same kind of source."
        )
        return _without_pca(first), _without_pca(second)
    width = max(hand.shape[1] for hand in (*first.hands_pca, *second.hands_pca))
    return _wide_hands(first, width), _wide_hands(second, width)


def _without_pca(motion: Motion) -> Motion:
    if motion.hands_pca is None:
        return motion
    return replace(motion, hands_pca=None, valid=replace(motion.valid, hands=False))


def _wide_hands(motion: Motion, width: int) -> Motion:
    sides = motion.hands_pca
    return replace(motion, hands_pca=sides and (_wide(sides[0], width), _wide(sides[1], width)))


def _same_expression(first: Motion, second: Motion) -> tuple[Motion, Motion]:
    """Both in one expression space and of one width: coefficients that one lacks are 0."""
    if first.expression_space == "none":
        first = _neutral_face(first, second.expression_space)
    elif second.expression_space not in ("none", first.expression_space):
        logger.warning(
            f"The face of '{second.source}' shows jaw and eyes only: its expression is "
            f"'{second.expression_space}' and that of '{first.source}' is '{first.expression_space}'; "
            "convert one of them first."
        )
    if second.expression_space != first.expression_space:
        second = _neutral_face(second, first.expression_space)
    width = max(first.expression.shape[1], second.expression.shape[1])
    return (
        replace(first, expression=_wide(first.expression, width)),
        replace(second, expression=_wide(second.expression, width)),
    )


def _neutral_face(motion: Motion, space: str) -> Motion:
    empty = np.zeros((motion.n_frames, 0), np.float32)
    return replace(motion, expression=empty, expression_space=space)


def _wide(rows: np.ndarray, width: int) -> np.ndarray:
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])))


def _tell(first: Motion, second: Motion) -> None:
    if second.hands != first.hands:
        logger.warning(
            f"The hands of '{second.source}' are {second.hands} and those of '{first.source}' {first.hands}: "
            "converted with the hand mean of the stand-in body; fingers may differ a little on another body."
        )
    for name in ("world", "gender"):
        before, after = getattr(first, name), getattr(second, name)
        if before != after:
            logger.info(
                "joined motions differ in %s (%s, %s): that of the first is kept", name, before, after
            )
    if not _same(first.betas, second.betas):
        logger.info("joined motions are of two body shapes: that of the first is kept")
    if first.camera != second.camera:
        logger.info("joined motions have two cameras: that of the first is kept")


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)
