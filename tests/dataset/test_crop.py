"""The square around the person: as small as it may be, inside the video, over the head."""

from __future__ import annotations

import numpy as np
import pytest

from anchor_core.dataset.crop import Extent, choose_crop, cut, cut_camera
from anchor_core.motion.camera import Camera


def test_a_person_who_fits_is_in_the_middle_with_a_margin() -> None:
    left, top, side, height = choose_crop(Extent((800, 300, 1000, 700), 900, 300), (1920, 1080))
    assert side == height == 460
    assert (left + side / 2, top + side / 2) == (900, 500)


def test_a_person_who_is_too_large_keeps_the_head() -> None:
    crop = choose_crop(Extent((0, 400, 1080, 1920), 700, 400), (1080, 1920))
    assert crop[2] == 1080
    assert crop[0] == 0
    assert crop[1] == pytest.approx(400 - 0.08 * 1080, abs=1)


def test_the_crop_stays_in_the_video() -> None:
    left, top, side, _ = choose_crop(Extent((1700, 20, 1919, 600), 1880, 20), (1920, 1080))
    assert left >= 0
    assert top >= 0
    assert left + side <= 1920
    assert top + side <= 1080


def test_camera_and_picture_are_cut_alike() -> None:
    camera = Camera((500, 500), (160, 90), (320, 180), (0.1, -0.2, 5.0))
    crop = (60.0, 10.0, 128.0, 128.0)
    picture = np.zeros((180, 320, 3), np.uint8)
    # A point 0.2 m right of the axis and 0.1 m above it, four metres behind the world's origin.
    u, v = 160 + 500 * (0.2 - 0.1) / 9, 90 + 500 * (-0.1 + 0.2) / 9
    picture[int(v) - 1 : int(v) + 2, int(u) - 1 : int(u) + 2] = 255
    small = cut(picture, crop, 64)[..., 0].astype(float)
    y, x = np.indices(small.shape) + 0.5
    seen = cut_camera(camera, crop, 64)
    expected = (
        seen.center_px[0] + seen.focal_px[0] * (0.2 - 0.1) / 9,
        seen.center_px[1] + seen.focal_px[1] * (-0.1 + 0.2) / 9,
    )
    found = ((small * x).sum() / small.sum(), (small * y).sum() / small.sum())
    assert found == pytest.approx(expected, abs=0.5)


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    assert cut(picture, (0, 0, 64, 64), 64) is picture
