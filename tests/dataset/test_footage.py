"""Frames of what people bring: videos of any rate, turned ones, folders of pictures."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anchor_core.dataset.footage import open_footage
from anchor_core.errors import AnchorError

from ..video.odd_videos import LEVELS, levels_of, write_odd

GAPS_MS = (0, 40, 80, 120, 240, 280, 320, 480, 520, 560, 600, 720)


def test_a_steady_video_is_read_as_it_is(tmp_path: Path) -> None:
    footage = open_footage(write_odd(tmp_path / "a.mkv"), 30.0, 12)
    assert (footage.size, footage.fps, footage.n_frames, footage.steady) == ((64, 48), 25.0, 12, True)
    assert levels_of(list(footage.frames(3, 6))) == [3, 4, 5]


def test_a_turned_video_is_upright(tmp_path: Path) -> None:
    footage = open_footage(write_odd(tmp_path / "a.mp4", turned=90), 25.0, 12)
    assert footage.size == (48, 64)
    assert next(footage.frames()).shape == (64, 48, 3)


def test_a_variable_rate_becomes_that_of_the_motion(tmp_path: Path, caplog) -> None:
    video = write_odd(tmp_path / "a.mkv", times_ms=GAPS_MS[: len(LEVELS)])
    with caplog.at_level(logging.WARNING, "anchor"):
        footage = open_footage(video, 25.0, 19)
    assert "has a variable frame rate: its frames are taken at 25 per second" in caplog.text
    assert not footage.steady
    shown = levels_of(list(footage.frames()))
    assert len(shown) == footage.n_frames
    assert abs(footage.n_frames - 19) <= 2
    assert shown[:7] == [0, 1, 2, 3, 3, 3, 4]
    assert levels_of(list(footage.frames(4, 7))) == [3, 3, 4]


def test_a_variable_rate_with_one_pose_per_frame_is_read_frame_by_frame(tmp_path: Path) -> None:
    video = write_odd(tmp_path / "a.mkv", times_ms=GAPS_MS[: len(LEVELS)])
    footage = open_footage(video, 25.0, 12)
    assert (footage.steady, footage.n_frames) == (True, 12)
    assert levels_of(list(footage.frames())) == list(range(12))


def test_pictures_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        Image.fromarray(np.full((8, 12, 3), number, np.uint8)).save(tmp_path / f"frame_{number}.png")
    (tmp_path / "._frame_1.png").write_bytes(b"macOS")
    footage = open_footage(tmp_path, 30.0, 3)
    assert (footage.size, footage.fps, footage.n_frames) == ((12, 8), 30.0, 3)
    assert [int(frame[0, 0, 0]) for frame in footage.frames(1)] == [9, 10]
    Image.fromarray(np.zeros((8, 10, 3), np.uint8)).save(tmp_path / "frame_11.png")
    with pytest.raises(AnchorError, match="has 10 x 8 pixels and the first picture 12 x 8"):
        list(open_footage(tmp_path, 30.0, 4).frames())
