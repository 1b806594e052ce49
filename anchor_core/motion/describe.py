"""A motion in words, for the person who loads it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import numpy as np

from .motion import Motion

_PARTS = {
    "jaw": "jaw",
    "eyes": "eyes",
    "hands": "fingers",
    "expression": "expression",
    "lower": "legs",
    "translation": "place",
}


def describe_motion(motion: Motion) -> str:
    """Kind, length, conventions, what the source did not measure, what was interpolated, and the sound; one
    fact a line."""
    return "\n".join(_facts(motion))


def stretches(marks: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of each run of True in marks (F,) bool."""
    edges = np.diff(np.concatenate([[0], np.asarray(marks, np.int8), [0]]))
    return list(
        zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True)
    )


def name_frames(runs: Iterable[tuple[int, int]], most: int = 8) -> str:
    """Runs of frames as people write them: "3, 12-40 and 2 more"."""
    words = [f"{first}-{last}" if last > first else str(first) for first, last in runs]
    left = len(words) - most
    return ", ".join(words[:most]) + (f" and {left} more" if left > 0 else "")


def _facts(motion: Motion) -> list[str]:
    facts = [
        f"{motion.source or 'motion'}: {motion.n_frames} frames at {motion.fps:g} fps, "
        f"{motion.duration_s:.2f} s",
        f"world {motion.world}, {_hands(motion)}, {_expression(motion)}",
    ]
    missing = [_PARTS[part] for part, measured in asdict(motion.valid).items() if not measured]
    if missing:
        facts.append(f"not measured by the source: {', '.join(missing)}")
    if motion.interpolated is not None:
        facts.append(f"interpolated: frames {name_frames(stretches(motion.marks))}")
    if motion.camera is not None:
        facts.append("camera {} x {} px".format(*motion.camera.size))
    if motion.performer:
        facts.append(f"retargeted to {motion.performer}")
    if motion.sound is not None:
        channels = ("mono", "stereo")[len(motion.sound.waveform) - 1]
        facts.append(f"sound: {motion.sound.rate} Hz, {channels}, {motion.sound.duration_s:.2f} s")
    return facts


def _hands(motion: Motion) -> str:
    if motion.hands_pca is not None:
        return f"hands as {motion.hands_pca[0].shape[1]} PCA coefficients"
    return f"{motion.hands} hands"


def _expression(motion: Motion) -> str:
    width = motion.expression.shape[1]
    if motion.expression_space == "none" or not width:
        return "no expression"
    return f"{width} {motion.expression_space} expression coefficients"
