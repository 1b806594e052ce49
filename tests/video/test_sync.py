"""Clicks at known frames of a motion are heard at these frames of the video, whatever happens on the way.

What is measured comes from the written file alone, decoded here by its timestamps: a frame is white where the
motion clicks, so picture and sound can be laid side by side.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from anchor_core.motion import Motion, Soundtrack
from anchor_core.motion.edits.parts import shift_sound
from anchor_core.motion.edits.time import join, loop, resample, trim
from anchor_core.motion.soundtrack import attach_sound
from anchor_core.video.read import describe_video, read_info
from anchor_core.video.write import write_video

CLICKS_S = (0.6, 1.4)
SECONDS = 2.0
FPS = (24, 25, 29.97, 30, 60)


def clicking(fps: float, rate: int = 16000, channels: int = 1) -> Motion:
    """A motion that clicks at the frames next to CLICKS_S: its expression coefficient is 1 there, else 0."""
    n_frames = round(SECONDS * fps)
    face = np.zeros((n_frames, 1))
    waveform = np.zeros((channels, round(SECONDS * rate)), np.float32)
    for frame in (round(click * fps) for click in CLICKS_S):
        face[frame] = 1
        begin = round(frame / fps * rate)
        waveform[:, begin : begin + 4 + rate // 2000] = 0.9
    rest = np.zeros((n_frames, 55, 3), np.float32)
    return Motion(rest, rest[:, 0], face, fps=fps, sound=Soundtrack(waveform, rate))


def film(motion: Motion, path: Path) -> None:
    """Write the motion as a video whose frames are white where it clicks."""
    assert motion.sound is not None
    levels = (255 * motion.expression[:, 0]).round().astype(np.uint8)
    frames = (np.full((32, 32, 3), level) for level in levels)
    assert write_video(path, frames, motion.fps, audio=motion.sound.pair) == motion.n_frames


def flashes(path: Path) -> list[float]:
    """When frames are brighter than those around, seconds by the timestamps of the file."""
    with av.open(str(path)) as container:
        shown = [(frame.time, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
    level = np.array([0.0, *(grey for _, grey in shown), 0.0])
    brightest = (level[1:-1] > 64) & (level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])
    return [shown[i][0] for i in np.flatnonzero(brightest)]


def clicks(path: Path) -> list[float]:
    """When clicks begin, seconds by the timestamps of the file."""
    with av.open(str(path)) as container:
        heard = [
            (float(frame.pts * frame.time_base), frame.to_ndarray()) for frame in container.decode(audio=0)
        ]
        rate = container.streams.audio[0].rate
    level = np.concatenate([np.abs(samples).max(axis=0) for _, samples in heard])
    time = heard[0][0] + np.arange(len(level)) / rate
    return _first_of_each(time[level > 0.25])


def _first_of_each(times: np.ndarray) -> list[float]:
    return [float(t) for i, t in enumerate(times) if not i or t - times[i - 1] > 0.05]


def assert_in_sync(path: Path, fps: float, at_least: int, later_s: float = 0.0) -> None:
    seen, heard = flashes(path), clicks(path)
    assert len(seen) >= at_least
    assert len(heard) == len(seen)
    assert np.abs(np.array(heard) - seen - later_s).max() < 1 / fps
    info = read_info(path)
    assert info.picture_s == pytest.approx(info.sound_s, abs=0.0015)  # .mp4 counts milliseconds


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("fps", FPS)
def test_every_rate(fps: float, rate: int, channels: int, tmp_path: Path) -> None:
    whole = clicking(fps, rate, channels)
    film(whole.sliced(7), tmp_path / "a.mp4")
    assert_in_sync(tmp_path / "a.mp4", fps, 2)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.audio[0].channels == channels


EDITS: dict[str, tuple[Callable[[Motion], Motion], int]] = {
    "nothing": (lambda motion: motion, 2),
    "slice": (lambda motion: motion.sliced(5, -5), 2),
    "trim": (lambda motion: trim(motion, 0.31, 1.5), 2),
    "faster": (lambda motion: resample(motion, 60.0), 2),
    "slower": (lambda motion: resample(motion, 24.0), 2),
    "join": (lambda motion: join([motion, motion.sliced(3)], 0.2), 4),
    "join of two kinds": (lambda motion: join([motion, clicking(30, 44100, 2)], 0.2), 4),
    "loop": (lambda motion: loop(motion, 3, 0.2), 6),
    "many": (lambda motion: loop(resample(trim(motion, 0.2), 30.0), 2, 0.2).sliced(4), 4),
}


@pytest.mark.parametrize("fps", [25, 29.97])
@pytest.mark.parametrize("name", EDITS)
def test_every_edit(name: str, fps: float, tmp_path: Path) -> None:
    change, at_least = EDITS[name]
    motion = change(clicking(fps))
    assert motion.sound is not None
    assert motion.sound.duration_s == pytest.approx(motion.duration_s, abs=1 / motion.sound.rate)
    film(motion, tmp_path / "a.mp4")
    assert_in_sync(tmp_path / "a.mp4", motion.fps, at_least)


@pytest.mark.parametrize("seconds", [0.25, -0.25])
def test_an_offset_is_heard(seconds: float, tmp_path: Path) -> None:
    motion = clicking(25)
    assert motion.sound is not None
    for moved in (shift_sound(motion, seconds), attach_sound(motion, motion.sound, seconds)):
        film(moved, tmp_path / "a.mp4")
        assert_in_sync(tmp_path / "a.mp4", 25, 2, later_s=seconds)


def test_a_minute_does_not_drift(tmp_path: Path) -> None:
    """0.1 % between 30 and 29.97 would be two frames here."""
    fps, n_frames, rate = 29.97, 1798, 8000
    waveform = np.zeros((1, 60 * rate), np.float32)
    last = n_frames - 10
    begin = round(last / fps * rate)
    waveform[:, begin : begin + 8] = 0.9
    frames = (np.full((16, 16, 3), 255 * (i == last), np.uint8) for i in range(n_frames))
    write_video(tmp_path / "a.mp4", frames, fps, audio=(waveform, rate))
    assert_in_sync(tmp_path / "a.mp4", fps, 1)
    said = describe_video(tmp_path / "a.mp4")
    assert said == "1798 frames at 29.97 fps, 59.99 s of picture, 59.99 s of sound"


def test_another_decoder_hears_the_same(tmp_path: Path) -> None:
    """FFmpeg's own program, which also plays the last block of the sound to its end."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("ffmpeg is not installed")
    film(clicking(30, 16000), tmp_path / "a.mp4")
    command = [ffmpeg, "-v", "error", "-i", str(tmp_path / "a.mp4")]
    sound = subprocess.run([*command, "-f", "f32le", "-ar", "48000", "-"], capture_output=True, check=True)
    level = np.abs(np.frombuffer(sound.stdout, np.float32))
    picture = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "gray", "-"], capture_output=True, check=True
    )
    grey = np.frombuffer(picture.stdout, np.uint8).reshape(-1, 32 * 32).mean(axis=1)
    heard = _first_of_each(np.flatnonzero(level > 0.25) / 48000)
    assert np.abs(np.array(heard) - np.flatnonzero(grey > 128) / 30).max() < 1 / 30
    assert len(level) / 48000 == pytest.approx(len(grey) / 30, abs=1 / 30)
