"""More and less of gestures, fingers and mouth."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion.edits.gain import gain
from anchor_core.motion.edits.mirror import arkit_names

from .motions import make_motion, turn_between

GESTURES = (6, 9, 13, 14, 16, 17, 18, 19, 20, 21)


def spread(pose: np.ndarray, joint: int) -> float:
    """Mean turn between frames half a motion apart."""
    half = len(pose) // 2
    return float(turn_between(pose[:half, joint], pose[half : 2 * half, joint]).mean())


def test_one_leaves_the_motion() -> None:
    motion = make_motion()
    assert gain(motion) is motion


@pytest.mark.parametrize("factor", [0.5, 1.3])
def test_gestures_grow_and_shrink_about_their_mean(factor: float) -> None:
    motion = make_motion(90)
    result = gain(motion, gestures=factor)
    for joint in (6, 16, 21):
        ratio = spread(result.pose, joint) / spread(motion.pose, joint)
        assert ratio == pytest.approx(factor, rel=0.05)
    others = [joint for joint in range(55) if joint not in GESTURES]
    np.testing.assert_array_equal(result.pose[:, others], motion.pose[:, others])
    np.testing.assert_array_equal(result.expression, motion.expression)


def test_zero_stands_still_at_the_mean() -> None:
    motion = make_motion(90)
    result = gain(motion, gestures=0, hands=0)
    assert turn_between(result.pose[1:, 16:22], result.pose[:-1, 16:22]).max() < 1e-3
    assert turn_between(result.pose[0, 16], motion.pose[:, 16]).mean() < 0.5


def test_large_gains_stop_at_what_a_body_does() -> None:
    pose = np.zeros((40, 55, 3))
    pose[:, 16, 2] = np.linspace(-1, 1, 40)
    pose[:, 6, 0] = np.linspace(-0.3, 0.3, 40)
    pose[:, 18, 1] = np.linspace(-2.2, -0.1, 40)  # the left elbow bends by a negative angle
    pose[:, 19, 1] = -pose[:, 18, 1]
    result = gain(make_motion(40, pose=pose), gestures=3).pose
    assert np.abs(result[:, 16, 2]).max() == pytest.approx(1.6, abs=1e-3)
    assert np.abs(result[:, 6, 0]).max() == pytest.approx(0.4, abs=1e-3)
    assert result[:, 18, 1].max() <= 1e-6
    assert result[:, 19, 1].min() >= -1e-6
    assert -2.6 <= result[:, 18, 1].min() < -2.0


def test_what_the_source_does_beyond_is_kept() -> None:
    pose = np.zeros((40, 55, 3))
    pose[:, 6, 0] = np.linspace(-0.8, 0.8, 40)
    result = gain(make_motion(40, pose=pose), gestures=1.5).pose
    assert np.abs(result[:, 6, 0]).max() == pytest.approx(0.8, abs=1e-3)


def test_pca_fingers_spread_about_their_mean() -> None:
    pca = np.random.default_rng(3).normal(1, 1, (60, 12))
    result = gain(make_motion(hands_pca=(pca, 2 * pca)), hands=1.5).hands_pca
    assert result is not None
    np.testing.assert_allclose(result[0].std(axis=0), 1.5 * pca.std(axis=0), rtol=1e-4)
    np.testing.assert_allclose(result[1].mean(axis=0), 2 * pca.mean(axis=0), atol=1e-4)


def test_the_mouth_of_arkit() -> None:
    names = arkit_names()
    motion = make_motion(60)
    motion.pose[:, 22] = np.linspace(0, 0.25, 60)[:, None] * (1, 0, 0)
    wide, shut = gain(motion, mouth=1.5), gain(motion, mouth=0)
    np.testing.assert_allclose(wide.pose[:, 22], 1.5 * motion.pose[:, 22], atol=1e-6)
    assert not shut.pose[:, 22].any()
    assert wide.expression.max() <= 1
    for name in ("mouthSmileLeft", "jawOpen"):
        column = names.index(name)
        wanted = np.minimum(1.5 * motion.expression[:, column], 1)
        np.testing.assert_allclose(wide.expression[:, column], wanted, atol=1e-6)
        assert not shut.expression[:, column].any()
    brow = names.index("browInnerUp")
    np.testing.assert_array_equal(shut.expression[:, brow], motion.expression[:, brow])


def test_no_jaw_opens_beyond_half_a_radian() -> None:
    motion = make_motion(60)
    motion.pose[:, 22] = np.linspace(0, 0.3, 60)[:, None] * (1, 0, 0)
    assert gain(motion, mouth=3).pose[:, 22, 0].max() == pytest.approx(0.5)


def test_coefficients_move_about_their_mean(caplog: Any) -> None:
    rows = np.random.default_rng(4).normal(0.5, 1, (60, 10))
    motion = make_motion(expression=rows, expression_space="smplx")
    with caplog.at_level(logging.INFO, logger="anchor"):
        result = gain(motion, mouth=0.5)
    np.testing.assert_allclose(result.expression, rows.mean(0) + 0.5 * (rows - rows.mean(0)), atol=1e-6)
    assert "mix all of the face" in caplog.text
    assert np.abs(gain(motion, mouth=3).expression).max() <= max(5, np.abs(rows).max())


@pytest.mark.parametrize("settings", [{"gestures": -1}, {"hands": 4}, {"mouth": np.nan}])
def test_other_gains_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(AnchorError, match=r"(gestures|hands_gain|mouth) is .*: give a number from 0 to 3"):
        gain(make_motion(), **settings)
