"""Motions to edit: smooth, random, with everything that a motion can carry."""

from __future__ import annotations

from typing import Any

import numpy as np

from anchor_core.motion import Motion, Soundtrack, default_camera
from anchor_core.motion.rotations import matrix_from_axis_angle


def waves(n_frames: int, width: int, seed: int, size: float, fps: float = 30.0) -> np.ndarray:
    """(n_frames, width) of slow sines about a constant, the same for the same seed."""
    rng = np.random.default_rng(seed)
    rates, phases = rng.uniform(0.1, 0.6, width), rng.uniform(0, 2 * np.pi, width)
    times = np.arange(n_frames)[:, None] / fps
    return size * (rng.normal(size=width) + np.sin(2 * np.pi * rates * times + phases))


def make_motion(n_frames: int = 60, seed: int = 0, fps: float = 30.0, **changes: Any) -> Motion:
    """A smooth motion whose root swings through a turn of pi, with ARKit expressions in [0, 1]."""
    pose = waves(n_frames, 165, seed, 0.2, fps).reshape(n_frames, 55, 3)
    pose[:, 0, 0] += np.pi
    angle = np.linalg.norm(pose[:, 0], axis=-1, keepdims=True)
    pose[:, 0] = np.where(
        angle > np.pi, pose[:, 0] * (1 - 2 * np.pi / angle), pose[:, 0]
    )  # flips, as files do
    values: dict[str, Any] = {
        "pose": pose,
        "translation": waves(n_frames, 3, seed + 1, 0.1, fps),
        "expression": np.clip(0.5 + waves(n_frames, 52, seed + 2, 0.2, fps), 0, 1),
        "fps": fps,
        "expression_space": "arkit52",
        "camera": default_camera(640, 360),
        "source": f"waves {seed}",
    }
    return Motion(**(values | changes))


def tone(seconds: float, rate: int = 8000, channels: int = 1, hertz: float = 440.0) -> Soundtrack:
    """A sine."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return Soundtrack(np.tile(wave.astype(np.float32), (channels, 1)), rate)


def turn_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles in radians between rotations given as axis-angle (..., 3)."""
    relative = np.swapaxes(matrix_from_axis_angle(first), -1, -2) @ matrix_from_axis_angle(second)
    cosine = (np.trace(relative, axis1=-2, axis2=-1) - 1) / 2
    return np.arccos(np.clip(cosine, -1, 1))
