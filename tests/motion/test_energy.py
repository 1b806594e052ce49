"""Speeds of hands, head, jaw and expression."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anchor_core.body import standin_body
from anchor_core.motion import Motion
from anchor_core.motion.energy import measure_energy


def _still(n_frames: int = 5, fps: float = 20.0) -> Motion:
    return Motion(
        np.zeros((n_frames, 55, 3), np.float32),
        np.zeros((n_frames, 3), np.float32),
        np.zeros((n_frames, 4), np.float32),
        fps=fps,
    )


def _turning(joint: int, deg_per_frame: float, axis: int = 0, n_frames: int = 5) -> Motion:
    motion = _still(n_frames)
    motion.pose[:, joint, axis] = np.radians(deg_per_frame) * np.arange(n_frames)
    return motion


def test_rest_is_zero_everywhere() -> None:
    energy = measure_energy(_still())
    for name in ("hands", "head", "jaw", "expression"):
        assert getattr(energy, name).tolist() == [0.0] * 5


@pytest.mark.parametrize("degrees", [0.001, 1.0, 90.0])
def test_jaw_in_degrees_per_second(degrees: float) -> None:
    energy = measure_energy(_turning(22, degrees))
    assert energy.jaw == pytest.approx(np.full(5, 20 * degrees), rel=1e-3)
    assert energy.head.max() == 0


@pytest.mark.parametrize("joint", [0, 3, 12, 15])
def test_the_head_moves_with_all_below_it(joint: int) -> None:
    assert measure_energy(_turning(joint, 2.0)).head == pytest.approx(np.full(5, 40.0), rel=1e-4)


def test_the_head_does_not_move_with_an_arm() -> None:
    assert measure_energy(_turning(16, 2.0)).head.max() == 0


def test_hands_in_metres_per_second() -> None:
    # One arm swings about the shoulder: each joint of its hand moves on a circle.
    rest = standin_body().joint_template.numpy()
    hand = rest[[20, *range(25, 40)]] - rest[16]
    radius = np.hypot(hand[:, 0], hand[:, 1])
    step = 2 * radius * np.sin(np.radians(3.0) / 2)
    expected = 20 * step.sum() / 32  # the other 16 joints rest
    assert measure_energy(_turning(16, 3.0, axis=2)).hands == pytest.approx(np.full(5, expected), rel=1e-4)


def test_hands_are_seen_from_the_pelvis() -> None:
    motion = _turning(0, 5.0)
    walking = replace(motion, translation=np.cumsum(np.ones((5, 3), np.float32), axis=0))
    assert measure_energy(walking).hands.max() == 0


def test_expression_is_the_norm_of_the_change() -> None:
    motion = _still(3)
    motion.expression[1] = [3.0, 0, 4.0, 0]
    assert measure_energy(motion).expression == pytest.approx([100.0, 100.0, 100.0])


@pytest.mark.parametrize("n_frames", [1023, 1024, 1025, 1026, 2049, 2500])
def test_chunks_change_nothing(n_frames: int) -> None:
    motion = _still(n_frames)
    motion.pose[:, 22, 0] = np.cumsum(np.linspace(0, 1e-3, n_frames))
    expected = 20 * np.degrees(np.linspace(0, 1e-3, n_frames))
    expected[0] = expected[1]
    assert measure_energy(motion).jaw == pytest.approx(expected, rel=1e-2, abs=1e-3)


def test_the_world_does_not_matter() -> None:
    motion = _turning(9, 2.0)
    speeds = [measure_energy(replace(motion, world=world)).head for world in ("cv", "yup", "zup")]
    assert speeds[1] == pytest.approx(speeds[0])
    assert speeds[2] == pytest.approx(speeds[0])


def test_one_frame_has_no_speed() -> None:
    energy = measure_energy(_still(1))
    assert (energy.hands.tolist(), energy.expression.tolist()) == ([0.0], [0.0])


def test_no_expression_at_all() -> None:
    motion = replace(_still(3), expression=np.zeros((3, 0), np.float32))
    assert measure_energy(motion).expression.tolist() == [0.0, 0.0, 0.0]
