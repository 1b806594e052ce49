"""Landmark distances with a detector whose answers are known."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.evaluation.guide import Hint
from anchor_core.evaluation.landmarks import (
    N_POINTS,
    PARTS,
    SIDE,
    DWPose,
    LandmarkMeter,
    Landmarks,
    decode_simcc,
    load_dwpose,
)
from anchor_core.evaluation.meter import Pair


def pair(result, truth, mesh=None):
    frames = [np.full((100, 200, 3), level, np.uint8) for level in (result, truth)]
    return Pair.of(0, *frames, Hint(mesh))


def seen_by(answers):
    """A detector that knows frames by their grey level, and the boxes that it was asked for."""
    boxes = []

    def detect(frame, box):
        boxes.append(box)
        return answers[int(frame[0, 0, 0])]

    return detect, boxes


def points(x=50.0, y=40.0, score=0.9):
    return Landmarks(np.tile([x, y], (N_POINTS, 1)).astype(float), np.full(N_POINTS, score))


def test_the_mean_distance_of_each_part_at_512_pixels():
    ours = points()
    for part, move in (("face", (3, 4)), ("body", (0, 10)), ("hands", (8, 6))):
        ours.points[PARTS[part]] += move
    detect, boxes = seen_by({1: ours, 2: points()})
    meter = LandmarkMeter(detect, "a note")
    meter.add(pair(1, 2))
    meter.add(pair(2, 2))
    found = {one.key: one for one in meter.measurements()}
    for part, distance in (("face", 5), ("body", 10), ("hands", 10)):  # in frames of 200 pixels
        assert found[f"lmd_{part}"].value == pytest.approx(distance * SIDE / 200 / 2)
        assert found[f"lmd_{part}"].note == "100 % of the true points found; a note"
    assert boxes == [(0, 0, 200, 100)] * 4
    assert meter.curves()["landmarks"].values["face"] == pytest.approx([5 * SIDE / 200, 0])


def test_points_that_one_clip_lacks_do_not_count_but_are_told():
    ours, theirs = points(), points()
    ours.points[91:112] += (1000, 0)  # a hand that is not there
    ours.scores[91:112] = 0.1
    theirs.scores[0:17] = 0.1
    meter = LandmarkMeter(seen_by({1: ours, 2: theirs})[0])
    meter.add(pair(1, 2))
    face, body, hands = meter.measurements()
    assert (face.value, hands.value) == (0, 0)
    assert hands.note == "50 % of the true points found"
    assert math.isnan(body.value)
    assert body.note == "left out: the detector finds none in both clips"


def test_the_box_is_that_of_the_mesh():
    mesh = np.zeros((100, 200, 3), np.uint8)
    mesh[20:70, 40:90] = 7
    detect, boxes = seen_by({1: points(), 2: points()})
    LandmarkMeter(detect).add(pair(1, 2, mesh))
    assert boxes == [(40, 20, 90, 70)] * 2


def test_without_weights_it_says_so():
    meter = LandmarkMeter(None)
    meter.add(pair(1, 2))
    assert {one.note for one in meter.measurements()} == {"left out: no weights given (--landmarks FILE)"}
    assert meter.curves() == {}


def test_two_classifications_are_one_point():
    columns, rows = np.zeros((2, 576)), np.zeros((2, 768))
    columns[0, 100], rows[0, 31] = 0.8, 0.6
    columns[1, 7], rows[1, 700] = 0.2, 0.5
    places, scores = decode_simcc(columns, rows)
    assert places.tolist() == [[50, 15.5], [3.5, 350]]
    assert scores.tolist() == [0.6, 0.2]


class BrightestPixel:
    """Behaves as a session of onnxruntime: every landmark is where the picture is brightest."""

    def get_inputs(self):
        return [SimpleNamespace(name="input", shape=[1, 3, 384, 288])]

    def get_outputs(self):
        return [None, None]

    def run(self, _names, feeds):
        picture = feeds["input"]
        assert picture.shape == (1, 3, 384, 288)
        assert picture.dtype == np.float32
        row, column = np.unravel_index(picture[0, 0].argmax(), (384, 288))
        columns, rows = np.zeros((1, N_POINTS, 576)), np.zeros((1, N_POINTS, 768))
        columns[:, :, 2 * column], rows[:, :, 2 * row] = 1, 1
        return [columns, rows]


@pytest.mark.parametrize("box", [(0, 0, 400, 300), (100, 50, 300, 280), (200, 100, 260, 290)])
def test_points_come_back_to_the_frame(box):
    frame = np.zeros((300, 400, 3), np.uint8)
    frame[198:203, 243:248] = 80
    frame[199:202, 244:247] = 255
    found = DWPose(BrightestPixel())(frame, box)
    assert found.points[0] == pytest.approx([245, 200], abs=2.5)
    assert found.scores.min() == 1


def test_a_missing_package_or_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(AnchorError, match="landmarks need the package onnxruntime"):
        load_dwpose(tmp_path / "x.onnx")

    def refuse(path, providers):
        raise RuntimeError("INVALID_PROTOBUF\nmore")

    runtime = SimpleNamespace(
        get_available_providers=lambda: ["CPUExecutionProvider"], InferenceSession=refuse
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    with pytest.raises(AnchorError, match=r"There is no file .*x.onnx"):
        load_dwpose(tmp_path / "x.onnx")
    (tmp_path / "x.onnx").write_bytes(b"no")
    with pytest.raises(AnchorError, match=r"x.onnx is not a readable ONNX file \(INVALID_PROTOBUF\)"):
        load_dwpose(tmp_path / "x.onnx")

    class Other(BrightestPixel):
        def get_inputs(self):
            return [SimpleNamespace(name="input", shape=[1, 3, 256, 192])]

    runtime.InferenceSession = lambda path, providers: Other()
    with pytest.raises(AnchorError, match=r"takes \[1, 3, 256, 192\], DWPose takes"):
        load_dwpose(tmp_path / "x.onnx")
    runtime.InferenceSession = lambda path, providers: BrightestPixel()
    detector, note = load_dwpose(tmp_path / "x.onnx")
    assert isinstance(detector, DWPose)
    assert note.startswith("not the published weights (sha256 ")
