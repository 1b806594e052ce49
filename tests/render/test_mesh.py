"""Pictures of the body against the published frames and against what a renderer owes its callers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from anchor_core.body import BodyModel, pose_motion
from anchor_core.errors import AnchorError
from anchor_core.motion import Camera, Motion, default_camera
from anchor_core.render import raster
from anchor_core.render.mesh import MeshFrames, render_mesh
from anchor_core.render.raster import SAMPLES_4X, project

Square = tuple[Tensor, Tensor]
UNLIT = torch.tensor([85.0, 108.0, 112.0])


@pytest.fixture(scope="module")
def show_frames(show_motion: Motion, show_camera: Camera, body: BodyModel) -> MeshFrames:
    vertices = [pose_motion(body, show_motion, i, i + 1).vertices for i in range(1, 300, 23)]
    return render_mesh(torch.cat(vertices), body.faces, show_camera)


def inner_pixels(levels: Tensor) -> Tensor:
    """(n, 3) colours of body pixels (F, H, W, 3) that lie at least 3 px inside of the silhouette."""
    outside = (levels.amax(-1) <= 40).float()
    return levels[torch.nn.functional.max_pool2d(outside, 7, 1, 3) == 0]


def test_look_has_the_percentiles_of_the_published_frames(show_frames: MeshFrames, shared_data: Path) -> None:
    paths = sorted((shared_data / "seth1").glob("*.png"))[::8]
    published = torch.stack([torch.from_numpy(np.array(Image.open(path).convert("RGB"))) for path in paths])
    ours, theirs = inner_pixels(show_frames.image * 255), inner_pixels(published.float())
    for share in (0.25, 0.5, 0.95):
        # By sorting: torch.quantile refuses so many pixels.
        a, b = (pixels.sort(0).values[int(share * len(pixels))] for pixels in (ours, theirs))
        assert (a - b).abs().max() <= 8, f"{share}: ours {a.tolist()}, published {b.tolist()}"


def test_darkest_body_colour_is_the_unlit_one_and_the_background_is_zero(show_frames: MeshFrames) -> None:
    body_colors = show_frames.image[show_frames.mask == 1] * 255
    assert (body_colors.amin(0) - UNLIT).abs().max() <= 1
    background = show_frames.mask == 0
    assert background.float().mean() > 0.3
    assert not show_frames.image[background].any()
    assert not show_frames.depth[background].any()


def test_levels_are_whole_and_depth_is_that_of_the_body(show_frames: MeshFrames, show_camera: Camera) -> None:
    levels = show_frames.image * 255
    assert (levels - levels.round()).abs().max() < 1e-4
    assert show_frames.image.dtype == show_frames.mask.dtype == show_frames.depth.dtype == torch.float32
    assert set(show_frames.mask.unique().tolist()) == {0, 0.25, 0.5, 0.75, 1}
    depth = show_frames.depth[show_frames.mask > 0]
    assert show_camera.translation[2] - 1.2 < depth.min() < depth.max() < show_camera.translation[2] + 1.2


def test_open_mouth_is_black(body: BodyModel, motion: Motion) -> None:
    pose = motion.pose[:2].copy()
    pose[0, 22], pose[1, 22] = 0.0, (0.4, 0.0, 0.0)
    posed = pose_motion(body, replace(motion.sliced(0, 2), pose=pose))
    camera = default_camera(512, 512)
    image = render_mesh(posed.vertices, body.faces, camera).image
    lips, _ = project(posed.landmarks[:, 60:68], camera)  # the inner outline of the lips
    dark = []
    for frame, outline in zip(image, lips, strict=True):
        (x0, y0), (x1, y1) = outline.amin(0).int().tolist(), outline.amax(0).int().tolist()
        dark.append(int((frame[y0 : y1 + 1, x0 : x1 + 1].amax(-1) == 0).sum()))
    assert dark[0] <= 2
    assert dark[1] > 60
    x, y = lips[1].mean(0).int().tolist()
    assert not image[1, y, x].any()


def test_colours_keep_their_order_through_files(square: Square, near_camera: Camera, tmp_path: Path) -> None:
    image = render_mesh(*square, near_camera).image[0]
    red, green, blue = (image[5, 5] * 255).round().int().tolist()
    assert red < green < blue  # the material is teal
    path = tmp_path / "frame.png"
    Image.fromarray((image * 255).round().byte().numpy(), "RGB").save(path)
    with av.open(str(path)) as file:
        assert next(file.decode()).to_ndarray(format="bgr24")[5, 5].tolist() == [blue, green, red]


def test_square_covers_its_pixels_at_its_depth(square: Square, near_camera: Camera) -> None:
    frames = render_mesh(*square, near_camera)
    expected = torch.zeros(10, 10)
    expected[2:8, 2:8] = 1
    assert torch.equal(frames.mask[0], expected)
    assert torch.allclose(frames.depth[0], expected)  # 1 m away


def test_square_seen_from_behind_is_invisible(square: Square, near_camera: Camera) -> None:
    frames = render_mesh(square[0], square[1].flip(1), near_camera)
    assert not frames.mask.any()


@pytest.mark.parametrize("shift", [(0.0, 0.0, 2.0), (0.0, 0.0, 1.0), (50.0, 0.0, 0.0), (0.0, -50.0, 0.0)])
def test_mesh_outside_the_view_gives_black(
    square: Square, near_camera: Camera, shift: tuple[float, ...]
) -> None:
    frames = render_mesh(square[0] + torch.tensor(shift), square[1], near_camera)
    assert not frames.image.any()
    assert not frames.mask.any()
    assert not frames.depth.any()


def test_no_faces_give_black(square: Square, near_camera: Camera) -> None:
    assert not render_mesh(square[0], square[1][:0], near_camera).image.any()


def test_antialiasing_is_the_mean_of_four_sample_renders(
    body: BodyModel, motion: Motion, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    vertices = pose_motion(body, motion, 0, 1).vertices
    smooth = render_mesh(vertices, body.faces, camera)
    single = []
    for sample in SAMPLES_4X:
        monkeypatch.setattr(raster, "CENTER", (sample,))
        single.append(render_mesh(vertices, body.faces, camera, antialias=False))
    mean = torch.stack([part.image for part in single]).mean(0)
    assert (smooth.image - mean).abs().max() * 255 <= 0.5 + 1e-4  # the last rounding
    assert torch.equal(smooth.mask, torch.stack([part.mask for part in single]).mean(0))


def test_result_is_the_same_again_and_in_a_worker_thread(
    body: BodyModel, motion: Motion, camera: Camera
) -> None:
    vertices = pose_motion(body, motion, 0, 2).vertices
    here = render_mesh(vertices, body.faces, camera)
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(render_mesh, vertices, body.faces, camera).result()
    for again in (render_mesh(vertices, body.faces, camera), there):
        assert all(
            torch.equal(getattr(here, name), getattr(again, name)) for name in ("image", "mask", "depth")
        )


def test_frames_do_not_depend_on_their_neighbours(body: BodyModel, motion: Motion, camera: Camera) -> None:
    vertices = pose_motion(body, motion).vertices
    together = render_mesh(vertices, body.faces, camera)
    alone = render_mesh(vertices[3:4], body.faces, camera)
    assert torch.equal(together.image[3:4], alone.image)
    assert together.image[0].ne(together.image[4]).any()


def test_picture_of_another_shape_is_a_window_on_the_same(body: BodyModel, motion: Motion) -> None:
    vertices = pose_motion(body, motion, 0, 1).vertices
    whole = render_mesh(vertices, body.faces, default_camera(128, 128))
    part = render_mesh(vertices, body.faces, default_camera(128, 128).cropped(16, 8, 80, 104))
    assert part.image.shape == (1, 104, 80, 3)
    assert part.mask.shape == part.depth.shape == (1, 104, 80)
    assert torch.equal(part.mask, whole.mask[:, 8:112, 16:96])


def test_progress_counts_frames_shows_them_and_may_stop(
    body: BodyModel, motion: Motion, camera: Camera
) -> None:
    vertices, seen = pose_motion(body, motion, 0, 3).vertices, []

    def count(done: int, total: int, preview: np.ndarray) -> None:
        seen.append((done, total, preview.shape, preview.dtype))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_mesh(vertices, body.faces, camera, progress=count)
    assert seen == [(1, 3, (96, 96, 3), np.uint8), (2, 3, (96, 96, 3), np.uint8)]


def bad_vertices(vertices: Tensor, faces: Tensor, camera: Camera) -> MeshFrames:
    return render_mesh(vertices[0], faces, camera)


def no_frames(vertices: Tensor, faces: Tensor, camera: Camera) -> MeshFrames:
    return render_mesh(vertices[:0], faces, camera)


def not_finite(vertices: Tensor, faces: Tensor, camera: Camera) -> MeshFrames:
    broken = vertices.repeat(3, 1, 1)
    broken[1, 2, 0] = torch.nan
    return render_mesh(broken, faces, camera)


def int_faces(vertices: Tensor, faces: Tensor, camera: Camera) -> MeshFrames:
    return render_mesh(vertices, faces.int(), camera)


def other_faces(vertices: Tensor, faces: Tensor, camera: Camera) -> MeshFrames:
    return render_mesh(vertices, faces + 3, camera)


def huge(vertices: Tensor, faces: Tensor, camera: Camera) -> MeshFrames:
    return render_mesh(vertices, faces, camera.resized(20000, 100))


def half_pixels(vertices: Tensor, faces: Tensor, camera: Camera) -> MeshFrames:
    return render_mesh(vertices, faces, replace(camera, size=(10.5, 10)))


def unknown_backend(vertices: Tensor, faces: Tensor, camera: Camera) -> MeshFrames:
    return render_mesh(vertices, faces, camera, backend="vulkan")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (bad_vertices, r"vertices have shape \(4, 3\): they need \(frames, vertices, 3\)"),
        (no_frames, "at least one frame"),
        (not_finite, r"not finite in frame 1 \(1 bad frames of 3\)"),
        (int_faces, r"type torch.int32: they need \(faces, 3\), int64"),
        (other_faces, "points outside of the 4 vertices: use the body's own faces"),
        (huge, "20000 x 100: both sides need whole pixels from 1 to 8192"),
        (half_pixels, "10.5 x 10: both sides need whole pixels"),
        (unknown_backend, "'vulkan': use one of torch, pyrender"),
    ],
)
def test_bad_input_is_one_clear_sentence(
    call: Callable[[Tensor, Tensor, Camera], MeshFrames], message: str, square: Square, near_camera: Camera
) -> None:
    with pytest.raises(AnchorError, match=message):
        call(*square, near_camera)
