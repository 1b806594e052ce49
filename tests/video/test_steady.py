"""Frames at a constant rate by their times, compared with FFmpeg's own filter where it is at hand."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.video.read import read_frames
from anchor_core.video.steady import frame_times, frames_at_rate, is_steady, read_at_rate

_spec = importlib.util.spec_from_file_location("odd_videos", Path(__file__).parent / "odd_videos.py")
odd = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(odd)

# A phone that drops frames in the dark: gaps, and frames that come close together.
_PHONE_MS = (0, 33, 67, 133, 167, 200, 300, 317, 333, 367, 467, 500)


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    return odd.write_odd(tmp_path / "phone.mp4", times_ms=_PHONE_MS)


def test_times_of_the_frames(phone: Path, tmp_path: Path) -> None:
    np.testing.assert_allclose(frame_times(phone) * 1000, _PHONE_MS, atol=0.6)
    steady = odd.write_odd(tmp_path / "steady.mkv")
    times = frame_times(steady)
    np.testing.assert_allclose(times, np.arange(12) / 25, atol=6e-4)  # Matroska counts milliseconds
    assert is_steady(times, 25)
    assert not is_steady(times, 30)
    assert not is_steady(frame_times(phone), 30)


def test_variable_rate_becomes_constant(phone: Path) -> None:
    shown = odd.levels_of(list(read_at_rate(phone, 30)))
    # Ticks of 33.3 ms: the gaps repeat a frame, of the two frames of tick 10 the later one is shown.
    assert shown == [0, 1, 2, 2, 3, 4, 5, 5, 5, 6, 8, 9, 9, 9, 10, 11]
    assert frames_at_rate(frame_times(phone), 30) == len(shown)


@pytest.mark.parametrize("fps", [10, 24, 25, 30, 50, 60])
@pytest.mark.parametrize("name", ["phone.mp4", "steady.mp4"])
def test_same_choice_as_ffmpeg(tmp_path: Path, fps: int, name: str) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg to compare with")
    path = odd.write_odd(tmp_path / name, times_ms=_PHONE_MS if name == "phone.mp4" else None)
    out = tmp_path / "theirs.mkv"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", f"fps={fps}", "-c:v", "ffv1", str(out)]
    subprocess.run(command, check=True)
    theirs = odd.levels_of(list(read_frames(out)))
    ours = odd.levels_of(list(read_at_rate(path, fps)))
    shared = min(len(ours), len(theirs))
    assert ours[:shared] == theirs[:shared]
    assert set(ours[shared:]) <= {ours[-1]}  # how long the last frame lasts is a matter of opinion
    assert 0 <= len(ours) - len(theirs) <= 2
    assert frames_at_rate(frame_times(path), fps) == len(ours)


def test_steady_video_keeps_its_frames(tmp_path: Path) -> None:
    path = odd.write_odd(tmp_path / "a.mp4")
    for ours, theirs in zip(read_at_rate(path, 25), read_frames(path), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    part = odd.levels_of(list(read_at_rate(path, 25, 3, 7)))
    assert part == [3, 4, 5, 6]


def test_one_frame(tmp_path: Path) -> None:
    assert frames_at_rate(np.zeros(1), 30) == 1
    assert frames_at_rate(np.zeros(0), 30) == 0


def test_messages(tmp_path: Path, phone: Path) -> None:
    with pytest.raises(AnchorError, match="The rate is 0 frames per second: give more than 0"):
        next(read_at_rate(phone, 0))
    with pytest.raises(AnchorError, match="There is no file"):
        frame_times(tmp_path / "none.mp4")
