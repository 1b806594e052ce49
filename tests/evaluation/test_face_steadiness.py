"""Shifts of a face that are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from anchor_core.evaluation.face_steadiness import FaceMeter, face_shift
from anchor_core.evaluation.guide import CROP, FaceView, Hint
from anchor_core.evaluation.meter import Pair


def face(x=0.0, y=0.0, side=CROP, scale=1.0):
    """A smooth picture (side, side) whose content is moved by x, y pixels."""
    rows, columns = np.mgrid[:side, :side] / scale
    columns, rows = columns - x / scale, rows - y / scale
    waves = np.sin(columns / 5.1) * np.cos(rows / 6.3) + 0.7 * np.sin((columns + 2 * rows) / 9.7)
    return torch.from_numpy(0.5 + 0.2 * waves).float()


def oval(side=CROP):
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    return torch.from_numpy(rows**2 + columns**2 < 0.16)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (0.3, -0.2), (2.5, 1.5), (-4, 3), (7, -6)])
def test_a_shift_is_found(x, y):
    found = face_shift(face(x, y), face(), oval())
    assert found == pytest.approx([x, y], abs=0.02)


def test_less_contrast_and_more_light_are_no_shift():
    found = face_shift(0.6 * face(1.25, 0.5) + 0.2, face(), oval())
    assert found == pytest.approx([1.25, 0.5], abs=0.02)


def test_what_is_outside_of_the_face_does_not_count():
    result = face(1, 0)
    result[:, :8] = torch.rand(CROP, 8, generator=torch.Generator().manual_seed(0))
    assert face_shift(result, face(), oval()) == pytest.approx([1, 0], abs=0.05)


def test_no_face_gives_nothing():
    plain = torch.full((CROP, CROP), 0.5)
    assert np.isnan(face_shift(plain, plain, oval())).all()
    assert np.isnan(face_shift(face(), face(), torch.zeros(CROP, CROP, dtype=torch.bool))).all()


def pair(index, x, y, view):
    """A frame of 160 pixels whose face lies in the middle, moved in the result."""
    ours, theirs = (
        np.repeat((face(*place, side=160).numpy() * 255).round().astype(np.uint8)[..., None], 3, axis=2)
        for place in ((x, y), (0, 0))
    )
    return Pair.of(index, ours, theirs, Hint(face=view))


def view(zoom=1.0, angle=0.0):
    """A crop of side CROP around the middle of a frame of 160, `zoom` crop pixels per frame pixel."""
    turn = zoom * torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64
    )
    shift = torch.full((2,), CROP / 2, dtype=torch.float64) - turn @ torch.full(
        (2,), 80.0, dtype=torch.float64
    )
    return FaceView(torch.cat([turn, shift[:, None]], dim=1), oval())


@pytest.mark.parametrize(("zoom", "angle"), [(1.0, 0.0), (1.6, 0.0), (1.3, 0.4)])
def test_shifts_are_told_in_pixels_of_the_frame(zoom, angle):
    meter = FaceMeter()
    moves = [(0, 0), (1, 0), (1, 1), (0, 1)]
    for index, (x, y) in enumerate(moves):
        meter.add(pair(index, x, y, view(zoom, angle)))
    jitter, offset = meter.measurements()
    assert jitter.value == pytest.approx(1.0, abs=0.04)  # each step goes one pixel
    assert offset.value == pytest.approx((0 + 1 + math.sqrt(2) + 1) / 4, abs=0.04)
    assert jitter.note == "found in 4 of 4 frames that show it"
    assert meter.curves()["face"].values["right"] == pytest.approx([x for x, _ in moves], abs=0.05)


def test_frames_without_a_face_break_the_steps():
    meter = FaceMeter()
    for index, x in enumerate((0, None, 5, 6)):
        meter.add(pair(index, x or 0, 0, None if x is None else view()))
    jitter, _ = meter.measurements()
    assert jitter.value == pytest.approx(1.0, abs=0.05)
    assert jitter.note == "found in 3 of 3 frames that show it"


def test_a_face_that_the_result_lacks_is_told():
    meter = FaceMeter()
    for index in range(2):
        plain, face_frame = np.full((160, 160, 3), 120, np.uint8), pair(index, 0, 0, view())
        meter.add(Pair.of(index, plain, face_frame.truth_bytes, face_frame.hint))
    assert {one.note for one in meter.measurements()} == {"left out: the result does not show the true face"}


def test_without_a_face_it_says_so():
    meter = FaceMeter()
    meter.add(pair(0, 0, 0, None))
    meter.add(pair(1, 0, 0, None))
    assert [one.note for one in meter.measurements()] == [
        "left out: no mesh shows where the face is (--motion or --dataset)"
    ] * 2
    assert meter.curves() == {}
