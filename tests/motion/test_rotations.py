"""Axis-angle, matrices and quaternions: round trip for every angle, at zero and at pi too."""

from __future__ import annotations

import numpy as np
import pytest

from anchor_core.motion.rotations import (
    axis_angle_from_matrix,
    axis_angle_from_quaternion,
    continuous,
    inverse,
    matrix_from_axis_angle,
    mean_rotation,
    multiply,
    quaternion_from_axis_angle,
    quaternion_from_matrix,
    slerp,
)


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


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6, 0.3, 2.0, np.pi - 1e-9])
def test_quaternions_return_the_vector(angle: float) -> None:
    vectors = random_axes(50) * angle
    quaternions = quaternion_from_axis_angle(vectors)
    np.testing.assert_allclose(np.linalg.norm(quaternions, axis=-1), 1)
    for sign in (1, -1, 0.3):
        np.testing.assert_allclose(axis_angle_from_quaternion(sign * quaternions), vectors, atol=1e-12)


def test_more_than_half_a_turn_comes_back_as_less() -> None:
    vectors = random_axes(50) * np.linspace(3.2, 12, 50)[:, None]
    short = axis_angle_from_quaternion(quaternion_from_axis_angle(vectors))
    assert np.linalg.norm(short, axis=-1).max() <= np.pi + 1e-12
    np.testing.assert_allclose(matrix_from_axis_angle(short), matrix_from_axis_angle(vectors), atol=1e-12)


def test_quaternions_and_matrices_agree() -> None:
    vectors = np.random.default_rng(1).normal(size=(2, 40, 3))
    first, second = (quaternion_from_axis_angle(part) for part in vectors)
    product = matrix_from_axis_angle(vectors[0]) @ matrix_from_axis_angle(vectors[1])
    np.testing.assert_allclose(
        same_sign(quaternion_from_matrix(product), multiply(first, second)), 0, atol=1e-12
    )
    identity = multiply(inverse(first), first)
    np.testing.assert_allclose(identity, np.broadcast_to([1, 0, 0, 0], identity.shape), atol=1e-12)


def same_sign(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Difference of quaternions (N, 4) as rotations."""
    return first - second * np.sign((first * second).sum(-1, keepdims=True))


def test_signs_are_made_continuous_across_a_turn_of_pi() -> None:
    angles = np.linspace(2.9, 3.4, 30)
    vectors = np.stack(
        [np.where(angles > np.pi, angles - 2 * np.pi, angles), 0 * angles, 0 * angles], axis=-1
    )
    assert np.abs(np.diff(vectors, axis=0)).max() > 6
    smooth = continuous(quaternion_from_axis_angle(vectors))
    assert np.abs(np.diff(smooth, axis=0)).max() < 0.01
    joints = np.stack([smooth, smooth * np.array([1, -1] * 15)[:, None]], axis=1)
    assert np.abs(np.diff(continuous(joints), axis=0)).max() < 0.01


def test_slerp_is_that_of_scipy() -> None:
    transform = pytest.importorskip("scipy.spatial.transform")
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(2, 30, 3)) * 1.5
    shares = rng.uniform(size=30)
    ours = slerp(*quaternion_from_axis_angle(vectors), shares)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=-1), 1)
    for pair, share, quaternion in zip(vectors.swapaxes(0, 1), shares, ours, strict=True):
        theirs = transform.Slerp([0, 1], transform.Rotation.from_rotvec(pair))(share).as_matrix()
        np.testing.assert_allclose(
            matrix_from_axis_angle(axis_angle_from_quaternion(quaternion)), theirs, atol=1e-12
        )


def test_slerp_of_equal_rotations_is_exact() -> None:
    quaternions = quaternion_from_axis_angle(random_axes(20))
    np.testing.assert_array_equal(slerp(quaternions, quaternions, 0.5), quaternions)
    np.testing.assert_allclose(slerp(quaternions, -quaternions, 0.3), quaternions, atol=1e-15)


def test_mean_rotation_knows_no_signs() -> None:
    rng = np.random.default_rng(5)
    middle = np.array([3.1, 0.0, 0.2])
    away = rng.normal(size=(100, 3)) * 0.1
    away = np.concatenate([away, -away])  # as far one way as the other
    quaternions = multiply(quaternion_from_axis_angle(middle), quaternion_from_axis_angle(away))
    mean = mean_rotation(quaternions * rng.choice([-1, 1], 200)[:, None])
    np.testing.assert_allclose(
        matrix_from_axis_angle(axis_angle_from_quaternion(mean)), matrix_from_axis_angle(middle), atol=1e-9
    )
    assert mean_rotation(np.broadcast_to(quaternions[:, None], (200, 7, 4))).shape == (7, 4)
