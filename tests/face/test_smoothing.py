"""The filter over time: nothing lags, nothing is shortened, noise falls, gaps are filled."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from anchor_core.errors import AnchorError
from anchor_core.face.smoothing import smooth

FRAMES = torch.arange(60, dtype=torch.float64)


def noise(frames: int, channels: int) -> Tensor:
    return torch.randn(frames, channels, dtype=torch.float64, generator=torch.manual_seed(0))


@pytest.mark.parametrize("sigma", [0.5, 1.5, 4.0, 100.0])
def test_parabolas_pass_unchanged_also_at_the_ends(sigma: float) -> None:
    """No lag and no shortening: a move that slows down, turns and comes back keeps its path."""
    path = torch.stack([0.02 * (FRAMES - 25) ** 2 - 3, 7 - 0.4 * FRAMES, torch.full_like(FRAMES, 5)], dim=1)
    torch.testing.assert_close(smooth(path, sigma), path, rtol=0, atol=1e-8)


def test_nod_keeps_its_place_and_nearly_its_height() -> None:
    """A quick nod, 8 frames wide: a bell of the same width would lower it by a third."""
    nod = torch.exp(-0.5 * ((FRAMES - 30) / 3).square())[:, None]
    result = smooth(nod, 1.5)[:, 0]
    assert int(result.argmax()) == 30
    assert float(result[30]) > 0.96
    torch.testing.assert_close(result[1:].flip(0)[:58], result[1:][:58], rtol=0, atol=1e-9)


def test_noise_falls_by_the_factor_of_the_filter() -> None:
    """A local parabola under a bell of 1.5 frames leaves 0.53 of the deviation; a wider one leaves less."""
    values = noise(3000, 4)
    middle = slice(20, -20)
    left = [float(smooth(values, sigma)[middle].std() / values[middle].std()) for sigma in (1.5, 3.0)]
    assert left[0] == pytest.approx(_expected(1.5), rel=0.03)
    assert left[1] == pytest.approx(_expected(3.0), rel=0.03)
    assert 0.4 < left[0] < 0.65
    assert left[1] < left[0] / 1.3


def test_off_leaves_every_known_frame_as_it_is() -> None:
    values = noise(10, 3)
    assert torch.equal(smooth(values, 0.0), values)
    known = torch.ones(10, dtype=torch.bool)
    known[4] = False
    result = smooth(values, 0.0, known)
    assert torch.equal(result[known], values[known])


def test_missing_frames_are_filled_from_both_sides() -> None:
    path = torch.stack([0.02 * (FRAMES - 25) ** 2, 3 * FRAMES], dim=1)
    known = torch.ones(60, dtype=torch.bool)
    known[20:23] = False
    broken = path.clone()
    broken[~known] = math.nan
    torch.testing.assert_close(smooth(broken, 1.5, known), path, rtol=0, atol=1e-8)


def test_frames_far_from_all_known_ones_take_the_nearest() -> None:
    values = torch.full((60, 1), math.nan, dtype=torch.float64)
    values[10], values[50] = 1.0, 2.0
    known = values[:, 0].isfinite()
    for sigma in (0.0, 1.5):
        result = smooth(values, sigma, known)[:, 0]
        assert result.isfinite().all()
        assert result[[0, 10, 24]].tolist() == [1, 1, 1]
        assert result[[36, 50, 59]].tolist() == [2, 2, 2]
    assert smooth(values, 0.0, known)[[29, 30, 31], 0].tolist() == [1, 1, 2]


def test_one_frame_and_two_frames() -> None:
    one, two = noise(1, 3), noise(2, 3)
    torch.testing.assert_close(smooth(one, 2.0), one, rtol=0, atol=1e-12)
    torch.testing.assert_close(smooth(two, 2.0), two, rtol=0, atol=1e-9)


def test_values_come_back_in_double_precision() -> None:
    values = noise(5, 2)
    result = smooth(values.float(), 1.0)
    assert result.dtype == torch.float64
    assert values.shape == result.shape


def test_memory_does_not_grow_with_the_square_of_the_frames() -> None:
    """40 000 frames: a table of all pairs would take 12 GB."""
    values = noise(40_000, 1)
    known = torch.zeros(40_000, dtype=torch.bool)
    known[::3] = True
    result = smooth(values, 0.0, known)
    assert torch.equal(result[known], values[known])
    assert torch.equal(result[1::3], values[::3][: len(result[1::3])])


def test_nothing_known_is_refused() -> None:
    with pytest.raises(AnchorError, match="No frame has a face: there is nothing to follow"):
        smooth(noise(4, 2), 1.0, torch.zeros(4, dtype=torch.bool))


def _expected(sigma: float) -> float:
    """Norm of the weights that give the value in the middle of the window, by the normal equations."""
    reach = round(3 * sigma)
    offset = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weight = torch.exp(-0.5 * (offset / sigma).square())
    basis = torch.stack([torch.ones_like(offset), offset, offset**2], dim=1)
    kernel = torch.linalg.solve(basis.T @ (weight[:, None] * basis), basis.T * weight)[0]
    return float(kernel.norm())
