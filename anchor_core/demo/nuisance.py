"""What the mesh does not tell and what lasts over time: swinging tie and hair, folds, light.

Tie and hair are damped pendulums that the motion and a little draught push; folds remember where the joints
were and drift; exposure and tint of the light wander. A network that sees one frame's mesh alone cannot know
these states; one that sees neighbouring frames can at least keep them steady.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..motion.motion import Motion
from ..motion.perturb import smooth_noise
from .signals import Array, damped_pendulum, smoothed

_SPINE, _NECK, _ELBOWS, _SHOULDERS = (3, 6, 9), (12, 15), (18, 19), (16, 17)
_WARM_UP_S = 4.0  # states have forgotten their start when the first frame comes


@dataclass(frozen=True)
class Nuisance:
    """States of F frames.

    tie_swing: (F,) rad. hair_swing: (F, 2) metres to the person's left and to the front at the loose ends.
    fold_phase (rad), fold_depth: (F, 4) for left sleeve, right sleeve, chest, waist.
    light: (F, 3) factors on the colour.
    """

    tie_swing: Array
    hair_swing: Array
    fold_phase: Array
    fold_depth: Array
    light: Array

    def __len__(self) -> int:
        return len(self.tie_swing)


def make_nuisance(motion: Motion, seed: int, amount: float = 1.0) -> Nuisance:
    """States for a motion, the same for the same seed; `amount` scales them (0: a world without nuisance)."""
    rng = np.random.default_rng([seed, 31337])
    warm = round(_WARM_UP_S * motion.fps)
    pose = np.concatenate([np.repeat(motion.pose[:1], warm, axis=0), motion.pose]).astype(np.float64)
    states = (_tie(rng, pose, motion.fps), _hair(rng, pose, motion.fps), *_folds(rng, pose, motion.fps))
    tie, hair, phase, depth = (state[warm:] * amount for state in states)
    light = (
        smooth_noise(rng, len(tie), motion.fps, 4.0, 1) * 0.030
        + smooth_noise(rng, len(tie), motion.fps, 5.0, 3) * 0.012
    )
    return Nuisance(tie[:, 0], hair, phase, depth, 1 + amount * light)


def _tie(rng: np.random.Generator, pose: Array, fps: float) -> Array:
    lean = pose[:, _SPINE, 2].sum(1) + 0.35 * pose[:, _SPINE, 1].sum(1)
    arms = 0.015 * (pose[:, _SHOULDERS[0], 1] + pose[:, _SHOULDERS[1], 1])
    push = -0.5 * _acceleration(lean + arms, fps)
    draught = 0.45 * smooth_noise(rng, len(pose), fps, 0.9)[:, 0]
    return np.clip(damped_pendulum((push + draught)[:, None], fps, 0.8, 0.10), -0.3, 0.3)


def _hair(rng: np.random.Generator, pose: Array, fps: float) -> Array:
    head = pose[:, _NECK].sum(1)
    push = np.stack(
        [-0.045 * _acceleration(head[:, 1], fps), -0.045 * _acceleration(head[:, 0], fps)], axis=1
    )
    draught = 0.24 * smooth_noise(rng, len(pose), fps, 0.7, 2)
    return np.clip(damped_pendulum(push + draught, fps, 1.1, 0.12), -0.03, 0.03)


def _folds(rng: np.random.Generator, pose: Array, fps: float) -> tuple[Array, Array]:
    """Phase and depth (F, 4): led by where elbows and spine were up to a second ago, and drifting."""
    elbows = np.linalg.norm(pose[:, _ELBOWS], axis=2)
    torso = pose[:, _SPINE].sum(1)
    drivers = np.stack([elbows[:, 0], elbows[:, 1], 0.5 * elbows.sum(1), 6 * torso[:, 1]], axis=1)
    memory = _lagged(drivers, fps, 0.9)
    drift = smooth_noise(rng, len(pose), fps, 3.0, 4)
    phase = 1.6 * (drivers - memory) + 2.0 * memory + 2.0 * drift
    depth = (
        0.30 + 0.14 * np.abs(memory[:, [0, 1, 2, 2]] - 1.0) + 0.12 * smooth_noise(rng, len(pose), fps, 2.5, 4)
    )
    return phase, np.clip(depth, 0.08, 0.7)


def _lagged(signal: Array, fps: float, time_s: float) -> Array:
    """First-order low-pass of the past, (F, C)."""
    keep = np.exp(-1 / (fps * time_s))
    out = np.array(signal)
    for frame in range(1, len(signal)):
        out[frame] = keep * out[frame - 1] + (1 - keep) * signal[frame]
    return out


def _acceleration(signal: Array, fps: float) -> Array:
    return np.gradient(np.gradient(smoothed(signal, 0.8))) * fps**2
