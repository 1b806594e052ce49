"""A filmed presenter whose motion, camera and shape are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from anchor_core.demo.gestures import make_motion
from anchor_core.demo.identity import make_identity
from anchor_core.demo.nuisance import make_nuisance
from anchor_core.demo.presenter import Presenter
from anchor_core.motion.camera import Camera, default_camera
from anchor_core.motion.file import save_motion
from anchor_core.motion.motion import Motion
from anchor_core.render.mesh import to_bytes
from anchor_core.video.write import write_video

WIDTH, HEIGHT, FRAMES, FPS = 224, 128, 20, 25.0


@dataclass(frozen=True, eq=False)
class Film:
    """A video file, the file of its motion, and both as they are in memory."""

    video: Path
    motion_file: Path
    frames: np.ndarray
    motion: Motion
    camera: Camera


def film(folder: Path, name: str = "ada", person: int = 3, n_frames: int = FRAMES) -> Film:
    """Write `name`.mp4 and `name`.npz."""
    camera = default_camera(WIDTH, HEIGHT)
    identity = make_identity(person)
    motion = replace(
        make_motion(person, n_frames, FPS), betas=np.array(identity.betas, np.float32), camera=camera
    )
    frames = to_bytes(Presenter(identity).render(motion, make_nuisance(motion, person), camera))
    video, file = folder / f"{name}.mp4", folder / f"{name}.npz"
    write_video(video, frames, FPS)
    save_motion(motion, file)
    return Film(video, file, frames, motion, camera)


@pytest.fixture(scope="session")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Twenty frames of a presenter in a video that is wider than high."""
    return film(tmp_path_factory.mktemp("ada"))


@pytest.fixture(scope="session")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Another person, shorter."""
    return film(tmp_path_factory.mktemp("bob"), "bob", 5, 12)
