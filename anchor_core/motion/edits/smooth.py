"""Smoothing along time: Savitzky-Golay, or the One-Euro filter.

Both run on sign-continuous quaternions, since axis-angle vectors jump near a turn of pi, and on translation,
expression and PCA coefficients as they are. Neither shifts the motion against its sound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...errors import AnchorError
from ..motion import N_JOINTS, Motion
from ..rotations import axis_angle_from_quaternion, continuous, quaternion_from_axis_angle
from .checks import check_range, check_word

METHODS = ("none", "savgol", "one_euro")
_BLOCK = 300_000  # rotations filtered at once: a quarter of ten minutes, 10 MB
_SPEED_CUTOFF_HZ = 1.0  # of the filter of the speed itself, as published
Filter = Callable[[np.ndarray, float], np.ndarray]
"""Filters (F, N, C) along the first axis; the number scales the speed of its C values."""


def smooth(
    motion: Motion,
    method: str = "savgol",
    *,
    window: int = 9,
    order: int = 2,
    min_cutoff: float = 1.5,
    beta: float = 0.4,
) -> Motion:
    """The motion with less jitter.

    method: "savgol" fits a polynomial of degree `order` to each `window` frames (odd; a shorter motion takes
    what fits) and keeps peaks (Savitzky and Golay, 1964). "one_euro" is calm where slow and quick where fast
    (Casiez et al., CHI 2012): a low-pass whose cutoff is `min_cutoff` Hz at rest and rises by `beta` Hz with
    each rad/s, m/s or unit of expression per second. "none" changes nothing.
    """
    check_word("smoothing", method, METHODS)
    check_window(window, order)
    window, order = int(window), int(order)
    check_range("min_cutoff", min_cutoff, 1e-3, 1000)
    check_range("beta", beta, 0, 1000)
    if method == "savgol":
        length = min(window, motion.n_frames - 1 + motion.n_frames % 2)  # the longest odd one that fits
        return motion if length <= order else _filtered(motion, lambda rows, _: _savgol(rows, length, order))
    if method == "one_euro":
        return _filtered(motion, lambda rows, scale: _one_euro(rows, motion.fps, min_cutoff, beta * scale))
    return motion


def check_window(window: int, order: int = 2) -> None:
    """Raise an AnchorError unless a polynomial of degree `order` can be fitted to `window` frames."""
    if window not in range(3, 1000, 2):
        raise AnchorError(f"window is {window}: give an odd number of frames from 3 to 999.")
    if order not in range(min(window, 8)):
        raise AnchorError(f"order is {order}: give a whole number from 0 to 7, below the window ({window}).")


def _filtered(motion: Motion, run: Filter) -> Motion:
    """Every part of the motion, filtered: joints by their quaternions, expressions each by itself."""

    def columns(rows: np.ndarray) -> np.ndarray:
        return run(rows[:, :, None].astype(np.float64), 1.0)[:, :, 0]

    hands = motion.hands_pca and (columns(motion.hands_pca[0]), columns(motion.hands_pca[1]))
    expression = columns(motion.expression)
    if motion.n_frames and expression.size:  # a polynomial overshoots: no lid shuts more than shut
        expression = expression.clip(motion.expression.min(axis=0), motion.expression.max(axis=0))
    return replace(
        motion,
        pose=_filtered_pose(motion.pose, run),
        translation=run(motion.translation[:, None].astype(np.float64), 1.0)[:, 0],
        expression=expression,
        hands_pca=hands,
    )


def _filtered_pose(pose: np.ndarray, run: Filter) -> np.ndarray:
    result = np.empty_like(pose)
    step = max(1, _BLOCK // len(pose))
    for start in range(0, N_JOINTS, step):
        joints = slice(start, start + step)
        # A quaternion moves half as far as its rotation turns.
        quaternions = run(continuous(quaternion_from_axis_angle(pose[:, joints])), 2.0)
        result[:, joints] = axis_angle_from_quaternion(quaternions)
    return result


def _savgol(rows: np.ndarray, window: int, order: int) -> np.ndarray:
    """Each value replaced by that of the polynomial through its window; the first and last windows also give
    the values of the ends, where none is centred."""
    half = window // 2
    powers = np.vander(np.linspace(-1, 1, window), order + 1)
    fit = powers @ np.linalg.pinv(powers)  # (window, window): values -> values of the polynomial
    result = np.empty_like(rows)
    inner = result[half : len(rows) - half]
    inner[:] = 0
    for offset, weight in enumerate(fit[half]):
        inner += weight * rows[offset : offset + len(inner)]
    result[:half] = np.tensordot(fit[:half], rows[:window], axes=1)
    result[len(rows) - half :] = np.tensordot(fit[half + 1 :], rows[len(rows) - window :], axes=1)
    return result


def _one_euro(rows: np.ndarray, fps: float, min_cutoff: float, beta: float) -> np.ndarray:
    """The mean of the filter run forwards and backwards: the published one, made for live input, comes late
    by up to a tenth of a second, which would part the mouth from its sound."""
    both = np.stack([rows, rows[::-1]], axis=1)  # (F, 2, N, C): one loop for both
    velocity = np.zeros_like(both)
    velocity[1:] = np.diff(both, axis=0) * fps
    _low_pass(velocity, np.full(len(rows), _share(_SPEED_CUTOFF_HZ, fps)))
    speed = np.linalg.norm(velocity, axis=-1, keepdims=True)
    _low_pass(both, _share(min_cutoff + beta * speed, fps))
    return np.asarray(0.5 * (both[:, 0] + both[::-1, 1]))


def _low_pass(rows: np.ndarray, shares: np.ndarray) -> None:
    """Each frame a share of itself and the rest of the filtered frame before, in place."""
    before = rows[0]
    for row, share in zip(rows[1:], shares[1:], strict=True):
        row -= before
        row *= share
        row += before
        before = row


def _share(cutoff_hz: np.ndarray | float, fps: float) -> np.ndarray:
    """Weight of the new frame in an exponential low-pass of this cutoff."""
    return np.asarray(1 / (1 + fps / (2 * np.pi * np.asarray(cutoff_hz))))
