"""The loss curve: places of points, a trend that does not lag, ticks that are round and enough."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anchor_core.training.curve import draw_loss, grouped, ticks, trend


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.009, 0.65, [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]),
        (0.69, 1.42, [0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4]),
        (1e-6, 1.0, [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_there_are_always_enough_ticks() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        low = 10 ** rng.uniform(-6, 2)
        found = ticks(low, low * 10 ** rng.uniform(0.2, 6))
        assert 2 <= len(found) <= 9


def test_the_trend_of_an_exponential_fall_is_the_fall() -> None:
    points = [(float(step), math.exp(-step / 100)) for step in range(10, 500, 10)]
    for (_, found), (_, loss) in zip(trend(points), points, strict=True):
        assert found == pytest.approx(loss, rel=1e-6)


def test_the_trend_averages_noise() -> None:
    rng = np.random.default_rng(0)
    points = [(float(step), float(np.exp(rng.normal(0, 0.3)))) for step in range(400)]
    assert np.log([loss for _, loss in trend(points)]).std() < 0.1


def test_groups_keep_the_mean() -> None:
    points = [(float(step), 2.0**step) for step in range(10)]
    expected = [(0.5 + 2 * n, 2 ** (0.5 + 2 * n)) for n in range(5)]
    np.testing.assert_allclose(grouped(points, 5), expected)
    assert grouped(points, 10) == points


def colored(picture: np.ndarray) -> np.ndarray:
    """(n, 2) x and y of the pixels of dots and trend: greenish."""
    red, green = picture[..., 0].astype(int), picture[..., 1].astype(int)
    return np.argwhere(green > red + 30)[:, ::-1]


def test_a_falling_loss_falls_in_the_picture() -> None:
    picture = draw_loss({step: 1 / step for step in range(1, 101)}, 200)
    assert picture.shape == (540, 960, 3)
    places = colored(picture)
    left, right = places[places[:, 0].argmin()], places[places[:, 0].argmax()]
    assert left[1] < 100  # the highest loss is at the top
    assert right[1] > 440  # the lowest at the bottom
    assert right[0] < 520  # 100 of 200 steps are half the width


def test_losses_that_cannot_be_shown_are_left_out() -> None:
    losses = {1: 0.5, 2: float("nan"), 3: float("inf"), 4: 0.0, 5: 0.4}
    assert np.array_equal(draw_loss(losses, 5), draw_loss({1: 0.5, 5: 0.4}, 5))


@pytest.mark.parametrize("losses", [{}, {7: 0.1}, {7: 0.1, 8: 0.1}])
def test_few_losses(losses: dict[int, float]) -> None:
    assert draw_loss(losses, 10, size=(320, 200)).shape == (200, 320, 3)
