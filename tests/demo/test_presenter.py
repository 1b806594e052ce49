"""The dressed presenter: shapes, determinism, identities that differ, nuisance that shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anchor_core.demo.backdrop import backdrop
from anchor_core.demo.dataset import Clip, DatasetSettings, clip_motion
from anchor_core.demo.gestures import make_motion
from anchor_core.demo.identity import make_identity
from anchor_core.demo.nuisance import make_nuisance
from anchor_core.demo.presenter import Presenter
from anchor_core.errors import AnchorError
from anchor_core.motion.camera import default_camera

CAMERA = default_camera(96, 96)


@pytest.fixture(scope="module")
def anchor() -> Presenter:
    return Presenter(make_identity(0))


@pytest.fixture(scope="module")
def motion():
    return make_motion(7, 6)


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(-10 * torch.log10((first - second).square().mean()))


def test_frames_are_pictures_and_the_same_by_seed(anchor, motion) -> None:
    frames = anchor.render(motion, make_nuisance(motion, 1), CAMERA)
    assert frames.shape == (6, 96, 96, 3)
    assert torch.isfinite(frames).all()
    assert frames.min() >= 0
    assert frames.max() <= 1
    again = Presenter(make_identity(0)).render(motion, make_nuisance(motion, 1), CAMERA)
    assert torch.equal(frames, again)


def test_nuisance_shows_but_leaves_the_pose_in_charge(anchor, motion) -> None:
    frames = [anchor.render(motion, make_nuisance(motion, seed), CAMERA) for seed in (1, 2)]
    assert 26 < psnr(*frames) < 45


def test_nuisance_is_not_in_the_condition(anchor, motion) -> None:
    # The condition is made from the motion and the person's shape alone.
    clip = Clip(person=0, motion_seed=3, first=0, n_frames=2)
    calm, stormy = (clip_motion(clip, DatasetSettings(nuisance=amount)) for amount in (0.0, 1.0))
    for one, other in zip(calm, stormy, strict=True):
        np.testing.assert_array_equal(one.pose, other.pose)
        np.testing.assert_allclose(one.betas, make_identity(0).betas, rtol=1e-6)


def test_identities_differ(motion) -> None:
    one = motion.sliced(0, 1)
    pictures = [
        Presenter(make_identity(seed)).render(one, make_nuisance(one, 1), CAMERA) for seed in range(8)
    ]
    for first in range(8):
        for second in range(first):
            assert psnr(pictures[first], pictures[second]) < 25


def test_identity_of_a_seed_is_fixed_and_plain() -> None:
    assert make_identity(5) == make_identity(5)
    assert make_identity(0).glasses
    values = make_identity(9).to_dict()
    assert all(0 <= channel <= 1 for channel in values["suit"])


def test_backdrop_stays_where_nobody_is(anchor, motion) -> None:
    still = make_nuisance(motion, 1, 0.0)
    frames = anchor.render(motion, still, CAMERA)
    wall = backdrop(make_identity(0), 96, 96)
    np.testing.assert_allclose(frames[:, :8, -8:], wall[None, :8, -8:].expand(6, 8, 8, 3), atol=1e-6)


@pytest.mark.parametrize("change", [{"world": "yup"}, {"expression_space": "smplx"}])
def test_foreign_motion_is_refused(anchor, motion, change) -> None:
    with pytest.raises(AnchorError, match="give a motion of make_motion"):
        anchor.render(replace(motion, **change), make_nuisance(motion, 1), CAMERA)
