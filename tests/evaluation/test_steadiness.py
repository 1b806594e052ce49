"""Flicker, seams, acceleration and drift of clips whose numbers are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.evaluation.guide import Hint
from anchor_core.evaluation.meter import Pair
from anchor_core.evaluation.metrics import acceleration_ratio, flicker
from anchor_core.evaluation.steadiness import TimeMeter, Windows, drift, seam_index, window_borders
from anchor_core.sampling.windows import plan_windows


def clip(frames=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, 8, 8, 3), dtype=np.uint8)


def measured(result, truth, windows=None, fps=25.0):
    meter = TimeMeter(windows, fps)
    for index, (one, two) in enumerate(zip(result, truth, strict=True)):
        meter.add(Pair.of(index, one, two, Hint()))
    return {one.key: one for one in meter.measurements()}, meter.curves()


def test_frame_by_frame_equals_the_whole_clip():
    result, truth = clip(), clip(seed=1)
    found, curves = measured(result, truth)
    one, two = (torch.from_numpy(part).float() / 255 for part in (result, truth))
    assert found["flicker"].value == pytest.approx(flicker(one, two), rel=1e-5)
    assert found["acceleration"].value == pytest.approx(acceleration_ratio(one, two), rel=1e-5)
    change = np.diff(result.astype(float) - truth, axis=0)
    assert curves["flicker"].values[""] == pytest.approx(np.abs(change).mean(axis=(1, 2, 3)), rel=1e-5)
    assert curves["colour"].values["green"] == pytest.approx(
        (result[..., 1].astype(float) - truth[..., 1]).mean(axis=(1, 2)), rel=1e-5
    )


def test_colour_drift_is_a_slope_per_minute():
    truth = np.full((50, 8, 8, 3), 100, np.uint8)
    result = truth.copy()
    result[..., 2] += np.arange(50, dtype=np.uint8)[:, None, None]  # one level of blue a frame, at 25 fps
    result[..., 0] -= 30
    found, _ = measured(result, truth)
    assert found["colour_drift"].value == pytest.approx(25 * 60, rel=1e-6)
    assert found["colour_drift"].note == "blue, ± 0.00, over 2.0 s: too short to tell of minutes"
    assert found["colour_offset"].value == pytest.approx(-30, rel=1e-6)
    assert found["colour_offset"].note == "red"


def test_drift_equals_a_fit_of_numpy():
    errors = np.random.default_rng(0).normal(size=(40, 3))
    slopes, deviations = drift(errors, fps=30)
    minutes = np.arange(40) / 30 / 60
    for channel in range(3):
        fit, covariance = np.polyfit(minutes, errors[:, channel], 1, cov=True)
        assert slopes[channel] == pytest.approx(fit[0])
        assert deviations[channel] == pytest.approx(math.sqrt(covariance[0, 0]))


@pytest.mark.parametrize("schedule", ["static", "reference", "uniform", "looped"])
@pytest.mark.parametrize("n_frames", [10, 16, 17, 28, 40, 41])
def test_borders_are_where_other_windows_begin(schedule, n_frames):
    plan = plan_windows(n_frames, 16, 4, schedule)
    members = [[frame in window for window in plan] for frame in range(n_frames)]
    expected = [t for t in range(n_frames - 1) if members[t] != members[t + 1]]
    assert window_borders(n_frames, Windows(16, 4, schedule)) == expected


def test_windows_that_move_have_no_borders():
    assert Windows(16, 4).borders(28) == [11, 15]
    assert Windows(16, 4, "uniform").borders(40) == []


def test_borders_of_a_part_are_those_of_the_whole_result():
    whole = Windows(16, 4).borders(40)
    frames = clip(40)
    for skipped, seen in ((0, 24), (10, 30), (30, 10)):
        meter = TimeMeter(Windows(16, 4), 25.0, skipped, 40 - skipped)
        for index, frame in enumerate(frames[:seen]):
            meter.add(Pair.of(index, frame, frame, Hint()))
        assert meter.borders == [t - skipped for t in whole if skipped <= t < skipped + seen - 1]


def test_the_seam_index_compares_a_border_with_its_neighbours():
    flat = [1.0] * 20
    assert seam_index(flat, [9]) == (1.0, 1)
    jump = list(flat)
    jump[9] = 3.0
    assert seam_index(jump, [9]) == (3.0, 1)
    rising = [float(t) for t in range(20)]  # more motion later is no seam
    assert seam_index(rising, [5, 14])[0] == pytest.approx(1.0)
    side_by_side = [1, 1, 1, 4, 2, 1, 1, 1]
    assert seam_index(side_by_side, [3, 4]) == (3.0, 2)
    assert math.isnan(seam_index(flat, [])[0])
    assert math.isnan(seam_index([0.0] * 5, [2])[0])


def test_a_result_with_seams_is_found_by_its_windows():
    truth = np.repeat(clip(1), 40, axis=0) // 4 + 64
    result = truth.copy()
    for start in (12, 24):  # every window is a little brighter than the one before
        result[start + 4 :] += 10
    result[::2] += 2
    found, curves = measured(result, truth, Windows(16, 4))
    assert found["seams"].value > 2
    assert "windows 16/4" in found["seams"].note
    assert curves["flicker"].marks == tuple(Windows(16, 4).borders(40))
    assert measured(result, truth, Windows(10, 2))[0]["seams"].value < 2


def test_what_cannot_be_measured_says_why():
    found, _ = measured(clip(1), clip(1), Windows(), fps=0)
    assert all(math.isnan(found[key].value) for key in ("flicker", "seams", "acceleration", "colour_drift"))
    assert found["flicker"].note == "left out: one frame does not change"
    assert "--fps" in found["colour_drift"].note
    found, _ = measured(clip(4), clip(4), None)
    assert "--windows" in found["seams"].note
    found, _ = measured(clip(4), clip(4), Windows())
    assert found["seams"].note == "left out: this clip has no window borders"
    same = clip(40)
    assert "nothing flickers" in measured(same, same, Windows())[0]["seams"].note
    found, _ = measured(clip(40), clip(40), Windows(16, 4, "looped"))
    assert "looped windows move" in found["seams"].note
    still = np.repeat(clip(1), 4, axis=0)
    assert "does not move" in measured(clip(4), still)[0]["acceleration"].note
    with pytest.raises(AnchorError, match="overlap 20 is not smaller"):
        Windows(16, 20)
