"""The demo's voice: as long as the motion, in time with the mouth, the same every time, and in the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anchor_core.demo.gestures import JAW, make_motion
from anchor_core.demo.speech import RATE, demo_motion, speak
from anchor_core.files import ASSETS
from anchor_core.motion import Motion, Soundtrack, load_motion


def loudness(sound: Soundtrack, motion: Motion) -> np.ndarray:
    """Root mean square about the time of each frame, (F,)."""
    power = np.pad(sound.waveform[0] ** 2, RATE)
    places = RATE + (np.arange(len(motion)) / motion.fps * RATE).round().astype(int)
    half = round(RATE / motion.fps / 2)
    return np.sqrt([power[place - half : place + half].mean() for place in places])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_loudness_follows_the_jaw_and_nothing_else_in_time(seed: int) -> None:
    motion = make_motion(seed, 150)
    loud, jaw = loudness(speak(motion), motion), motion.pose[:, JAW, 0]
    in_time = np.corrcoef(loud, jaw)[0, 1]
    assert in_time > 0.9
    for shift in (2, 4):
        assert np.corrcoef(loud[shift:], jaw[:-shift])[0, 1] < in_time - 0.1
        assert np.corrcoef(loud[:-shift], jaw[shift:])[0, 1] < in_time - 0.1


def test_a_closed_mouth_is_silent() -> None:
    motion = make_motion(1, 50)
    pose = motion.pose.copy()
    pose[20:40, JAW] = 0
    loud = loudness(speak(replace(motion, pose=pose)), motion)
    assert loud[23:37].max() < 0.01 * loud.max()
    pose[:, JAW] = 0
    assert np.abs(speak(replace(motion, pose=pose)).waveform).max() < 1e-6


def test_it_is_a_voice() -> None:
    """Harmonics of a man's pitch, most of the energy below 1 kHz, some hiss above 2 kHz."""
    wave = speak(make_motion(1, 150)).waveform[0]
    spectrum = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / RATE)
    share = [spectrum[(hertz >= low) & (hertz < high)].sum() / spectrum.sum() for low, high in BANDS]
    assert share[0] < 0.02
    assert share[1] > 0.6
    assert 0.001 < share[2] < 0.3


BANDS = ((0, 70), (70, 1000), (2000, 8000))


def test_the_same_motion_sounds_the_same() -> None:
    motion = make_motion(5, 30)
    assert np.array_equal(speak(motion).waveform, speak(motion).waveform)
    assert speak(motion).duration_s == motion.duration_s
    assert np.abs(speak(motion).waveform).max() == pytest.approx(0.5)


def test_other_motions_can_speak_too() -> None:
    motion = replace(make_motion(5, 1), expression=np.zeros((1, 10)), expression_space="smplx")
    assert speak(motion).waveform.shape == (1, RATE // 25)


def test_what_ships_is_what_the_recipe_makes() -> None:
    shipped, made = load_motion(ASSETS / "demo_motion.npz"), demo_motion()
    for name in ("pose", "translation", "expression"):
        np.testing.assert_allclose(getattr(shipped, name), getattr(made, name), atol=1e-4)
    assert shipped.sound is not None
    assert made.sound is not None
    assert shipped.sound.rate == made.sound.rate
    np.testing.assert_allclose(shipped.sound.waveform, made.sound.waveform, atol=1e-3)
