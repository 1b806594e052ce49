"""Smoothing: less jitter, no lag, no spin at a turn of pi, polynomials and constants untouched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import Motion
from anchor_core.motion.edits.smooth import smooth

from .motions import make_motion, tone, turn_between

METHODS = ("savgol", "one_euro")


def jittered(motion: Motion, size: float = 0.02) -> Motion:
    noise = np.random.default_rng(8).normal(size=motion.pose.shape).astype(np.float32)
    return replace(motion, pose=motion.pose + size * noise)


def jitter(motion: Motion) -> float:
    """Mean change of the turn from frame to frame, in radians."""
    return float(np.abs(np.diff(turn_between(motion.pose[1:], motion.pose[:-1]), axis=0)).mean())


@pytest.mark.parametrize("method", METHODS)
def test_jitter_goes_and_the_motion_stays(method: str) -> None:
    clean = make_motion(200)
    noisy = jittered(clean)
    result = smooth(noisy, method)
    assert jitter(result) < 0.6 * jitter(noisy)
    away = turn_between(result.pose, clean.pose).mean()
    assert away < turn_between(noisy.pose, clean.pose).mean()


@pytest.mark.parametrize("method", METHODS)
def test_the_root_does_not_spin_at_a_turn_of_pi(method: str) -> None:
    motion = make_motion(120)
    assert np.linalg.norm(np.diff(motion.pose[:, 0], axis=0), axis=-1).max() > 5
    result = smooth(motion, method)
    assert turn_between(result.pose[:, 0], motion.pose[:, 0]).max() < 0.1
    assert np.linalg.norm(result.pose, axis=-1).max() <= np.pi + 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_nothing_comes_late(method: str) -> None:
    motion = make_motion(100)
    backwards = motion.per_frame(lambda rows: rows[::-1])
    result, other = smooth(motion, method), smooth(backwards, method)
    assert turn_between(result.pose, other.pose[::-1]).max() < 2e-3
    np.testing.assert_allclose(result.expression, other.expression[::-1], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_what_stands_still_stays(method: str) -> None:
    motion = make_motion(40)
    still = motion.per_frame(lambda rows: np.repeat(rows[:1], len(rows), axis=0))
    result = smooth(still, method)
    assert turn_between(result.pose, still.pose).max() < 1e-3
    np.testing.assert_allclose(result.translation, still.translation, atol=1e-6)


@pytest.mark.parametrize(("window", "order"), [(5, 2), (9, 2), (11, 3)])
def test_savgol_is_that_of_scipy(window: int, order: int) -> None:
    signal = pytest.importorskip("scipy.signal")
    motion = make_motion(50)
    result = smooth(motion, "savgol", window=window, order=order)
    wanted = signal.savgol_filter(motion.translation.astype(np.float64), window, order, axis=0)
    np.testing.assert_allclose(result.translation, wanted, atol=1e-6)


def test_expressions_stay_in_their_range() -> None:
    steps = np.repeat([[0.0], [1.0], [0.0]], 20, axis=0) * np.ones((1, 52))
    result = smooth(make_motion(60, expression=steps), "savgol").expression
    assert result.min() >= 0
    assert result.max() <= 1
    assert 0.1 < result[20, 0] < 0.9


@pytest.mark.parametrize("method", METHODS)
def test_everything_travels_along(method: str) -> None:
    marks = np.arange(60) == 7
    pca = np.random.default_rng(2).normal(size=(2, 60, 12))
    motion = make_motion(sound=tone(2.0), hands_pca=(pca[0], pca[1]), interpolated=marks)
    result = smooth(motion, method)
    assert result.sound is motion.sound
    np.testing.assert_array_equal(result.marks, marks)
    assert result.hands_pca is not None
    assert np.abs(np.diff(result.hands_pca[0], axis=0)).mean() < np.abs(np.diff(pca[0], axis=0)).mean()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_frames", [1, 2, 3, 6])
def test_short_motions(method: str, n_frames: int) -> None:
    motion = make_motion(n_frames)
    assert turn_between(smooth(motion, method).pose, motion.pose).max() < 0.05
    assert smooth(replace(motion, expression=np.zeros((n_frames, 0))), method).expression.shape == (
        n_frames,
        0,
    )


@pytest.mark.parametrize("method", METHODS)
def test_many_joints_at_once_or_few(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    motion = make_motion(30)
    whole = smooth(motion, method).pose
    monkeypatch.setattr("anchor_core.motion.edits.smooth._BLOCK", 90)
    np.testing.assert_array_equal(smooth(motion, method).pose, whole)


def test_fast_moves_are_cut_less_by_one_euro() -> None:
    angle = np.zeros((90, 55, 3))
    angle[30:60, 16, 2] = 1.0
    motion = make_motion(90, pose=angle)
    slow, fast = smooth(motion, "one_euro", beta=0), smooth(motion, "one_euro", beta=2)
    wanted = angle[30:60, 16, 2]
    assert (
        np.abs(fast.pose[30:60, 16, 2] - wanted).mean()
        < 0.8 * np.abs(slow.pose[30:60, 16, 2] - wanted).mean()
    )


def test_none_changes_nothing() -> None:
    motion = make_motion()
    assert smooth(motion, "none") is motion


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("kalman", {}, "smoothing is 'kalman': use one of none, savgol, one_euro"),
        ("savgol", {"window": 8}, "window is 8: give an odd number of frames from 3 to 999"),
        ("savgol", {"window": 1}, "window is 1"),
        ("savgol", {"window": np.nan}, "window is nan"),
        (
            "savgol",
            {"window": 5, "order": 5},
            r"order is 5: give a whole number from 0 to 7, below the window \(5\)",
        ),
        ("one_euro", {"min_cutoff": 0}, "min_cutoff is 0: give a number from 0.001 to 1000"),
        ("one_euro", {"beta": -1}, "beta is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(method: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        smooth(make_motion(), method, **settings)
