"""Window plans: published golden plans, and what must hold for every plan."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import pytest

from anchor_core.errors import AnchorError
from anchor_core.sampling.windows import (
    SCHEDULES,
    WEIGHTINGS,
    check_weighting,
    plan_weights,
    plan_windows,
    window_weights,
)

SIZES = [(ws, os) for ws, os in product((1, 2, 3, 5, 8, 16, 32), (0, 1, 2, 4, 7, 12, 31)) if os < ws]
LENGTHS = [*range(1, 40), 47, 48, 49, 100, 119, 300]
STEPS = (0, 1, 2, 3, 7, 19)


def test_reference_is_the_published_plan(goldens: Path) -> None:
    cases = json.loads((goldens / "d_windows" / "windows.json").read_text())["cases"]
    assert len(cases) > 300
    for case in cases:
        plan = plan_windows(case["N"], case["ws"], case["os"], "reference")
        assert [[w[0], w[-1] + 1] for w in plan] == case["windows"], case


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("ws", "os"), SIZES)
def test_every_frame_is_covered(schedule: str, ws: int, os: int) -> None:
    for n, step in product(LENGTHS, STEPS):
        windows = plan_windows(n, ws, os, schedule, step)
        assert set().union(*windows) == set(range(n))
        assert len(set(windows)) == len(windows)
        for window in windows:
            assert len(set(window)) == len(window) <= min(ws, n)


@pytest.mark.parametrize("schedule", ["static", "uniform", "looped"])
@pytest.mark.parametrize(("ws", "os"), SIZES)
def test_no_window_is_short_and_neighbours_overlap(schedule: str, ws: int, os: int) -> None:
    for n, step in product(LENGTHS, STEPS):
        windows = plan_windows(n, ws, os, schedule, step)
        assert {len(window) for window in windows} == {min(ws, n)}
        round_trip = [*windows, windows[0]] if schedule == "looped" and len(windows) > 1 else windows
        for before, after in pairwise(round_trip):
            assert len(set(before) & set(after)) >= os


@pytest.mark.parametrize(("ws", "os"), SIZES)
def test_static_equals_reference_when_tails_are_full(ws: int, os: int) -> None:
    stride = ws - os
    for k in range(1, 6):
        n = ws + k * stride
        reference = plan_windows(n, ws, os, "reference")
        full = [window for window in reference if len(window) == ws]
        assert plan_windows(n, ws, os, "static") == full
        assert all(set(window) <= set(full[-1]) for window in reference[len(full) :])  # tails add no frame


def test_uniform_costs_at_most_one_window_more_and_moves_every_seam() -> None:
    static = plan_windows(100, 16, 4, "static")
    plans = [plan_windows(100, 16, 4, "uniform", step) for step in range(20)]
    assert plans[0] == static
    assert {len(plan) for plan in plans} <= {len(static), len(static) + 1}
    starts = Counter(window[0] for plan in plans for window in plan)
    assert set(starts) == set(range(85))  # in 20 steps a window starts at each possible frame


def test_looped_wraps_and_needs_no_more_windows_than_the_stride_asks() -> None:
    windows = plan_windows(48, 16, 4, "looped")
    assert windows[-1][-5:] == (47, 0, 1, 2, 3)
    assert len(windows) == 4
    assert all(len(plan_windows(n, 16, 4, "looped")) == -(-n // 12) for n in range(17, 200))


def test_plans_repeat() -> None:
    for schedule, step in product(SCHEDULES, STEPS):
        assert plan_windows(61, 16, 4, schedule, step) == plan_windows(61, 16, 4, schedule, step)
    assert plan_windows(61, 16, 4, "static", 5) == plan_windows(61, 16, 4, "static", 0)


@pytest.mark.parametrize("schedule", ["static", "uniform", "looped"])
def test_a_short_clip_is_one_window(schedule: str) -> None:
    for n in (1, 5, 16):
        assert plan_windows(n, 16, 4, schedule, step=3) == [tuple(range(n))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 16, 4), "the clip has 0 frames: need 1 or more"),
        ((10, 0, 0), "window_size is 0: need 1 or more"),
        ((10, 16, -1), "overlap is -1: need 0 or more"),
        ((10, 8, 8), "overlap 8 is not smaller than window_size 8.*choose an overlap from 0 to 7"),
        ((10, 8, 9), "overlap 9 is not smaller than window_size 8"),
        ((10, 8, 2, "spiral"), "schedule is 'spiral': need one of static, reference, uniform, looped"),
    ],
)
def test_bad_plans_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        plan_windows(*arguments)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_are_positive_and_at_most_one(weighting: str) -> None:
    for length, overlap in product(range(1, 33), (0, 1, 3, 8, 31)):
        for ends in product((False, True), repeat=2):
            weights = window_weights(length, weighting, overlap, *ends)
            assert len(weights) == length
            assert 0 < min(weights) <= max(weights) <= 1


def test_weights_by_hand() -> None:
    assert window_weights(3) == (1, 1, 1)
    assert window_weights(5, "pyramid") == pytest.approx((1 / 3, 2 / 3, 1, 2 / 3, 1 / 3))
    assert window_weights(6, "overlap-linear", 1) == pytest.approx((0.5, 1, 1, 1, 1, 0.5))
    assert window_weights(6, "overlap-linear", 2, is_first=True) == pytest.approx((1, 1, 1, 1, 2 / 3, 1 / 3))


def test_linear_ramps_cross_fade_to_one() -> None:
    windows = plan_windows(40, 16, 4)
    sums = Counter[int]()
    for window, weights in zip(windows, plan_weights(windows, "overlap-linear", 4), strict=True):
        for frame, weight in zip(window, weights, strict=True):
            sums[frame] += weight
    assert [sums[frame] for frame in range(40)] == pytest.approx([1.0] * 40)


def test_loops_have_ramps_at_both_ends_and_single_windows_none() -> None:
    windows = plan_windows(40, 16, 4, "looped")
    assert plan_weights(windows, "overlap-linear", 4, closed=True)[0][0] == pytest.approx(0.2)
    assert plan_weights(windows, "overlap-linear", 4)[0][0] == 1
    assert plan_weights([(0, 1, 2)], "overlap-linear", 2, closed=True) == [(1, 1, 1)]


def test_unknown_weighting_is_refused() -> None:
    with pytest.raises(AnchorError, match="weighting is 'steep': need one of flat, pyramid, overlap-linear"):
        check_weighting("steep")
