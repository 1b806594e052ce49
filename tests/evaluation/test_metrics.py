"""Metrics against values that are known without them."""

from __future__ import annotations

import math

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.evaluation.metrics import (
    acceleration_ratio,
    background_deviation,
    flicker,
    psnr,
    rim_gradient,
    ssim,
    ssim_around,
)


def clip(frames=4, side=16, seed=0):
    return torch.rand(frames, side, side, 3, generator=torch.Generator().manual_seed(seed))


def test_psnr_of_a_known_error():
    truth = torch.full((2, 4, 4, 3), 0.5)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-4)
    assert psnr(truth, truth) == math.inf


def test_psnr_on_a_mask():
    truth = torch.zeros(2, 4, 4, 3)
    result = truth.clone()
    result[:, :2] = 0.1
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[:, :2] = True
    assert psnr(result, truth, mask) == pytest.approx(20.0, abs=1e-4)
    assert psnr(result, truth, ~mask) == math.inf
    assert psnr(result, truth, mask[0]) == pytest.approx(20.0, abs=1e-4)


def test_ssim_of_equal_and_of_constant_clips():
    one = clip()
    assert ssim(one, one) == pytest.approx(1.0)
    # Without texture only the term of the level is left: (2ab + c1) / (a² + b² + c1).
    black, grey = torch.zeros(1, 16, 16, 3), torch.full((1, 16, 16, 3), 0.5)
    assert ssim(black, grey) == pytest.approx(1e-4 / (0.25 + 1e-4), abs=1e-9)


def test_ssim_is_symmetric_and_falls_with_noise():
    one = clip()
    noise = torch.randn(one.shape, generator=torch.Generator().manual_seed(1))
    little, much = one + 0.05 * noise, one + 0.3 * noise
    assert ssim(one, little) == pytest.approx(ssim(little, one))
    assert 1 > ssim(little, one) > ssim(much, one) > 0


def test_flicker_ignores_what_is_constant():
    truth = clip()
    assert flicker(truth + 0.2, truth) == pytest.approx(0, abs=1e-4)
    jump = truth.clone()
    jump[1::2] += 0.1  # every step in time is wrong by a tenth
    assert flicker(jump, truth) == pytest.approx(25.5, abs=1e-3)


def test_flicker_on_a_mask_counts_what_is_masked_in_both_frames():
    truth = clip(frames=3)
    result = truth.clone()
    result[1, :4] += 0.1  # the first four rows jump there and back, the others are still
    mask = torch.zeros(3, 16, 16, dtype=torch.bool)
    mask[:, :4] = True
    assert flicker(result, truth, mask) == pytest.approx(25.5, abs=1e-3)
    assert flicker(result, truth, mask[0]) == pytest.approx(25.5, abs=1e-3)
    assert flicker(result, truth, ~mask) == 0
    moving = mask.clone()
    moving[2] = torch.roll(mask[2], 2, dims=0)  # leaves two of the rows behind; enters two that are still
    result[2, :2] += 0.5  # so this is outside of the mask in the last frame
    assert flicker(result, truth, moving) == pytest.approx(25.5, abs=1e-3)
    assert math.isnan(flicker(result, truth, torch.zeros_like(mask)))


def test_ssim_around_looks_at_the_box_of_each_frame():
    truth = clip(frames=3, side=32)
    result = truth.clone()
    mask = torch.zeros(3, 32, 32, dtype=torch.bool)
    mask[0, 2:16, 2:14] = True
    mask[1, 30, 31] = True  # smaller than the window, in a corner: the box is widened inwards
    result[0, 17:] = 0
    result[1, :20, :20] = 0
    result[2] = 0  # without mask: not looked at
    assert ssim_around(result, truth, mask) == pytest.approx(1.0)
    result[0, 2:16, 2:14] = 0
    expected = (ssim(result[:1, 2:16, 2:14], truth[:1, 2:16, 2:14]) + 1) / 2
    assert ssim_around(result, truth, mask) == pytest.approx(expected)


def test_a_seam_is_measured_in_levels():
    alpha = torch.zeros(2, 16, 16)
    alpha[:, 4:12, 4:12] = 1
    plain = torch.full((2, 16, 16, 3), 0.5)
    seam = plain + alpha[..., None] * 7 / 255
    assert rim_gradient(seam, alpha) == pytest.approx(7, abs=1e-4)
    assert rim_gradient(plain, alpha) == 0
    ramp = (torch.arange(16).float() / 4 - 1).clamp(0, 1).expand(2, 16, 16)  # four steps from 0 to 1
    assert rim_gradient(plain + ramp[..., None] * 8 / 255, ramp) == pytest.approx(2, abs=1e-4)


def test_edges_off_the_rim_make_no_seam():
    alpha = torch.zeros(1, 16, 16)
    alpha[:, 4:12, 4:12] = 1
    picture = torch.zeros(1, 16, 16, 3)
    picture[:, 7:9, 7:9] = 1
    assert rim_gradient(picture, alpha) == 0
    assert math.isnan(rim_gradient(picture, torch.zeros_like(alpha)))


def test_acceleration_ratio_scales():
    truth = clip()
    assert acceleration_ratio(truth * 3, truth) == pytest.approx(3.0, rel=1e-5)


def test_background_deviation_is_that_of_the_error():
    truth = clip(side=8)
    result = truth.clone()
    result[1::2, 0] += 0.2  # deviation of the error 0.1, in the first row only
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[0] = True
    assert background_deviation(result, truth, mask) == pytest.approx(25.5, abs=1e-4)
    assert background_deviation(result, truth, ~mask) == 0
    assert background_deviation(truth + 0.3, truth, mask) == pytest.approx(0, abs=1e-4)


def test_shapes_are_checked():
    with pytest.raises(AnchorError, match="need two equal"):
        psnr(clip(3), clip(4))
    with pytest.raises(AnchorError, match="with 2 frames or more"):
        flicker(clip(1), clip(1))
    with pytest.raises(AnchorError, match="SSIM needs 11"):
        ssim(clip(side=8), clip(side=8))
    with pytest.raises(AnchorError, match="no pixel"):
        background_deviation(clip(), clip(), torch.zeros(16, 16, dtype=torch.bool))
    with pytest.raises(AnchorError, match=r"mask of shape \(4, 8, 8\) for a clip of shape \(4, 16, 16, 3\)"):
        ssim_around(clip(), clip(), torch.ones(4, 8, 8, dtype=torch.bool))
    with pytest.raises(AnchorError, match="mask is empty in all frames"):
        ssim_around(clip(), clip(), torch.zeros(4, 16, 16, dtype=torch.bool))
    with pytest.raises(AnchorError, match=r"mask of shape \(4, 8, 8\)"):
        rim_gradient(clip(), torch.ones(4, 8, 8))
