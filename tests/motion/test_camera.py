"""Cameras: resizing and cropping keep every point on its place in the picture."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import Camera, default_camera

SHOW = Camera((5000.0, 5000.0), (640.0, 360.0), (1280, 720), (-0.2726, -0.7142, 6.2228))
POINTS = np.array([[0.0, -0.3, 0.0], [0.4, -0.8, 0.2], [-0.3, 0.1, -0.1]])


def pixels(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Formula of the module: points (N, 3) of the "cv" world -> (N, 2)."""
    tx, ty, tz = camera.translation
    depth = points[:, 2] + tz
    u = camera.center_px[0] + camera.focal_px[0] * (points[:, 0] - tx) / depth
    v = camera.center_px[1] + camera.focal_px[1] * (points[:, 1] - ty) / depth
    return np.stack([u, v], axis=1)


def test_resized_scales_pixels() -> None:
    small = SHOW.resized(640, 180)
    assert small.size == (640, 180)
    np.testing.assert_allclose(pixels(small, POINTS), pixels(SHOW, POINTS) * [0.5, 0.25])


def test_cropped_moves_pixels() -> None:
    part = SHOW.cropped(200, -30, 300, 400)
    assert part.size == (300, 400)
    np.testing.assert_allclose(pixels(part, POINTS), pixels(SHOW, POINTS) - [200, -30])


@pytest.mark.parametrize("size", [(512, 512), (128, 128), (768, 512), (512, 768)])
def test_default_camera_is_a_crop_of_shows(size: tuple[int, int]) -> None:
    camera = default_camera(*size)
    scale = min(size) / 720
    assert camera.size == size
    np.testing.assert_allclose(pixels(camera, np.zeros((1, 3)))[0, 0], size[0] / 2)
    shift = pixels(camera, POINTS) - pixels(SHOW, POINTS) * scale
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-9)


def test_json_round_trip() -> None:
    camera = default_camera(640, 360)
    assert Camera.from_dict(json.loads(json.dumps(camera.to_dict()))) == camera


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"focal_px": (0.0, 1.0)}, "needs to be more than 0"),
        ({"size": (0, 5)}, "at least 1 x 1"),
        ({"translation": (0.0, float("nan"), 0.0)}, "not finite"),
    ],
)
def test_impossible_camera_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        replace(SHOW, **changes)
