"""Axis-angle and matrices: round trip for every angle, at zero and at pi too."""

from __future__ import annotations

import numpy as np
import pytest

from anchor_core.motion.rotations import axis_angle_from_matrix, matrix_from_axis_angle


def random_axes(count: int) -> np.ndarray:
    axes = np.random.default_rng(3).normal(size=(count, 3))
    return axes / np.linalg.norm(axes, axis=1, keepdims=True)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6, 0.3, 2.0, np.pi - 1e-6, np.pi - 1e-9])
def test_round_trip(angle: float) -> None:
    vectors = random_axes(50) * angle
    np.testing.assert_allclose(axis_angle_from_matrix(matrix_from_axis_angle(vectors)), vectors, atol=1e-7)


def test_matrices_are_rotations() -> None:
    matrices = matrix_from_axis_angle(random_axes(50) * np.linspace(0, 9, 50)[:, None])
    product = matrices @ np.swapaxes(matrices, -1, -2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(matrices), 1)


def test_known_turn() -> None:
    quarter = matrix_from_axis_angle(np.array([0, 0, np.pi / 2]))
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-15)


def test_turn_of_pi_returns_the_same_rotation() -> None:
    half = matrix_from_axis_angle(random_axes(50) * np.pi)
    again = matrix_from_axis_angle(axis_angle_from_matrix(half))
    np.testing.assert_allclose(again, half, atol=1e-12)


def test_any_leading_shape() -> None:
    assert matrix_from_axis_angle(np.zeros((2, 5, 3))).shape == (2, 5, 3, 3)
    assert axis_angle_from_matrix(np.zeros((0, 3, 3))).shape == (0, 3)
