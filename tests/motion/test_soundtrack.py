"""The sound of a motion: always as long as its frames, wherever it is cut."""

from __future__ import annotations

import logging
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, Soundtrack
from anchor_core.motion.soundtrack import attach_sound


def ramp(n_samples: int, rate: int = 1000, channels: int = 1) -> Soundtrack:
    """Sound whose samples tell their number."""
    return Soundtrack(np.arange(n_samples, dtype=np.float32)[None].repeat(channels, 0) / 1e6, rate)


def motion_of(n_frames: int, sound: Soundtrack | None = None, fps: float = 25.0) -> Motion:
    rows = np.zeros((n_frames, 55, 3), np.float32)
    return Motion(rows, rows[:, 0], np.zeros((n_frames, 3)), fps=fps, sound=sound)


def numbers(sound: Soundtrack | None) -> np.ndarray:
    assert sound is not None
    return np.round(sound.waveform[0] * 1e6).astype(int)


def test_a_cut_reaches_beyond_both_ends_in_silence() -> None:
    cut = ramp(10).cut(-0.003, 0.016)
    assert numbers(cut).tolist() == [0, 0, 0, *range(10), 0, 0, 0]
    assert ramp(10).cut(5.0, 0.004).waveform.tolist() == [[0, 0, 0, 0]]
    assert ramp(10).cut(-5.0, 0.004).waveform.tolist() == [[0, 0, 0, 0]]


def test_a_motions_sound_is_as_long_as_its_frames() -> None:
    short, long = motion_of(50, ramp(300)), motion_of(50, ramp(9000))
    for motion in (short, long):
        assert motion.sound is not None
        assert motion.sound.duration_s == pytest.approx(motion.duration_s)
    assert numbers(long.sound)[-1] == 1999
    assert not numbers(short.sound)[300:].any()


def test_a_slice_takes_its_own_sound() -> None:
    part = motion_of(50, ramp(2000)).sliced(10, 20)
    assert numbers(part.sound).tolist() == list(range(400, 800))
    assert numbers(motion_of(50, ramp(2000)).sliced(-5).sound).tolist() == list(range(1800, 2000))


def test_odd_rates_lose_no_time_over_many_slices() -> None:
    whole = motion_of(300, ramp(30_000, 2997), fps=29.97)
    starts = [numbers(whole.sliced(i, i + 1).sound)[0] for i in range(1, 300)]
    assert np.abs(np.array(starts) - np.arange(1, 300) * 2997 / 29.97).max() <= 0.5


@pytest.mark.parametrize(
    ("waveform", "rate", "words"),
    [
        (np.zeros(8, np.float32), 8000, "shape \\(8,\\)"),
        (np.zeros((3, 8), np.float32), 8000, "1 or 2 channels"),
        (np.zeros((1, 8), np.int16), 8000, "give floats"),
        (np.full((1, 8), np.nan, np.float32), 8000, "not finite"),
        (np.zeros((1, 8), np.float32), 10, "sample rate is 10"),
    ],
)
def test_other_sound_is_refused(waveform: np.ndarray, rate: int, words: str) -> None:
    with pytest.raises(AnchorError, match=words):
        Soundtrack(waveform, rate)


def test_marks_follow_the_frames_and_none_is_none() -> None:
    marks = np.zeros(50, bool)
    marks[7] = True
    marked = replace(motion_of(50), interpolated=marks)
    assert marked.sliced(5, 10).marks.tolist() == [False, False, True, False, False]
    assert marked.sliced(20, 30).interpolated is None
    assert not motion_of(4).marks.any()
    with pytest.raises(AnchorError, match="interpolated has shape"):
        replace(marked, interpolated=np.ones(3, bool))


def wav(path: Path, seconds: float, rate: int = 8000, channels: int = 1) -> Path:
    """A file whose samples tell their number, as numbers() reads them of the first second."""
    samples = (np.arange(round(seconds * rate)) % rate).astype(np.int16)[:, None].repeat(channels, 1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def counts(sound: Soundtrack | None) -> list[int]:
    assert sound is not None
    return np.round(sound.waveform[0] * 32768).astype(int).tolist()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_is_attached_from_frame_0_on(channels: int, tmp_path: Path) -> None:
    motion = attach_sound(motion_of(20), wav(tmp_path / "a.wav", 30, channels=channels))
    assert motion.sound is not None
    assert motion.sound.waveform.shape == (channels, 6400)
    assert counts(motion.sound) == list(range(6400))
    assert counts(motion.sliced(5, 7).sound) == list(range(1600, 2240))


def test_only_what_the_motion_needs_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from anchor_core.video import read

    decoded = 0

    def counted(frames: object, channels: int, rate: int, run=read._arrays):  # type: ignore[no-untyped-def]
        nonlocal decoded
        for chunk in run(frames, channels, rate):
            decoded += chunk.shape[1]
            yield chunk

    monkeypatch.setattr(read, "_arrays", counted)
    attach_sound(motion_of(25), wav(tmp_path / "a.wav", 60))
    assert 8000 <= decoded < 16_000


def test_an_offset_moves_file_and_waveform_alike(tmp_path: Path) -> None:
    path, motion = wav(tmp_path / "a.wav", 1.0), motion_of(20)
    sound = attach_sound(motion_of(25), path).sound
    assert sound is not None
    for offset in (0.0, 0.25, -0.25, 0.5, -0.9):
        moved = counts(attach_sound(motion, path, offset).sound)
        assert moved == counts(attach_sound(motion, sound, offset).sound)
    assert counts(attach_sound(motion, path, -0.25).sound)[:3] == [2000, 2001, 2002]
    assert counts(attach_sound(motion, path, 0.25).sound)[1998:2003] == [0, 0, 0, 1, 2]


def test_an_end_without_sound_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = wav(tmp_path / "talk.wav", 0.5)
    with caplog.at_level(logging.WARNING):
        motion = attach_sound(motion_of(50), path)
        motion.sliced(3, 40)
    assert not any(counts(motion.sound)[4000:])
    assert [record.getMessage() for record in caplog.records] == [
        "talk.wav ends 1.50 s before the motion: the rest is silent"
    ]


def test_a_sound_as_long_as_the_motion_is_nothing_to_tell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        attach_sound(motion_of(25), wav(tmp_path / "a.wav", 0.98))
    assert not caplog.records


def test_a_very_high_rate_is_brought_down(tmp_path: Path) -> None:
    sound = attach_sound(motion_of(25), wav(tmp_path / "a.wav", 2, rate=192_000)).sound
    assert sound is not None
    assert sound.rate == 48000
    assert sound.duration_s == 1


@pytest.mark.parametrize(
    ("seconds", "offset", "words"),
    [
        (1.0, 2.0, "would begin 2 s after the first frame and the motion lasts 2.00 s"),
        (1.0, float("nan"), "would begin nan s"),
        (1.0, -3.0, r"a\.wav ends 2\.00 s before the motion begins: choose a larger offset"),
        (0.0, 0.0, r"a\.wav is empty"),
        (0.0, 0.5, r"a\.wav is empty"),
    ],
)
def test_sound_that_cannot_be_heard_is_refused(
    seconds: float, offset: float, words: str, tmp_path: Path
) -> None:
    with pytest.raises(AnchorError, match=words):
        attach_sound(motion_of(50), wav(tmp_path / "a.wav", seconds), offset)


def test_a_file_without_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF no sound at all")
    with pytest.raises(AnchorError, match=r"a\.wav is not a readable video or sound file"):
        attach_sound(motion_of(50), tmp_path / "a.wav")
    with pytest.raises(AnchorError, match="The sample rate is 8"):
        attach_sound(motion_of(50), wav(tmp_path / "slow.wav", 5, rate=8))
