"""A card that learns from the motions of the training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anchor_core.anchor.card import AnchorCard
from anchor_core.anchor.trained import card_of_training
from anchor_core.anchor.use import betas_of, camera_of
from anchor_core.body import standin_body
from anchor_core.errors import AnchorError
from anchor_core.motion import Camera, Motion
from anchor_core.motion.place import PLACE_ROOT, seat
from anchor_core.motion.retarget import retarget

BODY = standin_body()
CARD = AnchorCard("Ada", resolution=(256, 256))
CAMERA = Camera((5000.0, 5000.0), (640.0, 360.0), (1280, 720), (-0.2726, -0.7142, 6.2228))


def filmed(**changes: Any) -> Motion:
    """Three frames of a video of 1280 x 720."""
    pose = np.zeros((3, 55, 3))
    pose[:, 0] = PLACE_ROOT
    seat(pose)
    motion = Motion(
        pose, np.zeros((3, 3)), np.zeros((3, 0)), betas=np.array([1.0, 2.0]), camera=CAMERA, hands="absolute"
    )
    return replace(motion, **changes)


def test_the_picture_is_the_square_around_the_person() -> None:
    card = card_of_training(CARD, [filmed()], BODY)
    camera, ranges = camera_of(card), card.ranges
    assert ranges is not None
    assert camera.size == ranges.size == (256, 256)
    assert camera.focal_px == pytest.approx((5000 * 256 / 720,) * 2)
    assert ranges.head_low[0] == pytest.approx(0.5, abs=0.001)
    assert camera.translation == CAMERA.translation
    np.testing.assert_array_equal(betas_of(card), [1, 2])
    np.testing.assert_allclose(ranges.place.translation, 0, atol=1e-6)


def test_the_crop_can_be_given() -> None:
    camera = camera_of(card_of_training(CARD, [filmed()], BODY, (200, 100, 512, 512)))
    assert camera.center_px == pytest.approx(((640 - 200) / 2, (360 - 100) / 2))
    assert camera.focal_px == (2500.0, 2500.0)


def test_the_square_stays_in_the_video() -> None:
    aside = filmed(translation=np.full((3, 3), [0.6, 0, 0]))
    camera = camera_of(card_of_training(CARD, [aside], BODY))
    assert camera.center_px[0] * 720 / 256 == pytest.approx(640 - (1280 - 720))


def test_a_camera_that_was_shifted_between_clips_is_made_one() -> None:
    """The person stands still in front of cameras whose estimates differ: one picture, two descriptions."""
    shift = np.array([0.05, -0.02, 0.1])
    moved = replace(CAMERA, translation=tuple(np.add(CAMERA.translation, shift * (1, 1, -1)).tolist()))
    clips = [filmed(), filmed(camera=moved, translation=np.tile(shift, (3, 1)))]
    ranges = card_of_training(CARD, clips, BODY).ranges
    assert ranges is not None
    np.testing.assert_allclose(ranges.head_low, ranges.head_high, atol=1e-4)
    np.testing.assert_allclose(ranges.place.translation, 0, atol=1e-6)


def test_shapes_of_clips_are_one_person() -> None:
    clips = [filmed(betas=np.array([1.0])), filmed(betas=np.array([3.0, 1.0])), filmed(betas=None)]
    np.testing.assert_array_equal(betas_of(card_of_training(CARD, clips, BODY)), [2.0, 0.5])
    assert card_of_training(CARD, [filmed(betas=None)], BODY).betas is None


def test_other_motions_come_to_the_same_place() -> None:
    there = filmed(translation=np.full((3, 3), [0.1, -0.05, 0.3]))
    card = card_of_training(CARD, [there], BODY)
    elsewhere = filmed(camera=None, translation=np.ones((3, 3)), world="yup")
    staged = retarget(elsewhere, card)
    np.testing.assert_allclose(staged.translation, there.translation, atol=1e-5)
    np.testing.assert_allclose(staged.pose[:, :3], there.pose[:, :3], atol=1e-5)


@pytest.mark.parametrize(
    ("motions", "message"),
    [
        ([], "0 of 0 motions of the training have no camera"),
        ([filmed(), filmed(camera=None)], "1 of 2 motions of the training have no camera: give those"),
        ([filmed(), filmed(camera=CAMERA.resized(640, 360))], "2 different cameras: give those of one video"),
        ([filmed(world="yup")], "world 'yup': its camera needs 'cv'"),
    ],
)
def test_motions_that_do_not_tell(motions: list[Motion], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        card_of_training(CARD, motions, BODY)


@pytest.mark.parametrize("crop", [(0, 0, 0, 10), (float("nan"), 0, 10, 10), (1280, 0, 10, 10)])
def test_crops_that_show_nothing(crop: tuple[float, float, float, float]) -> None:
    with pytest.raises(AnchorError, match="crop"):
        card_of_training(CARD, [filmed()], BODY, crop)
