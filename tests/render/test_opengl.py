"""The OpenGL backend: what it says without pyrender, and how close the torch backend is to it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from torch import Tensor

from anchor_core.body import BodyModel, pose_motion
from anchor_core.errors import AnchorError
from anchor_core.motion import Camera, Motion, default_camera
from anchor_core.render.mesh import MeshFrames, render_mesh

Square = tuple[Tensor, Tensor]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has a sentence of its own")
def test_missing_pyrender_is_one_clear_sentence(
    square: Square, near_camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyrender", None)
    with pytest.raises(
        AnchorError, match=r"install it with `pip install pyrender`.*or use the renderer 'torch'"
    ):
        render_mesh(*square, near_camera, backend="pyrender")


def test_macos_is_refused_before_opengl_is_touched(
    square: Square, near_camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(AnchorError, match="does not work on macOS: use the renderer 'torch'"):
        render_mesh(*square, near_camera, backend="pyrender")


def test_edges_without_smoothing_are_refused(square: Square, near_camera: Camera) -> None:
    with pytest.raises(AnchorError, match="always smooths edges"):
        render_mesh(*square, near_camera, antialias=False, backend="pyrender")


@pytest.fixture(scope="module")
def both(body: BodyModel, motion: Motion) -> tuple[MeshFrames, MeshFrames]:
    """The same two frames by torch and by OpenGL, the second in a worker thread as in the host."""
    pytest.importorskip("pyrender", reason="pyrender is not installed: the OpenGL backend is optional")
    vertices, camera = pose_motion(body, motion, 0, 2).vertices, default_camera(256, 256)
    with ThreadPoolExecutor(1) as pool:
        opengl = pool.submit(render_mesh, vertices, body.faces, camera, backend="pyrender").result()
    return render_mesh(vertices, body.faces, camera), opengl


def test_torch_draws_what_opengl_draws(both: tuple[MeshFrames, MeshFrames]) -> None:
    torch_frames, opengl = both
    difference = (torch_frames.image - opengl.image).abs() * 255
    assert difference.mean() < 0.05
    assert (difference.amax(-1) > 2).float().mean() < 0.001
    assert (torch_frames.mask - opengl.mask).abs().mean() < 0.001
    inside = (torch_frames.mask == 1) & (opengl.depth > 0)
    assert (torch_frames.depth - opengl.depth)[inside].abs().mean() < 0.01


def test_opengl_works_twice_in_one_process_and_reports_progress(
    both: object, square: Square, near_camera: Camera
) -> None:
    seen: list[tuple[int, int, type]] = []
    for _ in range(2):
        frames = render_mesh(
            *square,
            near_camera,
            backend="pyrender",
            progress=lambda done, total, image: seen.append((done, total, type(image))),
        )
        assert frames.mask.sum() == 36
    assert seen == [(1, 1, np.ndarray)] * 2
