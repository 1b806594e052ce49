"""The still camera shows the pelvis where each frame's own camera does, in the same size."""

from __future__ import annotations

import numpy as np

from anchor_core.motion.formats.frames import PELVIS
from anchor_core.motion.formats.still import in_still_camera


def pixels(points: np.ndarray, focal: np.ndarray, center: np.ndarray) -> np.ndarray:
    return center + focal * points[:, :2] / points[:, 2:]


def test_pelvis_and_size_are_kept() -> None:
    rng = np.random.default_rng(2)
    place = rng.normal(size=(20, 3)) + np.array([0, 0, 40])
    focal = np.repeat(rng.uniform(9000, 16000, size=(20, 1)), 2, axis=1)
    center = rng.uniform(300, 900, size=(20, 2))
    still = in_still_camera(place, (focal, center), 5000.0, np.array([640.0, 360.0]))
    before, after = place + PELVIS, still + PELVIS
    there = pixels(after, np.full((20, 2), 5000.0), np.array([640.0, 360.0]))
    np.testing.assert_allclose(pixels(before, focal, center), there, atol=1e-6)
    np.testing.assert_allclose(focal[:, 0] / before[:, 2], 5000 / after[:, 2])


def test_the_same_camera_changes_nothing() -> None:
    place, lens = np.array([[0.1, 0.2, 4.0]]), np.array([[1000.0, 1000.0]])
    center = np.array([[320.0, 240.0]])
    np.testing.assert_allclose(in_still_camera(place, (lens, center), 1000.0, center[0]), place)
