"""The talking face of synthetic motion: syllables, pauses, mouth shapes, brows, smiles, blinks and gaze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..motion.perturb import smooth_noise
from .signals import Array, pulses, smoothed

# Columns of the 52 ARKit expressions in alphabetical order.
BLINK, WIDE = (8, 9), (20, 21)
BROW_INNER, BROW_OUTER, BROW_DOWN = 2, (3, 4), (0, 1)
SMILE, STRETCH, FUNNEL, PUCKER = (43, 44), (45, 46), 31, 37
LOWER_DOWN, UPPER_UP = (33, 34), (47, 48)
N_EXPRESSIONS = 52


@dataclass(frozen=True)
class Speech:
    """Syllables: centres and widths (K,) in seconds, strengths (K,); and the loudness (F,) in [0, 1]."""

    centres: Array
    strengths: Array
    widths: Array
    loudness: Array


def make_speech(rng: np.random.Generator, times: Array) -> Speech:
    """Phrases of 1.5 to 4 s with pauses of 0.3 to 0.9 s between them, about 4.5 syllables per second."""
    centres: list[float] = []
    clock, end = -float(rng.uniform(0, 2)), float(times[-1]) + 0.5
    while clock < end:
        stop = clock + rng.uniform(1.5, 4.0)
        while clock < stop:
            centres.append(clock)
            clock += max(0.13, rng.normal(0.22, 0.05))
        clock += rng.uniform(0.3, 0.9)
    count = len(centres)
    centre = np.array(centres)
    strength = rng.uniform(0.25, 1.0, count) * rng.choice([0.6, 1.0, 1.15], count)
    width = rng.uniform(0.05, 0.075, count)
    return Speech(
        centre, strength, width, np.clip(pulses(times, centre, np.ones(count), np.full(count, 0.16)), 0, 1)
    )


def jaw_angle(speech: Speech, times: Array) -> Array:
    """Opening of the jaw in radians, (F,)."""
    return np.clip(0.2 * pulses(times, speech.centres, speech.strengths, speech.widths), 0, 0.3)


def face_expression(rng: np.random.Generator, speech: Speech, times: Array, fps: float) -> Array:
    """ARKit expressions (F, 52) in [0, 1]."""
    n_frames, count = len(times), len(speech.centres)
    face = np.zeros((n_frames, N_EXPRESSIONS))
    mouth = rng.dirichlet([0.6, 0.6, 0.8, 0.8], count) * speech.strengths[:, None]
    shapes = [pulses(times, speech.centres, mouth[:, c], speech.widths * 1.25) for c in range(4)]
    face[:, FUNNEL], face[:, PUCKER] = 0.5 * shapes[0], 0.45 * shapes[1]
    face[:, STRETCH] = 0.35 * shapes[2][:, None]
    face[:, LOWER_DOWN] = 0.4 * shapes[3][:, None]
    face[:, UPPER_UP] = 0.2 * shapes[3][:, None]
    mood = smooth_noise(rng, n_frames, fps, 2.5, 3)
    face[:, SMILE] = np.clip(
        0.22 + 0.28 * mood[:, :1] + 0.03 * smooth_noise(rng, n_frames, fps, 1, 2), 0, 0.8
    )
    brows = np.clip(0.15 + 0.35 * mood[:, 1] + 0.3 * (speech.loudness - 0.5) * mood[:, 2], 0, 0.9)
    face[:, BROW_INNER], face[:, BROW_OUTER] = 0.8 * brows, 0.7 * brows[:, None]
    face[:, BROW_DOWN] = np.clip(-0.25 * mood[:, 1:2], 0, 0.4)
    face[:, WIDE] = 0.35
    face[:, BLINK] = blinks(rng, times)[:, None]
    return np.clip(face, 0, 1)


def blinks(rng: np.random.Generator, times: Array) -> Array:
    """Closing of the lids, (F,) in [0, 1]: a blink of a fifth of a second every 2 to 5 seconds."""
    gaps = rng.uniform(1.8, 4.8, int(times[-1] / 1.8) + 3)
    centres = np.cumsum(gaps) - rng.uniform(0, 4)
    return np.clip(1.25 * pulses(times, centres, np.ones(len(gaps)), np.full(len(gaps), 0.06)), 0, 1)


def gaze(rng: np.random.Generator, head: Array, fps: float) -> Array:
    """Rotation of the eyes (F, 3): towards the camera against the head's turn, with small jumps."""
    jumps = np.sign(smooth_noise(rng, len(head), fps, 1.2, 2)) * np.array([0.03, 0.06])
    eyes = np.zeros((len(head), 3))
    eyes[:, :2] = smoothed(jumps, 0.6) - 0.6 * head[:, :2]
    return np.clip(eyes, -0.3, 0.3)
