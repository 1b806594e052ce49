"""A voice for synthetic motion: mumbling in time with the mouth, so that the demo has sound that fits.

A sum of harmonics of a gliding pitch, each as loud as the vocal tract lets it through (formants in cascade
after Klatt, JASA 67(3), 1980), and noise where the mouth opens, as consonants are. The jaw gives loudness and
the first formant, the lips the second: it says nothing, but a voice that is out of time is heard at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..motion.motion import Motion
from ..motion.perturb import smooth_noise
from ..motion.soundtrack import Soundtrack
from .dataset import HELD_OUT_SEED
from .gestures import JAW, make_motion
from .signals import Array, smoothed
from .talking import FUNNEL, PUCKER, STRETCH

RATE = 24_000
DEMO_FRAMES = 96
"""Length of the motion that ships."""
_CONTROL_RATE = 200  # voice parameters per second
_WIDE_OPEN = 0.2  # angle of the jaw in radians at which a vowel is as open as it gets
_PITCH_HZ = 112.0  # of a man's calm voice
_HIGHEST_HZ = 6000.0  # of the harmonics; breath fills the rest
_FORMANTS = ((320.0, 70.0), (1450.0, 100.0), (2500.0, 150.0), (3500.0, 250.0))  # closed mouth: centre, width
_CONSONANT_HZ = (1800.0, 7500.0)
_PEAK = 0.5
_FADE_S = 0.02  # at both ends: a motion may begin in the middle of a syllable


@dataclass(frozen=True)
class _Voice:
    """Over time, in [0, 1]: opening of the mouth, roundness and spread of the lips."""

    opening: Array
    roundness: Array
    spread: Array


def demo_motion() -> Motion:
    """The motion that ships, with its speech; of a seed that no training has seen."""
    motion = make_motion(HELD_OUT_SEED, DEMO_FRAMES)
    return replace(motion, sound=speak(motion))


def speak(motion: Motion, seed: int = 0) -> Soundtrack:
    """Mono sound of 24 kHz that is as long as the motion and follows its mouth; the same for the same seed.

    The lips are heard where the motion has ARKit expressions, the jaw always.
    """
    rng = np.random.default_rng([seed, 4712])
    n_controls = int(motion.duration_s * _CONTROL_RATE) + 2
    voice = _voice(motion, n_controls)
    times = np.arange(round(motion.duration_s * RATE)) / RATE
    sound = _harmonics(voice, _pitch(rng, voice.opening), times) + _consonants(rng, voice.opening, times)
    sound *= np.clip(np.minimum(times, times[::-1]) / _FADE_S, 0, 1)
    return Soundtrack((_PEAK * sound / max(np.abs(sound).max(), 1e-9))[None].astype(np.float32), RATE)


def _voice(motion: Motion, n_controls: int) -> _Voice:
    """The mouth of the motion at the control rate."""
    lips = motion.expression if motion.expression_space == "arkit52" else np.zeros((len(motion), 52))
    rows = {
        "opening": motion.pose[:, JAW, 0] / _WIDE_OPEN,
        "roundness": 4 * (lips[:, FUNNEL] + lips[:, PUCKER]),
        "spread": 6 * lips[:, STRETCH[0]],
    }
    clock, frames = np.arange(n_controls) / _CONTROL_RATE, np.arange(len(motion)) / motion.fps
    sigma = 0.4 / motion.fps * _CONTROL_RATE  # hides the corners of the frames
    return _Voice(
        **{name: smoothed(np.interp(clock, frames, row.clip(0, 1)), sigma) for name, row in rows.items()}
    )


def _pitch(rng: np.random.Generator, opening: Array) -> Array:
    """Hertz at the control rate: melody, stress and a little unrest, in semitones about the usual pitch."""
    melody = smooth_noise(rng, len(opening), _CONTROL_RATE, 1.2)[:, 0]
    unrest = smooth_noise(rng, len(opening), _CONTROL_RATE, 0.05)[:, 0]
    return np.asarray(_PITCH_HZ * 2 ** ((1.5 * melody + 4.0 * opening + 0.12 * unrest) / 12))


def _harmonics(voice: _Voice, pitch: Array, times: Array) -> Array:
    """The voiced part, (N,): harmonic k falls off as 1/k (glottis and radiation), then the tract."""
    clock = np.arange(len(pitch)) / _CONTROL_RATE
    phase = 2 * np.pi * np.cumsum(np.interp(times, clock, pitch)) / RATE
    numbers = np.arange(1, int(_HIGHEST_HZ / pitch.min()) + 1)[:, None]
    below = np.clip((_HIGHEST_HZ - numbers * pitch) / 500, 0, 1)  # harmonics come and go without a click
    levels = below * _tract(numbers * pitch, voice) / numbers
    levels *= voice.opening / np.linalg.norm(levels, axis=0)  # all vowels are as loud as the mouth is open
    sound = np.zeros_like(times)
    for k, level in zip(numbers[:, 0], levels, strict=True):
        sound += np.interp(times, clock, level) * np.sin(k * phase)
    return sound


def _tract(hertz: Array, voice: _Voice) -> Array:
    """Gain of the vocal tract at `hertz` (K, T): resonances in cascade, which open jaw and lips move."""
    moved = (
        480 * voice.opening,
        700 * voice.spread - 500 * voice.roundness,
        -250 * voice.roundness,
        np.zeros_like(voice.opening),
    )
    gain = np.ones_like(hertz)
    for (centre, width), shift in zip(_FORMANTS, moved, strict=True):
        formant = centre + shift
        gain *= formant**2 / np.hypot(formant**2 - hertz**2, hertz * width)
    return gain


def _consonants(rng: np.random.Generator, opening: Array, times: Array) -> Array:
    """Hiss where the mouth opens, (N,): band-passed noise."""
    rise = np.clip(np.gradient(opening) * _CONTROL_RATE / 10, 0, 1)  # 1: opens within a tenth of a second
    spectrum = np.fft.rfft(rng.standard_normal(len(times)))
    hertz = np.fft.rfftfreq(len(times), 1 / RATE)
    low, high = _CONSONANT_HZ
    hiss = np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), len(times))
    level = np.interp(times, np.arange(len(opening)) / _CONTROL_RATE, 0.25 * rise * (1 - 0.6 * opening))
    return np.asarray(level * hiss)
