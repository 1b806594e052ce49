"""Meshes drawn in the crop: what is left out of the work changes no pixel of the picture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from anchor_core.body import BodyModel, pose_motion
from anchor_core.face.align import CROP, crop_matrices, five_points, similarity, transform
from anchor_core.face.crop import CropRenderer, MeshCrop
from anchor_core.motion import Camera, Motion, default_camera
from anchor_core.render.mesh import draw_fragments, render_mesh
from anchor_core.render.raster import SAMPLES_4X, fragments, project, rasterize

Pose = Callable[..., Motion]


def renderer(body: BodyModel, camera: Camera, size: int, **changes: float) -> CropRenderer:
    given = {"forehead": 0.45, "fill": True, "dilation": 0.03}
    return CropRenderer(body, camera, size, **given | changes)  # type: ignore[arg-type]


def placed(body: BodyModel, camera: Camera, motion: Motion, size: int) -> tuple[Tensor, Tensor]:
    """Vertices (F, V, 3) and matrices (F, 2, 3) to crops of `size`."""
    posed = pose_motion(body, motion)
    points = five_points(project(posed.landmarks, camera)[0]) - 0.5
    return posed.vertices, crop_matrices(similarity(points), size)


def in_crop(vertices: Tensor, camera: Camera, matrix: Tensor) -> tuple[Tensor, Tensor]:
    screen_xy, depth = project(vertices, camera)
    return transform(screen_xy[None].double() - 0.5, matrix[None])[0].float() + 0.5, depth


@pytest.mark.parametrize("size", [64, 256])
def test_picture_is_that_of_the_whole_body(body: BodyModel, camera: Camera, talk: Motion, size: int) -> None:
    """Triangles beyond the crop are left out; normals at its border still know their neighbours."""
    vertices, matrices = placed(body, camera, talk, size)
    draw = renderer(body, camera, size)
    for points, matrix in zip(vertices[::3], matrices[::3], strict=True):
        actual = draw.draw(points, matrix)
        screen_xy, depth = project(points, camera)
        single = matrix.to(screen_xy)
        crop_xy = (screen_xy - 0.5) @ single[:, :2].T + single[:, 2] + 0.5
        picture = fragments(crop_xy, depth, body.faces, size, size, extrapolate=True)
        shown = draw_fragments(picture, points, body.faces, camera, (size, size))
        assert torch.equal(actual.image, shown[..., :3].mul(255).round().to(torch.uint8))
        assert actual.image[-1].any(), "the body reaches the border of this crop"


def test_work_is_a_part_of_the_body(body: BodyModel, camera: Camera, talk: Motion) -> None:
    vertices, matrices = placed(body, camera, talk, 64)
    crop_xy, depth = in_crop(vertices[0], camera, matrices[0])
    near = renderer(body, camera, 64)._near(crop_xy)
    shown = rasterize(crop_xy, depth, body.faces, 64, 64, SAMPLES_4X)
    assert len(near) < len(body.faces) / 2
    assert set(shown[shown >= 0].tolist()) <= set(near.tolist())


def test_triangles_larger_than_the_crop_are_drawn(body: BodyModel, camera: Camera) -> None:
    """All corners beyond the crop, and the crop inside of the triangle."""
    draw = renderer(body, camera, 64)
    crop_xy = torch.full((body.n_vertices, 2), -1000.0)
    crop_xy[body.faces[7]] = torch.tensor([[-500.0, -500.0], [-500.0, 900.0], [900.0, -500.0]])
    assert 7 in draw._near(crop_xy).tolist()


def test_identity_crop_is_the_render(body: BodyModel, talk: Motion) -> None:
    """A crop that is the frame itself, pixel by pixel."""
    camera = default_camera(128, 128)
    vertices = pose_motion(body, talk.sliced(0, 1)).vertices
    matrix = torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    actual = renderer(body, camera, 128).draw(vertices[0], matrix).image
    expected = render_mesh(vertices, body.faces, camera).image[0].mul(255).round().to(torch.uint8)
    different = (actual != expected).any(-1)
    assert different.sum() <= 4, "a corner may fall to the other side of 1/256 px"


def test_mask_is_the_faces_pixels(body: BodyModel, camera: Camera, posed: Pose) -> None:
    """Against triangles that lie in the face as a whole: only the border line differs."""
    vertices, matrices = placed(body, camera, posed(), CROP)
    draw = renderer(body, camera, CROP, dilation=0, fill=False)
    crop = draw.draw(vertices[0], matrices[0])
    crop_xy, depth = in_crop(vertices[0], camera, matrices[0])
    nearest = rasterize(crop_xy, depth, body.faces, CROP, CROP)[0]
    inside = draw.inside[body.faces] > 0
    head = body.skin_weights[:, [15, 22, 23, 24]].sum(1) > 0.5
    sure = inside.all(1) & head[body.faces].all(1)
    possible = inside.any(1) & head[body.faces].any(1)
    mask = crop.mask == 255
    wanted, allowed = ((nearest >= 0) & which[nearest] for which in (sure, possible))
    assert (wanted & ~mask).sum() < 0.01 * mask.sum()
    assert (mask & ~allowed).sum() < 0.01 * mask.sum()
    assert crop.seen == 1


def test_seen_is_the_share_that_a_hand_leaves(
    body: BodyModel, camera: Camera, posed: Pose, hand_before_face: tuple[float, float, float]
) -> None:
    free, covered = (_drawn(body, camera, motion) for motion in (posed(), posed(hand=hand_before_face)))
    share = float((covered.mask == 255).sum()) / float((free.mask == 255).sum())
    assert free.seen == 1
    assert covered.seen == pytest.approx(share, abs=0.06)
    assert covered.seen < 0.7


def _drawn(body: BodyModel, camera: Camera, motion: Motion) -> MeshCrop:
    vertices, matrices = placed(body, camera, motion, 256)
    return renderer(body, camera, 256, dilation=0, fill=False).draw(vertices[0], matrices[0])
