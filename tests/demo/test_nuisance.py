"""Nuisance lasts over time, is the same by seed, and does not show in the mesh."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from anchor_core.demo.gestures import make_motion
from anchor_core.demo.nuisance import make_nuisance
from anchor_core.demo.signals import damped_pendulum, eased

STATES = ("tie_swing", "hair_swing", "fold_phase", "fold_depth", "light")


@pytest.fixture(scope="module")
def motion():
    return make_motion(1, 200)


def autocorrelation(signal: np.ndarray, lag: int) -> np.ndarray:
    centred = signal - signal.mean(axis=0)
    return (centred[lag:] * centred[:-lag]).mean(axis=0) / centred.var(axis=0)


@pytest.mark.parametrize("name", STATES)
def test_states_last_over_time(motion, name: str) -> None:
    state = getattr(make_nuisance(motion, 5), name).reshape(motion.n_frames, -1)
    assert (autocorrelation(state, 2) > 0.7).all()
    assert (state.std(axis=0) > 1e-3).all()


@pytest.mark.parametrize("name", STATES)
def test_seed_decides_what_the_pose_does_not(motion, name: str) -> None:
    first, again, other = (getattr(make_nuisance(motion, seed), name) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_world_without_nuisance(motion) -> None:
    none = make_nuisance(motion, 5, 0.0)
    assert not any(np.any(getattr(none, field.name)) for field in fields(none) if field.name != "light")
    np.testing.assert_array_equal(none.light, 1)


def test_light_wanders_by_a_few_percent(motion) -> None:
    assert np.abs(make_nuisance(motion, 5).light - 1).max() < 0.12


def test_pendulum_swings_at_its_frequency_and_dies() -> None:
    push = np.zeros((250, 1))
    push[0] = 10.0
    swing = damped_pendulum(push, 25.0, 1.0, 0.1)[:, 0]
    crossings = np.flatnonzero(np.diff(np.sign(swing[:100])))
    assert np.diff(crossings).mean() == pytest.approx(12.5, abs=1.0)
    assert np.abs(swing[-25:]).max() < 0.02 * np.abs(swing).max()


def test_easing() -> None:
    path = eased(np.linspace(0, 3, 31), np.array([1.0]), np.array([2.0]), np.array([[0.0], [4.0]]))[:, 0]
    assert path[0] == 0
    assert path[-1] == pytest.approx(4)
    assert path[15] == pytest.approx(2)
