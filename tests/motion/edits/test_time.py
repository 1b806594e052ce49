"""Resampling, trimming, joining and looping: duration, continuity, sound and marks."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, Soundtrack, Validity
from anchor_core.motion.edits.time import join, loop, resample, trim

from .motions import make_motion, tone, turn_between


@pytest.mark.parametrize("fps", [10, 24, 25, 29.97, 30, 48, 60, 120])
@pytest.mark.parametrize("n_frames", [1, 2, 37, 300])
def test_resampling_keeps_the_duration(fps: float, n_frames: int) -> None:
    motion = make_motion(n_frames)
    result = resample(motion, fps)
    assert result.fps == fps
    assert result.duration_s == pytest.approx(motion.duration_s, abs=max(0.5 / fps, 1 / fps - 1 / 30) + 1e-9)


def test_resampling_is_slerp_at_the_new_times() -> None:
    transform = pytest.importorskip("scipy.spatial.transform")
    motion = make_motion(40)
    result = resample(motion, 50)
    times = np.minimum(np.arange(len(result)) / 50, 39 / 30)
    for joint in (0, 3, 20, 30):
        key = transform.Rotation.from_rotvec(motion.pose[:, joint])
        wanted = transform.Slerp(np.arange(40) / 30, key)(times).as_rotvec()
        assert turn_between(result.pose[:, joint], wanted).max() < 1e-3
    wanted = np.interp(times, np.arange(40) / 30, motion.translation[:, 1])
    np.testing.assert_allclose(result.translation[:, 1], wanted, atol=1e-6)


def test_frames_that_meet_are_those_of_the_source() -> None:
    motion = make_motion(40)
    double = resample(motion, 60)
    assert turn_between(double.pose[::2], motion.pose).max() < 1e-3
    back = resample(double, 30)
    np.testing.assert_allclose(back.expression, motion.expression, atol=1e-6)
    assert len(back) == 40


def test_the_root_does_not_spin_at_a_turn_of_pi() -> None:
    motion = make_motion(90)
    assert np.linalg.norm(np.diff(motion.pose[:, 0], axis=0), axis=-1).max() > 5  # the vectors jump
    result = resample(motion, 47)
    steps = turn_between(result.pose[1:, 0], result.pose[:-1, 0])
    assert steps.max() < 1.01 * turn_between(motion.pose[1:, 0], motion.pose[:-1, 0]).max() * 30 / 47 + 1e-3
    assert np.linalg.norm(result.pose, axis=-1).max() <= np.pi + 1e-6


def test_resampling_carries_everything() -> None:
    marks = np.zeros(40, bool)
    marks[10] = True
    pca = np.linspace(0, 1, 40)[:, None] * np.ones((1, 12))
    motion = make_motion(40, sound=tone(40 / 30), interpolated=marks, hands_pca=(pca, -pca), betas=[1.0])
    result = resample(motion, 60)
    assert result.hands_pca is not None
    np.testing.assert_allclose(result.hands_pca[0][3], 1.5 / 39, atol=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(result.marks), [19, 20, 21])
    assert result.sound is not None
    np.testing.assert_array_equal(result.sound.waveform, motion.sound.waveform)  # type: ignore[union-attr]
    assert result.camera == motion.camera
    assert result.betas is not None


def test_the_same_rate_changes_nothing() -> None:
    motion = make_motion()
    assert resample(motion, 30) is motion


@pytest.mark.parametrize("fps", [0, -1, 1000, np.nan])
def test_impossible_rates_are_refused(fps: float) -> None:
    with pytest.raises(AnchorError, match=r"fps is .*: give the frames per second, more than 0"):
        resample(make_motion(), fps)


def test_trimming_is_in_seconds_with_the_sound() -> None:
    motion = make_motion(60, sound=tone(2.0))
    part = trim(motion, 0.5, 1.0)
    assert len(part) == 30
    np.testing.assert_array_equal(part.pose, motion.pose[15:45])
    assert part.sound is not None
    np.testing.assert_array_equal(part.sound.waveform, motion.sound.waveform[:, 4000:12000])  # type: ignore[union-attr]
    assert len(trim(motion, 1.5)) == 15
    assert len(trim(motion, 1.5, 99)) == 15
    assert len(trim(motion, 0, 1e-6)) == 1
    assert len(trim(motion, 1.999, 1e-6)) == 1


@pytest.mark.parametrize(
    ("start", "duration", "message"),
    [
        (2.0, None, "begins at 2 s and the motion lasts 2 s: begin inside it"),
        (-0.1, None, "begins at -0.1 s"),
        (np.nan, None, "begins at nan s"),
        (0.0, 0.0, "lasts 0 s: give more than 0"),
        (0.0, np.nan, "lasts nan s"),
    ],
)
def test_trims_without_a_frame_are_refused(start: float, duration: float | None, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        trim(make_motion(60), start, duration)


def largest_step(motion: Motion) -> float:
    return float(turn_between(motion.pose[1:], motion.pose[:-1]).max())


def test_a_join_overlaps_and_does_not_jump() -> None:
    first, second = make_motion(60, 0), make_motion(90, 9)
    joined = join([first, second], 0.4)
    assert len(joined) == 60 + 90 - 12
    np.testing.assert_array_equal(joined.pose[:48], first.pose[:48])
    np.testing.assert_array_equal(joined.pose[60:], second.pose[12:])
    cut = join([first, second], 0)
    assert largest_step(cut) > 3 * largest_step(joined)
    assert len(cut) == 150
    np.testing.assert_array_equal(cut.pose[60:], second.pose)


@pytest.mark.parametrize("blend", [0.0, 0.4])
def test_the_pelvis_stays_where_it_is(blend: float) -> None:
    first, second = make_motion(60, 0), make_motion(60, 0)
    second = replace(second, translation=second.translation + np.float32([5, 7, 9]))
    steps = np.abs(np.diff(join([first, second], blend).translation, axis=0)).max()
    assert steps < 0.05
    floor = join([replace(first, world="yup"), replace(second, world="yup")], blend).translation
    assert np.abs(np.diff(floor[:, [0, 2]], axis=0)).max() < 0.05
    np.testing.assert_allclose(
        floor[-1, 1], second.translation[-1, 1], atol=1e-6
    )  # the floor stays the floor


def test_a_join_brings_the_second_to_the_first(caplog: Any) -> None:
    first = make_motion(30, hands="absolute", world="cv", performer="Ada")
    second = make_motion(
        60,
        fps=60,
        hands="relative",
        world="zup",
        expression=np.ones((60, 10)),
        expression_space="smplx",
        valid=Validity(lower=False),
        betas=[2.0],
    )
    with caplog.at_level(logging.INFO, logger="anchor"):
        joined = join([first, second], 0.2)
    assert len(joined) == 30 + 30 - 6
    assert (joined.world, joined.hands, joined.fps, joined.betas) == ("cv", "absolute", 30, None)
    assert joined.expression.shape == (54, 52)
    assert not joined.expression[30:].any()
    assert not joined.valid.lower
    assert joined.valid.jaw
    assert joined.performer == ""
    said = caplog.text
    for words in ("fps", "in world", "body shapes", "hand mean of the stand-in", "shows jaw and eyes only"):
        assert words in said


def test_narrow_expressions_are_widened() -> None:
    first = make_motion(10, expression=np.ones((10, 5)), expression_space="smplx")
    second = make_motion(10, expression=np.ones((10, 8)), expression_space="smplx")
    joined = join([first, second], 0)
    assert joined.expression[:10].sum() == 50
    assert joined.expression[10:].sum() == 80
    faceless = make_motion(10, expression=np.zeros((10, 0)), expression_space="none")
    assert join([faceless, second], 0).expression_space == "smplx"
    assert join([second, faceless], 0).expression.shape == (20, 8)


def test_fingers_of_two_kinds_stay_relaxed(caplog: Any) -> None:
    coefficients = (np.ones((10, 12)), np.ones((10, 12)))
    first, second = make_motion(10, hands_pca=coefficients), make_motion(10)
    joined = join([first, second], 0.1)
    assert joined.hands_pca is None
    assert not joined.valid.hands
    assert "The fingers of one motion stay relaxed" in caplog.text
    wider = make_motion(10, hands_pca=(np.ones((10, 45)), np.ones((10, 45))))
    both = join([first, wider], 0.1).hands_pca
    assert both is not None
    assert both[0].shape == (18, 45) or both[0].shape == (17, 45)
    assert both[0][0].sum() == 12


def test_sound_fades_with_the_frames() -> None:
    first = make_motion(30, sound=Soundtrack(np.ones((1, 8000), np.float32), 8000))
    second = make_motion(30, sound=Soundtrack(np.full((2, 16000), 0.5, np.float32), 16000))
    joined = join([first, second], 0.4)
    assert joined.sound is not None
    wave, rate = joined.sound.waveform, joined.sound.rate
    assert rate == 8000
    assert wave.shape == (2, round(48 / 30 * 8000))
    np.testing.assert_allclose(wave[:, :4800], 1)
    np.testing.assert_allclose(wave[:, 8100:12700], 0.5, atol=0.01)
    fade = wave[0, 4800:8000]
    assert (np.diff(fade) <= 1e-3).all()
    assert fade[1600] == pytest.approx(0.75, abs=0.01)


def test_silence_beside_sound() -> None:
    joined = join([make_motion(30), make_motion(30, sound=tone(1.0))], 0.2)
    assert joined.sound is not None
    assert not joined.sound.waveform[:, :6400].any()
    assert joined.sound.waveform[:, 9000:].any()
    other = join([make_motion(30, sound=tone(1.0)), make_motion(30)], 0.2).sound
    assert other is not None
    assert not other.waveform[:, 8000:].any()
    assert join([make_motion(30), make_motion(30)]).sound is None


def test_the_second_sound_starts_with_its_frames() -> None:
    click = np.zeros((1, 16000), np.float32)
    click[0, 8000] = 1  # at the frame 15 of 30
    motions = [make_motion(30, sound=Soundtrack(click, 16000)) for _ in range(4)]
    joined = join(motions, 0.2)
    assert joined.sound is not None
    found = np.flatnonzero(joined.sound.waveform[0] > 0.5) / 16000 * 30
    np.testing.assert_allclose(found, [15, 15 + 24, 15 + 48, 15 + 72], atol=0.01)


@pytest.mark.parametrize(("rate", "other"), [(48000, 16000), (8000, 44100)])
def test_sound_of_another_rate_stays_in_time(rate: int, other: int) -> None:
    click = np.zeros((1, other), np.float32)
    click[0, other // 2] = 1
    motions = [
        make_motion(30, sound=tone(1.0, rate, hertz=0)),
        make_motion(30, sound=Soundtrack(click, other)),
    ]
    joined = join(motions, 0.2)
    assert joined.sound is not None
    assert joined.sound.rate == rate
    assert np.abs(joined.sound.waveform[0]).argmax() / rate == pytest.approx(0.8 + 0.5, abs=0.001)


def test_short_motions_blend_over_half_of_them() -> None:
    assert len(join([make_motion(4), make_motion(100)], 10)) == 102
    assert len(join([make_motion(1), make_motion(1)], 10)) == 2


@pytest.mark.parametrize(
    ("motions", "blend", "message"),
    [
        (0, 0.4, "There is no motion to join"),
        (2, -1, "blend_s is -1: give a number from 0 to 60"),
        (2, np.nan, "blend_s is nan"),
    ],
)
def test_joins_that_make_no_sense_are_refused(motions: int, blend: float, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        join([make_motion(10)] * motions, blend)


def test_one_motion_joined_is_itself() -> None:
    motion = make_motion()
    assert join([motion]) is motion


@pytest.mark.parametrize("times", [1, 3])
def test_a_loop_runs_into_its_beginning(times: int) -> None:
    path = np.linspace(0, 3, 90)[:, None] * np.ones((1, 3))  # walks away
    motion = make_motion(90, translation=path)
    looped = loop(motion, times, 0.5)
    assert len(looped) == 75 * times
    around = looped.pose[[-1, 0]]
    assert turn_between(around[0], around[1]).max() < 1.5 * largest_step(motion)
    assert np.abs(looped.translation[-1] - looped.translation[0]).max() < 0.01
    np.testing.assert_array_equal(looped.pose[15:75], motion.pose[15:75])
    np.testing.assert_array_equal(looped.pose[:75], looped.pose[-75:])


def test_the_sound_of_a_loop_keeps_its_beat() -> None:
    click = np.zeros((1, 88200), np.float32)
    click[0, 44100] = 1
    motion = make_motion(60, fps=29.97, sound=Soundtrack(click, 44100))
    looped = loop(motion, 50, 0.4)
    assert looped.sound is not None
    found = np.flatnonzero(looped.sound.waveform[0] > 0.5) / 44100
    period = len(looped) / 50 / 29.97
    np.testing.assert_allclose(found, 1 + period * np.arange(50), atol=2 / 44100)


def test_the_sound_of_a_loop_has_no_seam() -> None:
    motion = make_motion(60, sound=tone(2.0, hertz=220.25))
    looped = loop(motion, 2, 0.4)
    assert looped.sound is not None
    wave = np.concatenate([looped.sound.waveform[0]] * 2)
    assert np.abs(np.diff(wave)).max() < 1.05 * np.abs(np.diff(motion.sound.waveform[0])).max()  # type: ignore[union-attr]


def test_a_loop_without_blend_is_a_repetition() -> None:
    motion = make_motion(7)
    np.testing.assert_array_equal(loop(motion, 3, 0).pose, np.tile(motion.pose, (3, 1, 1)))
    assert len(loop(make_motion(1), 5)) == 5


@pytest.mark.parametrize("times", [0, -1, 1.5, True])
def test_loops_that_make_no_sense_are_refused(times: Any) -> None:
    with pytest.raises(AnchorError, match="give a whole number from 1 on"):
        loop(make_motion(), times)


def test_results_beyond_every_memory_are_refused() -> None:
    with pytest.raises(AnchorError, match="would have 53000000 frames and the limit is 2000000"):
        loop(make_motion(65), 1_000_000)
