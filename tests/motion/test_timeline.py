"""The timeline: where it draws, what it marks, what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, read_motion
from anchor_core.motion.motion import Validity
from anchor_core.motion.soundtrack import Soundtrack
from anchor_core.motion.timeline import _clock, _interpolated, _ticks, draw_timeline, stretches

LEFT, RIGHT, TOP, ROW, GAP = 104, 16, 50, 56, 8
JAW = (255, 128, 128)
MADE_UP = (255, 176, 64)


@pytest.fixture
def talk() -> Motion:
    """100 frames at 25 fps; the jaw moves in the third quarter only."""
    pose = np.zeros((100, 55, 3), np.float32)
    pose[50:75, 22, 0] = 0.2 * (np.arange(25) % 2)
    return Motion(pose, np.zeros((100, 3), np.float32), np.zeros((100, 10), np.float32), fps=25.0)


def _row(picture: np.ndarray, index: int) -> np.ndarray:
    top = TOP + index * (ROW + GAP)
    return picture[top : top + ROW, LEFT : picture.shape[1] - RIGHT]


def _is(area: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (area == np.array(color)).all(axis=-1)


def test_the_picture_has_four_rows_and_one_more_with_sound(talk: Motion) -> None:
    silent = draw_timeline(talk)
    loud = draw_timeline(replace(talk, sound=Soundtrack(np.zeros((1, 64000), np.float32), 16000)))
    assert (silent.dtype, silent.shape[1:]) == (np.uint8, (900, 3))
    assert loud.shape[0] - silent.shape[0] == ROW + GAP
    assert draw_timeline(talk, width=1400).shape[1] == 1400


@pytest.mark.parametrize("width", [400, 900, 3000])
def test_the_mouth_is_drawn_when_it_moves(talk: Motion, width: int) -> None:
    columns = _is(_row(draw_timeline(talk, width), 2), JAW).any(axis=0)
    moving = np.flatnonzero(columns) / len(columns)
    assert moving.min() == pytest.approx(0.51, abs=0.011)
    assert moving.max() == pytest.approx(0.75, abs=0.011)


def test_a_long_motion_shows_a_short_movement(talk: Motion) -> None:
    long = talk.per_frame(
        lambda rows: np.concatenate([rows[:1].repeat(9000, 0), rows, rows[:1].repeat(9000, 0)])
    )
    row = _row(draw_timeline(long), 2)
    columns = np.flatnonzero((row[:, :, 0] > 150).any(axis=0)) / row.shape[1]
    assert columns.min() == pytest.approx(9050 / 18100, abs=0.003)
    assert columns.max() == pytest.approx(9075 / 18100, abs=0.003)


def test_interpolated_stretches_cross_all_rows(talk: Motion) -> None:
    marks = np.zeros(100, bool)
    marks[20:30] = True
    picture = draw_timeline(replace(talk, interpolated=marks))
    for index in range(4):
        columns = np.flatnonzero(_is(_row(picture, index)[:3], MADE_UP).all(axis=0)) / 780
        assert (columns.min(), columns.max()) == pytest.approx((0.2, 0.3), abs=0.003)
    assert not _is(draw_timeline(talk), MADE_UP).any()


def test_one_interpolated_frame_of_many_is_seen(talk: Motion) -> None:
    long = talk.per_frame(lambda rows: np.resize(rows, (18000, *rows.shape[1:])))
    marks = np.zeros(18000, bool)
    marks[-1] = True
    picture = draw_timeline(replace(long, interpolated=marks))
    assert _is(_row(picture, 0)[:3], MADE_UP).all(axis=0).sum() == 2


@pytest.mark.parametrize(
    ("valid", "hatched"),
    [(Validity(), []), (Validity(jaw=False), [2]), (Validity(expression=False, jaw=False), [2, 3])],
)
def test_what_was_not_measured_is_hatched(talk: Motion, valid: Validity, hatched: list[int]) -> None:
    picture = draw_timeline(replace(talk, valid=valid))
    level, upper = 64, slice(10, 50)
    grid = [(_row(picture, i)[upper, 300:] == level).all(axis=2).mean() for i in range(4)]
    assert [i for i, share in enumerate(grid) if share > 0.1] == hatched
    if 2 in hatched:
        assert not _is(_row(picture, 2), JAW).any()


def test_a_face_without_coefficients_is_hatched(talk: Motion) -> None:
    picture = draw_timeline(replace(talk, expression_space="none"))
    assert (_row(picture, 3)[10:50, 300:] == 64).all(axis=2).mean() > 0.1


def test_sound_is_drawn_where_it_is_heard(talk: Motion) -> None:
    waveform = np.zeros((2, 4 * 8000), np.float32)
    waveform[1, 8000:16000] = np.sin(np.arange(8000))
    row = _row(draw_timeline(replace(talk, sound=Soundtrack(waveform, 8000))), 4)
    height = _is(row, (160, 160, 160)).sum(axis=0)
    columns = np.flatnonzero(height > 40) / len(height)
    assert (columns.min(), columns.max()) == pytest.approx((0.25, 0.5), abs=0.003)
    assert height[:150].max() <= 2  # silence is a line


def test_rest_and_single_frames_can_be_drawn(talk: Motion) -> None:
    still = draw_timeline(talk.sliced(0, 40))
    assert not _is(_row(still, 2), JAW).any()
    assert draw_timeline(talk.sliced(0, 1)).shape == still.shape


def test_stretches_are_runs() -> None:
    marks = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1], bool)
    assert stretches(marks) == [(0, 2), (3, 4), (6, 9)]
    assert stretches(np.zeros(3, bool)) == []


def test_the_heading_names_frames() -> None:
    assert _interpolated([(5, 6)]) == "interpolated: frame 5 (1 in all)"
    assert _interpolated([(5, 6), (8, 12)]) == "interpolated: frames 5, 8-11 (5 in all)"
    many = [(10 * i, 10 * i + 2) for i in range(7)]
    assert _interpolated(many) == (
        "interpolated: frames 0-1, 10-11, 20-21, 30-31 and 3 more stretches (14 in all)"
    )


@pytest.mark.parametrize("n_frames", [1, 7, 100, 3000, 18000, 400000])
def test_the_axis_has_a_legible_number_of_numbers(talk: Motion, n_frames: int) -> None:
    long = talk.per_frame(lambda rows: np.resize(rows, (n_frames, *rows.shape[1:])))
    columns = [column for _, column in _ticks(long, 780)]
    assert columns[0] == 0
    assert len(columns) <= 12
    assert n_frames == 1 or len(columns) > 2
    assert min(np.diff(columns), default=99) >= 55


def test_the_axis_tells_minutes() -> None:
    assert [_clock(2.5, 4.0), _clock(90, 600.0), _clock(0, 600.0)] == ["2.5 s", "1:30", "0:00"]


@pytest.mark.parametrize("width", [0, 399, 20000])
def test_bad_widths_are_refused(talk: Motion, width: int) -> None:
    with pytest.raises(AnchorError, match=f"width is {width} pixels: it needs 400 to 16384"):
        draw_timeline(talk, width)


def test_a_real_motion_fills_its_rows(shared_data: Path) -> None:
    picture: Any = draw_timeline(read_motion(shared_data / "talkshow" / "french.npy"))
    filled = [(_row(picture, i).max(axis=2) > 100).mean() for i in range(4)]
    assert min(filled) > 0.1
