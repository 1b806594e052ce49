"""How far a motion leaves what an anchor was trained on, in words and as a picture."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from anchor_core.body import standin_body
from anchor_core.demo.gestures import make_motion
from anchor_core.motion import Motion, default_camera
from anchor_core.motion.range_picture import draw_report
from anchor_core.motion.range_report import UNKNOWN, RangeReport, RangeRow, compare_ranges
from anchor_core.motion.ranges import MotionRanges, measure_ranges

BODY = standin_body()
CAMERA = default_camera(192, 192)


@pytest.fixture(scope="module")
def trained() -> Motion:
    """Five seconds of the synthetic presenter."""
    return replace(make_motion(1, 125), camera=CAMERA)


@pytest.fixture(scope="module")
def ranges(trained: Motion) -> MotionRanges:
    """Of `trained`."""
    return measure_ranges([trained], BODY)


def changed(motion: Motion, joint: int, axis: int, angle: float, frames: slice) -> Motion:
    pose = motion.pose.copy()
    pose[frames, joint, axis] += angle
    return replace(motion, pose=pose, performer="Ada")


def row_of(report: RangeReport, name: str) -> RangeRow:
    return next(row for row in report.rows if row.name == name)


def test_the_training_itself_is_near(trained: Motion, ranges: MotionRanges) -> None:
    report = compare_ranges(trained, ranges, BODY)
    assert report.far == []
    assert report.warning() is None
    assert report.sentences()[0] == "125 of 125 frames are near what the anchor was trained on."


def test_a_raised_arm_is_found_with_its_frames(trained: Motion, ranges: MotionRanges) -> None:
    motion = changed(trained, 17, 2, 1.2, slice(12, 41))
    report = compare_ranges(motion, ranges, BODY)
    shoulder = row_of(report, "right shoulder")
    assert report.frames(shoulder) == [(12, 40)]
    assert 30 < shoulder.excess.max() < 75
    assert shoulder.excess[:12].max() < 10
    assert row_of(report, "right elbow").worst == pytest.approx(0, abs=0.1)
    assert row_of(report, "reach of the right hand").worst > 1
    warning = report.warning()
    assert warning is not None
    assert "right shoulder by up to" in warning
    assert "(frames 12-40)" in warning
    assert "what Ada was trained on" in warning
    assert report.sentences()[0].startswith("96 of 125 frames are near")


@pytest.mark.parametrize(
    ("joint", "name"),
    [
        (15, "neck and head"),
        (22, "jaw"),
        (19, "right elbow"),
        (20, "left wrist"),
        (30, "left fingers"),
        (1, "legs"),
    ],
)
def test_each_joint_has_its_row(trained: Motion, ranges: MotionRanges, joint: int, name: str) -> None:
    report = compare_ranges(changed(trained, joint, 1, 1.5, slice(50, 60)), ranges, BODY)
    assert report.frames(row_of(report, name)) == [(50, 59)]


def test_head_place_and_size_in_the_picture(trained: Motion, ranges: MotionRanges) -> None:
    aside, near = (trained.translation.copy() for _ in range(2))
    aside[30:] += [0.2, 0, 0]
    near[30:] -= [0, 0, 1.5]
    place = compare_ranges(replace(trained, translation=aside), ranges, BODY)
    assert [row.name for row in place.far] == ["place of the head"]
    assert row_of(place, "place of the head").excess[30:].max() == pytest.approx(22, abs=8)  # 0.2 m of 0.9 m
    size = compare_ranges(replace(trained, translation=near), ranges, BODY)
    assert row_of(size, "size of the head").excess[30:].max() == pytest.approx(27 * 0.3, abs=2)
    assert size.frames(row_of(size, "size of the head")) == [(30, 124)]


def test_a_wider_camera_is_cut_as_the_picture_is(trained: Motion, ranges: MotionRanges) -> None:
    wide = replace(CAMERA, size=(384, 192), center_px=(CAMERA.center_px[0] + 96, CAMERA.center_px[1]))
    report = compare_ranges(replace(trained, camera=wide), ranges, BODY)
    assert row_of(report, "place of the head").worst < 1


def test_what_is_not_known_is_said(trained: Motion, ranges: MotionRanges) -> None:
    coefficients = (np.zeros((125, 6), np.float32), np.zeros((125, 6), np.float32))
    motion = replace(trained, hands_pca=coefficients, camera=None)
    report = compare_ranges(motion, ranges, BODY)
    assert not row_of(report, "left fingers").known
    expected = "left fingers, right fingers, place of the head, size of the head."
    assert report.sentences()[-1] == f"Not compared, as it is not known: {expected}"
    assert report.warning() is None


def test_a_card_without_ranges(trained: Motion) -> None:
    report = compare_ranges(trained, None, BODY)
    assert report.sentences() == [UNKNOWN]
    assert report.warning() is None
    assert draw_report(report).shape[1:] == (960, 3)


def test_chunks_do_not_change_the_result(
    trained: Motion, ranges: MotionRanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compare_ranges(trained, ranges, BODY)
    monkeypatch.setattr("anchor_core.motion.ranges._CHUNK", 7)
    parts = compare_ranges(trained, ranges, BODY)
    for one, other in zip(whole.rows, parts.rows, strict=True):
        np.testing.assert_allclose(one.excess, other.excess, atol=1e-3)


def make_report(severity: np.ndarray, fps: float = 25.0) -> RangeReport:
    return RangeReport((RangeRow("jaw", 6 * severity, 6.0, "°"),), len(severity), fps, 10, "Ada")


def test_stretches_that_hardly_stop_are_one() -> None:
    severity = np.zeros(100)
    severity[[10, 11, 13, 40]] = 2.0
    report = make_report(severity)
    assert report.frames(report.rows[0]) == [(10, 13), (40, 40)]
    assert "Jaw: up to 12 degrees beyond the training (6° is much), frames 10-13, 40." in report.sentences()


def test_little_is_told_apart_from_much() -> None:
    report = make_report(np.array([0.0, 0.5, 0.0]))
    assert report.sentences()[-1] == "A little beyond the training: jaw (up to 3.0°)."
    assert report.warning() is None


def test_the_picture_shows_where_it_is_bad() -> None:
    severity = np.zeros(1000)
    severity[500] = 3.0  # a single frame, narrower than a column
    picture = draw_report(make_report(severity))
    assert picture.dtype == np.uint8
    row = picture[96 + 23 + 10, 176:890].astype(int)  # the jaw, below the row of the worst
    red = np.flatnonzero((row[:, 0] > 200) & (row[:, 1] < 80))
    assert len(red) in (1, 2)
    assert abs(red[0] - 714 / 2) < 3


@pytest.mark.parametrize("n_frames", [1, 2, 700, 20_000])
def test_any_length_can_be_drawn(n_frames: int) -> None:
    assert draw_report(make_report(np.linspace(0, 4, n_frames))).shape[1:] == (960, 3)


def test_the_command_line_warns_with_the_frames(
    trained: Motion, ranges: MotionRanges, caplog: pytest.LogCaptureFixture
) -> None:
    from anchor_core.anchor.card import AnchorCard
    from anchor_core.cli.retargeting import warn_of_ranges

    motion = changed(trained, 17, 2, 1.2, slice(12, 41))
    with caplog.at_level(logging.WARNING, "anchor"):
        warn_of_ranges(trained, AnchorCard("Ada", ranges=ranges), BODY)
        warn_of_ranges(motion, AnchorCard("Ada"), BODY)
        assert not caplog.text
        warn_of_ranges(motion, AnchorCard("Ada", ranges=ranges), BODY)
    assert "frames 12-40" in caplog.text
    assert "check-motion" in caplog.text
