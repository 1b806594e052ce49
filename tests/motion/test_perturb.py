"""Perturbed motions differ by the seed, by little, and where an estimator errs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anchor_core.demo.gestures import make_motion
from anchor_core.motion.perturb import perturb_motion, smooth_noise


@pytest.fixture(scope="module")
def motion():
    return make_motion(1, 200)


def test_errors_are_small_by_seed_and_off_at_zero(motion) -> None:
    estimate = perturb_motion(motion, 2)
    error = estimate.pose - motion.pose
    assert 1e-4 < error[:, :22].std() < 0.01
    np.testing.assert_array_equal(estimate.pose, perturb_motion(motion, 2).pose)
    assert not np.allclose(estimate.pose, perturb_motion(motion, 3).pose)
    np.testing.assert_array_equal(perturb_motion(motion, 2, 0.0).pose, motion.pose)
    assert estimate.expression.min() >= 0
    assert estimate.expression.max() <= 1


def test_amount_scales_the_errors(motion) -> None:
    small, large = (perturb_motion(motion, 2, amount).pose - motion.pose for amount in (1.0, 3.0))
    np.testing.assert_allclose(large, 3 * small, atol=1e-5)


def test_coefficients_of_smplx_may_be_negative_and_there_may_be_none(motion) -> None:
    negative = replace(motion, expression=motion.expression - 2, expression_space="smplx")
    assert perturb_motion(negative, 2).expression.max() < 0.5
    bare = replace(motion, expression=np.zeros((200, 0)), expression_space="none")
    assert perturb_motion(bare, 2).expression.shape == (200, 0)


def test_hands_of_a_basis_move_too(motion) -> None:
    hands = (np.zeros((200, 12)), np.ones((200, 12)))
    left, right = perturb_motion(replace(motion, hands_pca=hands), 2).hands_pca
    assert 0.003 < left.std() < 0.03
    assert not np.allclose(left, right - 1)


def test_noise_has_unit_variance() -> None:
    noise = smooth_noise(np.random.default_rng(0), 4000, 25.0, 1.0, 2)
    assert noise.std(axis=0) == pytest.approx([1, 1], abs=0.15)
