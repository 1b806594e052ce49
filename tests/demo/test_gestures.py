"""Synthetic motion: the same by seed, finite, within limits, hands before the body and in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from anchor_core.body import pose_motion, standin_body
from anchor_core.demo.arm_poses import ARM_KEYS, COLLAR, ELBOW, SHOULDER, WRIST, mirrored, solve_arm
from anchor_core.demo.gestures import make_motion
from anchor_core.files import ASSETS
from anchor_core.motion.file import load_motion
from anchor_core.render.raster import project

N_FRAMES = 100
WRISTS = (20, 21)


@pytest.fixture(scope="module")
def motion():
    return make_motion(3, N_FRAMES)


def test_same_seed_same_motion(motion) -> None:
    again = make_motion(3, N_FRAMES)
    assert np.array_equal(motion.pose, again.pose)
    assert np.array_equal(motion.expression, again.expression)
    assert not np.allclose(motion.pose, make_motion(4, N_FRAMES).pose)


@pytest.mark.parametrize("n_frames", [1, 2, 7])
def test_short_clips(n_frames: int) -> None:
    assert make_motion(1, n_frames).n_frames == n_frames


def test_form_and_limits(motion) -> None:
    assert motion.pose.shape == (N_FRAMES, 55, 3)
    assert motion.expression.shape == (N_FRAMES, 52)
    assert (motion.world, motion.hands, motion.expression_space) == ("cv", "absolute", "arkit52")
    assert 0 <= motion.expression.min() <= motion.expression.max() <= 1
    assert 0 <= motion.pose[:, 22, 0].min() <= motion.pose[:, 22, 0].max() <= 0.3
    assert np.ptp(motion.pose[:, 0], axis=0).max() == 0, "the root is frozen"
    assert np.abs(motion.pose[:, [12, 15]]).max() < 0.6


def test_moves_are_smooth_and_there(motion) -> None:
    steps = np.abs(np.diff(motion.pose[:, :22], axis=0))
    assert steps.max() < 0.8, "less than 20 rad/s"
    assert motion.pose[:, 18].std(axis=0).max() > 0.05
    assert motion.pose[:, 22, 0].std() > 0.02, "the person talks"


@pytest.mark.parametrize("seed", [0, 5, 11])
def test_wrists_stay_in_the_picture_and_before_the_chest(seed: int) -> None:
    clip = make_motion(seed, 50)
    joints = pose_motion(standin_body(), clip).joints
    pixel, _ = project(joints, clip.camera)
    size = clip.camera.size[0]
    assert pixel[:, WRISTS].min() > 0
    assert pixel[:, WRISTS].max() < size
    assert (joints[:, WRISTS, 2] > joints[:, 9:10, 2] + 0.1).all()


def test_arm_reaches_its_targets() -> None:
    keys = list(ARM_KEYS.values())
    wrist, fingers, palm = (
        np.array([getattr(key, name) for key in keys]) for name in ("wrist", "fingers", "palm")
    )
    collar = np.broadcast_to(np.eye(3), (len(keys), 3, 3))
    shoulder, elbow, hand = solve_arm(wrist, fingers, palm, collar)
    upper, fore = shoulder, shoulder @ elbow
    reached = SHOULDER + upper @ (ELBOW - SHOULDER) + fore @ (WRIST - ELBOW)
    np.testing.assert_allclose(reached, wrist, atol=1e-9)
    points = (fore @ hand) @ np.array([1.0, 0, 0])
    np.testing.assert_allclose(points, fingers / np.linalg.norm(fingers, axis=1, keepdims=True), atol=1e-9)
    assert np.linalg.norm(SHOULDER - COLLAR) > 0


def test_mirror_is_its_own_inverse() -> None:
    turn = np.array([0.1, -0.2, 0.3])
    np.testing.assert_array_equal(mirrored(mirrored(turn)), turn)
    np.testing.assert_array_equal(mirrored(turn), [0.1, 0.2, -0.3])


def test_shipped_motion() -> None:
    path = ASSETS / "demo_motion.npz"
    assert path.stat().st_size < 300_000
    shipped = load_motion(path)
    assert 48 <= shipped.n_frames <= 120
    assert shipped.fps == 25
