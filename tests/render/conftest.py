"""A body, a real motion and the camera of the published frames for the tests of the renderer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from anchor_core.body import BodyModel, standin_body
from anchor_core.motion import Camera, Motion, default_camera, read_motion
from anchor_core.motion.place import PLACE_ROOT, PLACE_TRANSLATION


@pytest.fixture(scope="session")
def body() -> BodyModel:
    """The body that ships with the pack."""
    return standin_body()


@pytest.fixture(scope="session")
def show_motion(shared_data: Path) -> Motion:
    """300 frames of SHOW with its camera."""
    return read_motion(shared_data / "show" / "all.pkl")


@pytest.fixture(scope="session")
def show_camera(show_motion: Motion) -> Camera:
    """The crop of SHOW's picture that shows the person as in the published frames, 512 x 512."""
    assert show_motion.camera is not None
    return show_motion.camera.cropped(500, 0, 720, 720).resized(512, 512)


@pytest.fixture(scope="session")
def motion() -> Motion:
    """Five frames in front of the default camera; arms swing down, the mouth opens."""
    pose = np.zeros((5, 55, 3), np.float32)
    pose[:, 0] = PLACE_ROOT
    pose[:, 16, 2] = np.linspace(-0.6, -1.1, 5)
    pose[:, 17, 2] = np.linspace(0.6, 1.1, 5)
    pose[:, 22, 0] = np.linspace(0.1, 0.35, 5)
    place = np.tile(np.float32(PLACE_TRANSLATION), (5, 1))
    return Motion(pose, place, np.zeros((5, 0), np.float32), expression_space="none")


@pytest.fixture
def camera() -> Camera:
    """A small default camera."""
    return default_camera(96, 96)


@pytest.fixture
def near_camera() -> Camera:
    """A camera at the origin that sees a square of 1 m at 1 m: 10 px per metre, 10 x 10 px."""
    return Camera(focal_px=(10.0, 10.0), center_px=(5.0, 5.0), size=(10, 10), translation=(0.0, 0.0, 0.0))


@pytest.fixture
def square() -> tuple[torch.Tensor, torch.Tensor]:
    """A square of 0.6 m that faces the camera from 1 m away: vertices (1, 4, 3), faces (2, 3)."""
    corners = [[-0.3, -0.3, -1.0], [0.3, -0.3, -1.0], [0.3, 0.3, -1.0], [-0.3, 0.3, -1.0]]
    return torch.tensor([corners]), torch.tensor([[0, 1, 2], [0, 2, 3]])
