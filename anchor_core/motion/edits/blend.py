"""Two motions as one: frames that fade into each other, frames in a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..motion import Motion
from ..rotations import axis_angle_from_quaternion, quaternion_from_axis_angle, slerp


def cross_fade(first: Motion, second: Motion, share: np.ndarray) -> Motion:
    """Frames between those of two aligned motions of equal length, without sound.

    share: (F,) from 0 (first) to 1 (second). Joints turn on the shortest way, all else is linear; a frame is
    marked as interpolated where one of both is.
    """
    turned = slerp(
        quaternion_from_axis_angle(first.pose), quaternion_from_axis_angle(second.pose), share[:, None]
    )

    def mixed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return before + share[:, None] * (after - before)

    return _merged(
        first,
        second,
        mixed,
        pose=axis_angle_from_quaternion(turned),
        interpolated=first.marks | second.marks,
        sound=None,
    )


def in_a_row(motions: list[Motion], **others: Any) -> Motion:
    """The frames of aligned motions one after the other; `others` as in `dataclasses.replace`, above all the
    sound."""
    first = motions[0]
    pairs = zip(*(motion.hands_pca for motion in motions if motion.hands_pca is not None), strict=True)
    hands = None if first.hands_pca is None else tuple(np.concatenate(side) for side in pairs)
    changes: dict[str, Any] = {
        name: np.concatenate([getattr(motion, name) for motion in motions])
        for name in ("pose", "translation", "expression")
    }
    changes |= {"hands_pca": hands, "interpolated": np.concatenate([motion.marks for motion in motions])}
    return replace(first, **{**changes, **others})


def _merged(
    first: Motion, second: Motion, mixed: Callable[[np.ndarray, np.ndarray], np.ndarray], **others: Any
) -> Motion:
    hands = None
    if first.hands_pca is not None and second.hands_pca is not None:
        (left, right), (left_after, right_after) = first.hands_pca, second.hands_pca
        hands = mixed(left, left_after), mixed(right, right_after)
    return replace(
        first,
        translation=mixed(first.translation, second.translation),
        expression=mixed(first.expression, second.expression),
        hands_pca=hands,
        **others,
    )
