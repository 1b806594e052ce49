"""Rotations as axis-angle vectors and 3 x 3 matrices, in float64 and safe at 0 and at pi.

The root of a person in SHOW's world is close to a turn of pi about x, where the axis-angle vector jumps
between (pi, 0, 0) and (-pi, 0, 0): turn matrices, never the vectors.
"""

from __future__ import annotations

import numpy as np


def matrix_from_axis_angle(axis_angle: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: (..., 3) radians -> (..., 3, 3)."""
    a = np.asarray(axis_angle, dtype=np.float64)
    angle = np.linalg.norm(a, axis=-1)[..., None, None]
    zero = np.zeros(a.shape[:-1])
    rows = [zero, -a[..., 2], a[..., 1], a[..., 2], zero, -a[..., 0], -a[..., 1], a[..., 0], zero]
    cross = np.stack(rows, axis=-1).reshape(*a.shape[:-1], 3, 3)
    # sin(t)/t and (1 - cos t)/t^2, both through sinc: exact at t = 0 without a branch.
    first, second = np.sinc(angle / np.pi), 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.eye(3) + first * cross + second * (cross @ cross)


def axis_angle_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotation matrices -> (..., 3) axis-angle with an angle in [0, pi]."""
    w, x, y, z = np.moveaxis(_quaternion(np.asarray(matrix, dtype=np.float64)), -1, 0)
    sign = np.where(w < 0, -1.0, 1.0)
    axis = np.stack([x, y, z], axis=-1) * sign[..., None]
    sine = np.linalg.norm(axis, axis=-1)
    half_angle = np.arctan2(sine, w * sign)
    return axis * np.where(sine > 1e-12, 2 * half_angle / np.maximum(sine, 1e-12), 2.0)[..., None]


def _quaternion(m: np.ndarray) -> np.ndarray:
    """Unit quaternions (w, x, y, z) out of the matrix 4 q q^T: its column with the largest diagonal entry."""
    d0, d1, d2 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    entries = [
        [1 + d0 + d1 + d2, wx, wy, wz],
        [wx, 1 + d0 - d1 - d2, xy, xz],
        [wy, xy, 1 - d0 + d1 - d2, yz],
        [wz, xz, yz, 1 - d0 - d1 + d2],
    ]
    outer = np.stack([np.stack(row, axis=-1) for row in entries], axis=-2)
    largest = np.diagonal(outer, axis1=-2, axis2=-1).argmax(axis=-1)
    column = np.take_along_axis(outer, largest[..., None, None], axis=-2)[..., 0, :]
    return column / np.linalg.norm(column, axis=-1, keepdims=True)
