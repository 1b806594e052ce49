"""Root, legs, fingers and the place of the sound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anchor_core.body import pose_motion, standin_body
from anchor_core.errors import AnchorError
from anchor_core.motion.edits.hands import absolute_hands, hand_mean, in_convention
from anchor_core.motion.edits.parts import curl_hands, fist, set_lower_body, set_root, shift_sound
from anchor_core.motion.place import LEG_JOINTS, SEATED_LEGS

from .motions import make_motion, tone, turn_between


def test_a_frozen_root_is_that_of_the_first_frame() -> None:
    motion = make_motion()
    frozen = set_root(motion, "freeze")
    np.testing.assert_array_equal(frozen.pose[:, 0], np.repeat(motion.pose[:1, 0], 60, axis=0))
    np.testing.assert_array_equal(frozen.translation, np.repeat(motion.translation[:1], 60, axis=0))
    np.testing.assert_array_equal(frozen.pose[:, 1:], motion.pose[:, 1:])
    assert set_root(motion, "source") is motion


def test_a_root_is_set() -> None:
    motion = make_motion()
    turned = set_root(motion, "set", rotation=(1, 2, 3))
    assert (turned.pose[:, 0] == [1, 2, 3]).all()
    np.testing.assert_array_equal(turned.translation, motion.translation)
    moved = set_root(motion, "set", translation=np.array([0.5, 0, 0]))
    assert (moved.translation == np.float32([0.5, 0, 0])).all()
    np.testing.assert_array_equal(moved.pose, motion.pose)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fly",), "root is 'fly': use one of source, freeze, set"),
        (("set",), "root is 'set' and no rotation and no translation given"),
        (("freeze", (0, 0, 0)), "root is 'freeze' and rotation given: give one or both with 'set'"),
        (("set", (0, 0)), r"The rotation of the root is \(0, 0\): give three finite numbers"),
        (("set", None, (0, np.inf, 0)), "The translation of the root is"),
    ],
)
def test_roots_that_make_no_sense_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        set_root(make_motion(), *arguments)


def test_legs_sit_and_stand() -> None:
    motion = make_motion()
    seated, standing = set_lower_body(motion, "sit"), set_lower_body(motion, "stand")
    np.testing.assert_allclose(seated.pose[:, 4], np.tile(SEATED_LEGS[4], (60, 1)), atol=1e-6)
    assert not standing.pose[:, LEG_JOINTS].any()
    others = [joint for joint in range(55) if joint not in LEG_JOINTS]
    np.testing.assert_array_equal(seated.pose[:, others], motion.pose[:, others])
    assert not seated.valid.lower
    assert set_lower_body(motion, "source") is motion
    with pytest.raises(AnchorError, match="lower_body is 'kneel': use one of source, sit, stand"):
        set_lower_body(motion, "kneel")


@pytest.mark.parametrize("hands", ["relative", "absolute"])
def test_hands_go_to_fists_and_flat(hands: str) -> None:
    motion = make_motion(hands=hands)
    assert curl_hands(motion, 0) is motion
    flat, closed = curl_hands(motion, -1), curl_hands(motion, 1)
    np.testing.assert_allclose(absolute_hands(flat), 0, atol=1e-6)
    assert turn_between(absolute_hands(closed), fist()[None]).max() < 1e-3
    half = curl_hands(motion, 0.5)
    before = turn_between(absolute_hands(motion), fist()[None])
    after = turn_between(absolute_hands(half), fist()[None])
    np.testing.assert_allclose(after, before / 2, atol=2e-3)
    np.testing.assert_array_equal(half.pose[:, :25], motion.pose[:, :25])


def test_a_fist_brings_the_fingertips_to_the_palm() -> None:
    motion = make_motion(1, pose=np.zeros((1, 55, 3)), hands="absolute", expression=np.zeros((1, 52)))
    wrist, knuckle, last = 20, 28, 30  # of the middle finger, left
    flat = pose_motion(standin_body(), motion).joints[0].numpy()
    closed = pose_motion(standin_body(), curl_hands(motion, 1)).joints[0].numpy()
    assert np.linalg.norm(closed[last] - closed[wrist]) < 0.8 * np.linalg.norm(flat[last] - flat[wrist])
    np.testing.assert_allclose(closed[knuckle], flat[knuckle], atol=1e-6)
    sides = np.array([-1, 1, 1])
    np.testing.assert_allclose(closed[45] - closed[21], (closed[30] - closed[20]) * sides, atol=0.004)


def test_hands_change_their_convention_and_not_their_pose() -> None:
    motion = make_motion(4, expression=np.zeros((4, 52)))
    other = in_convention(motion, "absolute")
    assert other.hands == "absolute"
    np.testing.assert_allclose(other.pose[:, 25:], motion.pose[:, 25:] + hand_mean(), atol=1e-6)
    first, second = (pose_motion(standin_body(), each).joints for each in (motion, other))
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert in_convention(motion, "relative") is motion
    np.testing.assert_allclose(hand_mean(), standin_body().hand_mean.numpy(), atol=1e-7)


@pytest.mark.parametrize("amount", [1.5, -2, np.nan])
def test_other_curls_are_refused(amount: float) -> None:
    with pytest.raises(AnchorError, match=r"curl is .*: give a number from -1 to 1"):
        curl_hands(make_motion(), amount)


def test_pca_hands_cannot_be_curled() -> None:
    motion = make_motion(hands_pca=(np.ones((60, 12)), np.ones((60, 12))))
    with pytest.raises(AnchorError, match=r"coefficients of a hand PCA.* leave curl at 0"):
        curl_hands(motion, 0.3)


def test_sound_comes_later_and_earlier() -> None:
    motion = make_motion(sound=tone(2.0))
    wave = motion.sound.waveform  # type: ignore[union-attr]
    later, earlier = shift_sound(motion, 0.5), shift_sound(motion, -0.5)
    assert later.sound is not None
    assert earlier.sound is not None
    assert not later.sound.waveform[:, :4000].any()
    np.testing.assert_array_equal(later.sound.waveform[:, 4000:], wave[:, :12000])
    np.testing.assert_array_equal(earlier.sound.waveform[:, :12000], wave[:, 4000:])
    assert shift_sound(motion, 0) is motion
    with pytest.raises(AnchorError, match="sound_offset_s is nan"):
        shift_sound(motion, np.nan)


def test_no_sound_is_said(caplog: Any) -> None:
    motion = make_motion()
    assert shift_sound(motion, 1) is motion
    assert "The motion has no sound to shift" in caplog.text
