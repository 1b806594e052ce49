"""Gaps: what is filled and with what, what is refused, and that it is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion.formats.parts import Parts
from anchor_core.motion.repair import fill_gaps, stretches
from anchor_core.motion.rotations import axis_angle_from_matrix, matrix_from_axis_angle


def parts(n_frames: int = 30) -> Parts:
    """All joints turn evenly, the root through a turn of pi; all numbers grow evenly."""
    ramp = np.arange(n_frames, dtype=np.float32)
    axes = np.random.default_rng(1).normal(size=(55, 3))
    axes[0] = [1, 0.1, 0]
    pose = (0.05 * ramp[:, None, None] * axes / np.linalg.norm(axes, axis=1, keepdims=True)).astype(
        np.float32
    )
    pose[:, 0] += np.array([2.5, 0.25, 0])
    return Parts(
        source="a test",
        pose=pose,
        translation=np.stack([ramp, -ramp, 2 * ramp], axis=1),
        expression=np.stack([ramp, 3 * ramp], axis=1),
        fps=30.0,
        world="yup",
        hands="relative",
        hands_pca=(ramp[:, None] + 1, ramp[:, None] + 2),
    )


def turned(rotations: np.ndarray, others: np.ndarray) -> float:
    """Largest angle in radians between two sets of axis-angles."""
    a, b = matrix_from_axis_angle(rotations), matrix_from_axis_angle(others)
    return float(np.linalg.norm(axis_angle_from_matrix(a.swapaxes(-1, -2) @ b), axis=-1).max())


def test_whole_parts_stay_as_they_are() -> None:
    whole = parts()
    filled, marks = fill_gaps(whole, 30, 0.5)
    assert filled is whole
    assert not marks.any()


@pytest.mark.parametrize(("first", "last"), [(1, 1), (10, 20), (13, 27)])
def test_even_movement_is_restored(first: int, last: int) -> None:
    whole, broken = parts(), parts()
    gap = slice(first, last + 1)
    assert broken.hands_pca is not None
    for array in (broken.pose, broken.translation, broken.expression, *broken.hands_pca):
        array[gap] = np.nan
    filled, marks = fill_gaps(broken, 30, 0.5)
    assert turned(filled.pose, whole.pose) < 1e-3
    np.testing.assert_allclose(filled.translation, whole.translation, rtol=1e-5)
    np.testing.assert_allclose(filled.expression, whole.expression, rtol=1e-5)
    assert filled.hands_pca is not None
    assert whole.hands_pca is not None
    np.testing.assert_allclose(filled.hands_pca[1], whole.hands_pca[1], rtol=1e-5)
    np.testing.assert_array_equal(np.flatnonzero(marks), np.arange(first, last + 1))


def test_the_input_is_not_changed() -> None:
    broken = parts()
    broken.pose[4] = np.nan
    broken.translation[5] = np.inf
    fill_gaps(broken, 30, 0.5)
    assert np.isnan(broken.pose[4]).all()
    assert np.isinf(broken.translation[5]).all()


def test_ends_are_held() -> None:
    broken = parts()
    broken.pose[:3] = np.nan
    broken.translation[28:] = -np.inf
    filled, marks = fill_gaps(broken, 30, 0.5)
    assert turned(filled.pose[:3], np.broadcast_to(broken.pose[3], (3, 55, 3))) < 1e-5
    np.testing.assert_array_equal(filled.translation[28:], np.broadcast_to(broken.translation[27], (2, 3)))
    np.testing.assert_array_equal(np.flatnonzero(marks), [0, 1, 2, 28, 29])


def test_only_what_is_missing_is_filled() -> None:
    whole, broken = parts(), parts()
    broken.pose[7, 3, 1] = np.nan
    broken.expression[8, 1] = np.inf
    filled, marks = fill_gaps(broken, 30, 0.5)
    np.testing.assert_array_equal(np.delete(filled.pose, 3, axis=1), np.delete(whole.pose, 3, axis=1))
    np.testing.assert_array_equal(filled.expression[:, 0], whole.expression[:, 0])
    assert filled.expression[8, 1] == 24
    np.testing.assert_array_equal(np.flatnonzero(marks), [7, 8])


def test_a_single_whole_frame_is_enough() -> None:
    broken = parts(3)
    broken.pose[[0, 2]] = np.nan
    filled, _ = fill_gaps(broken, 30, 0.5)
    assert turned(filled.pose, np.broadcast_to(broken.pose[1], (3, 55, 3))) < 1e-5


def test_long_gaps_are_refused() -> None:
    broken = parts()
    broken.pose[5:20] = np.nan
    broken.translation[22] = np.nan
    assert fill_gaps(broken, 30, 0.5)[1].sum() == 16
    with pytest.raises(
        AnchorError,
        match=r"Frames 5 to 19 have no pose, translation .* for 0\.50 s, .* max_gap_s=0\.4 s are .*: cut",
    ):
        fill_gaps(broken, 30, 0.4)
    with pytest.raises(AnchorError, match=r"for 0\.50 s \(and 1 more such stretches\)"):
        fill_gaps(broken, 30, 0.0)


def test_nothing_to_fill_from() -> None:
    broken = replace(parts(4), translation=np.full((4, 3), np.nan))
    with pytest.raises(AnchorError, match=r"None of the 4 frames is whole, .* in translation: export"):
        fill_gaps(broken, 30, 60)


def test_what_was_filled_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    broken = parts()
    broken.pose[[2, 3, 9, 15, 20]] = np.nan
    fill_gaps(broken, 30, 0.5)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "5 of 30 frames had numbers that are not finite and were interpolated"
    )
    assert "frames 2 to 3, 9 to 9, 15 to 15 and others" in record.getMessage()


def test_stretches() -> None:
    marks = np.array([True, False, True, True, False, True])
    assert stretches(marks) == [(0, 0), (2, 3), (5, 5)]
    assert stretches(np.zeros(3, bool)) == []
    assert stretches(np.ones(3, bool)) == [(0, 2)]
