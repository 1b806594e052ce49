"""Rotations as axis-angle vectors, 3 x 3 matrices and unit quaternions, in float64 and safe at 0 and at pi.

The root of a person in SHOW's world is close to a turn of pi about x, where the axis-angle vector jumps
between (pi, 0, 0) and (-pi, 0, 0): turn matrices, filter and interpolate quaternions, never the vectors.
Quaternions are (w, x, y, z); q and -q are the same rotation.
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
    return axis_angle_from_quaternion(quaternion_from_matrix(matrix))


def quaternion_from_axis_angle(axis_angle: np.ndarray) -> np.ndarray:
    """(..., 3) radians -> (..., 4) unit quaternions."""
    a = np.asarray(axis_angle, dtype=np.float64)
    half = 0.5 * _length(a)
    quaternion = np.empty((*a.shape[:-1], 4))
    quaternion[..., 0] = np.cos(half)
    quaternion[..., 1:] = (0.5 * np.sinc(half / np.pi))[..., None] * a
    return quaternion


def axis_angle_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """(..., 4) quaternions of any length but 0 -> (..., 3) axis-angle with an angle in [0, pi]."""
    q = np.asarray(quaternion, dtype=np.float64)
    axis = q[..., 1:] * np.where(q[..., :1] < 0, -1.0, 1.0)
    sine, cosine = _length(axis), np.abs(q[..., 0])
    angle = 2 * np.arctan2(sine, cosine)
    small = sine <= 1e-12 * cosine  # sin(t/2) = t/2 there
    return axis * np.where(small, 2 / np.where(small, cosine, 1), angle / np.where(small, 1, sine))[..., None]


def quaternion_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotation matrices -> (..., 4): the column of 4 q q^T with the largest diagonal entry."""
    m = np.asarray(matrix, dtype=np.float64)
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


def multiply(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Quaternion of the rotation `second`, then `first`, as with matrices: (..., 4) times (..., 4)."""
    a, b, c, d = np.moveaxis(np.asarray(first, dtype=np.float64), -1, 0)
    w, x, y, z = np.moveaxis(np.asarray(second, dtype=np.float64), -1, 0)
    return np.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        axis=-1,
    )


def inverse(quaternion: np.ndarray) -> np.ndarray:
    """Quaternions (..., 4) of the opposite rotations."""
    return np.asarray(quaternion, dtype=np.float64) * np.array([1.0, -1.0, -1.0, -1.0])


def continuous(quaternion: np.ndarray) -> np.ndarray:
    """The same rotations (F, ..., 4) with each sign chosen so that no frame jumps: fit for linear filters."""
    q = np.asarray(quaternion, dtype=np.float64)
    flips = np.where((q[1:] * q[:-1]).sum(axis=-1) < 0, -1.0, 1.0)
    result = q.copy()
    result[1:] *= np.cumprod(flips, axis=0)[..., None]
    return result


def slerp(first: np.ndarray, second: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """Quaternions (..., 4) on the shortest way from `first` (share 0) to `second` (share 1), at even speed.

    share: (...), broadcast against the leading axes of both.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    share = np.asarray(share, dtype=np.float64)[..., None]
    b = b * np.where((a * b).sum(axis=-1, keepdims=True) < 0, -1.0, 1.0)
    # The angle between them by a half-angle formula: exact where arccos of the product is not, near 0.
    angle = 2 * np.arctan2(_length(a - b), _length(a + b))[..., None]
    whole = np.sinc(angle / np.pi)  # at least 2 / pi, since the way is the shortest
    before = (1 - share) * np.sinc((1 - share) * angle / np.pi) / whole
    after = share * np.sinc(share * angle / np.pi) / whole
    return before * a + after * b


def mean_rotation(quaternion: np.ndarray) -> np.ndarray:
    """Mean over the first axis, (F, ..., 4) -> (..., 4): the quaternion nearest to all, whatever their signs
    (Markley et al., Averaging Quaternions, 2007)."""
    q = np.asarray(quaternion, dtype=np.float64)
    columns = np.moveaxis(q, 0, -2)  # (..., F, 4)
    mean: np.ndarray = np.linalg.eigh(np.swapaxes(columns, -1, -2) @ columns)[1][..., -1]
    return mean


def _length(vectors: np.ndarray) -> np.ndarray:
    """(..., N) -> (...); five times as fast as numpy's norm along a short axis."""
    length: np.ndarray = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return length
