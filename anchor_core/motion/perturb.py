"""The same motion as another estimate would have it: small errors, some slow, some new in each frame.

The paper trains on perturbed SMPL-X parameters, so that the network forgives what an estimator gets wrong
(section 4.3, the best row of its Table 1); it does not say how large they are. The sizes here are those of a
good estimator on a calm speaker; `amount` scales them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .motion import Motion

Array = np.ndarray

_SPINE_RAD, _ROOT_RAD, _WRIST_RAD, _EYE_RAD, _FINGER_RAD = 0.0014, 0.0005, 0.004, 0.006, 0.010
_WHITE = 0.45  # share of the errors that is new in each frame
_SLOW_S, _FACE_S = 0.8, 0.4  # seconds that the others last
_PLACE_M = 0.0004
_FACE = 0.02


def perturb_motion(motion: Motion, seed: int, amount: float = 1.0) -> Motion:
    """The motion with smooth and white errors on pose, place and face; the same for the same seed.

    amount: 1 is half a millimetre to two at the joints, as in the world of the demo anchor; what SHOW finds
    in its published example jitters 1.2 to 3 times as much from frame to frame. Coefficients of the face
    stay in [0, 1] where they are those of ARKit.
    """
    rng = np.random.default_rng([seed, 20231])
    n_frames = motion.n_frames
    scale = np.full((55, 1), _SPINE_RAD)
    scale[0], scale[[20, 21]], scale[25:], scale[22:25] = _ROOT_RAD, _WRIST_RAD, _FINGER_RAD, _EYE_RAD
    white = rng.standard_normal((n_frames, 55, 3)) * _WHITE
    slow = smooth_noise(rng, n_frames, motion.fps, _SLOW_S, 165).reshape(-1, 55, 3)
    place = _PLACE_M * (
        smooth_noise(rng, n_frames, motion.fps, _SLOW_S, 3) + 0.4 * rng.standard_normal((n_frames, 3))
    )
    expression = motion.expression
    if expression.shape[1]:
        face = smooth_noise(rng, n_frames, motion.fps, _FACE_S, expression.shape[1])
        expression = expression + amount * (_FACE * face)
    if motion.expression_space == "arkit52":
        expression = np.clip(expression, 0, 1)
    return replace(
        motion,
        pose=motion.pose + amount * scale * (white + slow),
        translation=motion.translation + amount * place,
        expression=expression,
        hands_pca=motion.hands_pca and _perturbed_hands(motion.hands_pca, rng, motion.fps, amount),
    )


def smooth_noise(
    rng: np.random.Generator, n_frames: int, fps: float, period_s: float, channels: int = 1
) -> Array:
    """Gaussian noise low-passed to changes of about `period_s` seconds, unit variance; (F, channels)."""
    sigma = max(period_s * fps / 4, 0.3)
    radius = int(4 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    white = rng.standard_normal((n_frames + 2 * radius, channels))
    return np.stack([np.convolve(white[:, c], kernel, mode="valid") for c in range(channels)], axis=1)


def _perturbed_hands(
    hands: tuple[Array, Array], rng: np.random.Generator, fps: float, amount: float
) -> tuple[Array, Array]:
    """Coefficients of an orthonormal basis: errors of the same size as those of the angles."""
    left, right = (
        hand + amount * _FINGER_RAD * smooth_noise(rng, len(hand), fps, _SLOW_S, hand.shape[1])
        for hand in hands
    )
    return left, right
