"""Coverage, depth and interpolation against hand-made triangles and a plain reference, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anchor_core.motion import Camera
from anchor_core.render.raster import (
    CENTER,
    NEAR_M,
    SAMPLES_4X,
    fragments,
    gather_fragments,
    interpolate,
    project,
    rasterize,
    resolve,
)

# Counter-clockwise as seen, y down: left upper, left lower, right upper corner.
CORNER = torch.tensor([[0.0, 0.0], [0.0, 8.0], [8.0, 0.0]], dtype=torch.float64)
ONE_FACE = torch.tensor([[0, 1, 2]])


def depths(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random_triangles(n: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Triangles without order, some outside: screen (3n, 2), depth (3n,), faces (n, 3)."""
    generator = torch.Generator().manual_seed(seed)
    xy = (torch.rand(3 * n, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3) * size
    xy = (xy * 256).round() / 256 + 1 / 1024  # off the grid of the samples, still on one side of the snap
    depth = torch.rand(3 * n, generator=generator, dtype=torch.float64) * 4 + 1
    return xy, depth, torch.arange(3 * n).view(n, 3)


def reference(xy: Tensor, depth: Tensor, faces: Tensor, size: int, sample: tuple[float, float]) -> Tensor:
    """Nearest front face (H, W) by the edge functions of every triangle at every pixel."""
    xy = (xy * 256).round() / 256
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    points = torch.stack([x + sample[0], y + sample[1]], -1).double()
    best, nearest = torch.zeros(size, size, dtype=torch.float64), torch.full((size, size), -1)
    for index, face in enumerate(faces):
        corner = xy[face]
        weights = torch.stack(
            [cross(corner[(i + 1) % 3] - points, corner[(i + 2) % 3] - points) for i in range(3)]
        )
        weights = weights / cross(corner[1] - corner[0], corner[2] - corner[0])
        inverse = (weights / depth[face][:, None, None]).sum(0)
        front = cross(corner[1] - corner[0], corner[2] - corner[0]) < 0
        closer = (weights > 0).all(0) & front & (inverse > best)
        best, nearest = torch.where(closer, inverse, best), torch.where(closer, index, nearest)
    return nearest


def cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def test_triangle_covers_the_pixels_whose_centre_is_inside() -> None:
    face_index = rasterize(CORNER, depths(1, 1, 1), ONE_FACE, 10, 9)
    y, x = torch.meshgrid(torch.arange(9), torch.arange(10), indexing="ij")
    # The long edge goes through the centres with x + y = 7: of two faces there the right one owns them.
    assert face_index.shape == (1, 9, 10)
    assert torch.equal(face_index[0] == 0, x + y < 7)


@pytest.mark.parametrize("sample", [CENTER[0], *SAMPLES_4X])
def test_random_triangles_match_the_edge_functions(sample: tuple[float, float]) -> None:
    xy, depth, faces = random_triangles(40, 24)
    found = rasterize(xy, depth, faces, 24, 24, (sample,))[0]
    assert torch.equal(found, reference(xy, depth, faces, 24, sample))
    assert len(found.unique()) > 5


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_share_every_sample_without_gap_or_doubling(seed: int) -> None:
    side, generator = 9, torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    xy = torch.stack([x, y], -1).double() * 4 - 4
    if seed:  # seed 0: corners and edges exactly on samples
        xy[1:-1, 1:-1] += (
            torch.rand(side - 2, side - 2, 2, generator=generator, dtype=torch.float64) * 3 - 1.5
        )
    else:
        xy += 0.5
    first = (y * side + x)[:-1, :-1].reshape(-1)
    faces = torch.cat(
        [
            torch.stack([first, first + side, first + 1], 1),
            torch.stack([first + 1, first + side, first + side + 1], 1),
        ]
    )
    flat = torch.ones(side * side, dtype=torch.float64)
    one = rasterize(xy.view(-1, 2), flat, faces, 24, 24, SAMPLES_4X)
    other = rasterize(xy.view(-1, 2), flat, faces.flip(0), 24, 24, SAMPLES_4X)
    assert (one >= 0).all()
    assert torch.equal(one, len(faces) - 1 - other)  # a doubled sample would go to the last face both times


def test_interpolation_is_perspective_correct() -> None:
    camera = Camera(focal_px=(8.0, 8.0), center_px=(4.0, 4.0), size=(8, 8), translation=(0.0, 0.0, 0.0))
    points = torch.tensor([[-1.0, -1, -2], [3.0, -3, -6], [-0.4, 0.4, -0.8]], dtype=torch.float64)
    xy, depth = project(points, camera)
    assert torch.allclose(xy * 256, (xy * 256).round())  # the snap changes nothing
    picture = fragments(xy, depth, ONE_FACE, 8, 8, antialias=False)
    assert len(picture) > 10
    assert torch.allclose(picture.barycentric.sum(1), torch.ones(len(picture), dtype=torch.float64))
    # The interpolated point lies on the ray through the pixel's centre.
    seen, distance = project(interpolate(picture, ONE_FACE, points), camera)
    center = torch.stack([picture.pixel % 8 + 0.5, picture.pixel // 8 + 0.5], 1).double()
    assert torch.allclose(seen, center, atol=1e-12)
    plane = torch.linalg.solve(points, torch.ones(3, dtype=torch.float64))  # plane . point = 1
    ray = torch.cat([(center - 4) / 8 * torch.tensor([1.0, -1.0]).double(), -torch.ones(len(center), 1)], 1)
    assert torch.allclose(distance, 1 / (ray @ plane), atol=1e-12)


def test_nearer_face_wins_in_any_order() -> None:
    xy, depth = torch.cat([CORNER, CORNER]), depths(2, 2, 2, 1, 1, 1)
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    assert rasterize(xy, depth, faces, 8, 8).max() == 1
    assert rasterize(xy, depth, faces.flip(0), 8, 8).max() == 0


def test_backs_are_culled_unless_asked_for() -> None:
    back = ONE_FACE.flip(1)
    assert (rasterize(CORNER, depths(1, 1, 1), back, 8, 8) == -1).all()
    assert (rasterize(CORNER, depths(1, 1, 1), back, 8, 8, cull=False) >= 0).any()
    shown = fragments(CORNER, depths(1, 2, 3), back, 8, 8, cull=False)
    front = fragments(CORNER, depths(1, 2, 3), ONE_FACE, 8, 8)
    assert torch.allclose(shown.barycentric.flip(1), front.barycentric)


@pytest.mark.parametrize("near", [-1.0, 0.0, NEAR_M / 2])
def test_faces_that_reach_behind_the_camera_are_left_out(near: float) -> None:
    assert (rasterize(CORNER, depths(1, 1, near), ONE_FACE, 8, 8) == -1).all()


@pytest.mark.parametrize("shift", [(100.0, 0.0), (-100.0, 0.0), (0.0, 1e6), (0.0, -1e6)])
def test_geometry_outside_gives_nothing(shift: tuple[float, float]) -> None:
    picture = fragments(CORNER + torch.tensor(shift), depths(1, 1, 1), ONE_FACE, 8, 8)
    assert len(picture) == 0
    assert picture.barycentric.shape == (0, 3)
    assert not resolve(picture, torch.zeros(0, 3), 8, 8).any()


def test_face_much_larger_than_the_picture_fills_it() -> None:
    picture = fragments((CORNER - 2.0) * 1e5, depths(1, 1, 1), ONE_FACE, 6, 5)
    assert torch.equal(picture.pixel, torch.arange(30))
    assert (picture.weight == 1).all()


def test_no_faces_and_degenerate_faces_give_nothing() -> None:
    assert (rasterize(CORNER, depths(1, 1, 1), torch.zeros(0, 3, dtype=torch.int64), 4, 4) == -1).all()
    line = torch.tensor([[0, 1, 1]])
    assert (rasterize(CORNER, depths(1, 1, 1), line, 4, 4, cull=False) == -1).all()


def test_fragments_hold_each_pixel_and_face_once_with_their_share() -> None:
    xy, depth, faces = random_triangles(40, 24, seed=3)
    face_index = rasterize(xy, depth, faces, 24, 24, SAMPLES_4X)
    picture = gather_fragments(face_index, xy, depth, faces)
    pairs = picture.pixel * len(faces) + picture.face
    assert len(pairs.unique()) == len(pairs)
    shares = {
        (int(p), int(f)): float(w)
        for p, f, w in zip(picture.pixel, picture.face, picture.weight, strict=True)
    }
    for (pixel, face), share in shares.items():
        assert share == (face_index.flatten(1)[:, pixel] == face).double().mean()
    coverage = resolve(picture, torch.ones(len(picture), 1, dtype=torch.float64), 24, 24)[..., 0]
    assert torch.equal(coverage, (face_index >= 0).double().mean(0))


def test_antialiasing_is_the_mean_of_four_sample_pictures() -> None:
    xy, depth, faces = random_triangles(40, 24, seed=5)
    colors = torch.randint(0, 256, (len(faces), 3), generator=torch.Generator().manual_seed(1)).double()
    single = []
    for sample in SAMPLES_4X:
        part = gather_fragments(rasterize(xy, depth, faces, 24, 24, (sample,)), xy, depth, faces)
        single.append(resolve(part, colors[part.face], 24, 24))
    together = fragments(xy, depth, faces, 24, 24)
    assert torch.equal(resolve(together, colors[together.face], 24, 24), torch.stack(single).mean(0))


def test_weights_stay_inside_unless_extrapolated() -> None:
    xy, depth, faces = random_triangles(40, 24, seed=7)
    inside = fragments(xy, depth, faces, 24, 24)
    outside = fragments(xy, depth, faces, 24, 24, extrapolate=True)
    assert inside.barycentric.min() == 0
    assert outside.barycentric.min() < 0
    for picture in (inside, outside):
        assert torch.allclose(picture.barycentric.sum(1), torch.ones(len(picture), dtype=torch.float64))
    whole = (outside.barycentric >= 0).all(1)
    assert torch.allclose(inside.barycentric[whole], outside.barycentric[whole])


def test_project_puts_the_axes_where_the_camera_says(near_camera: Camera) -> None:
    points = torch.tensor([[0.0, 0.0, -1.0], [0.2, 0.0, -1.0], [0.0, 0.2, -2.0], [0.0, 0.0, 1.0]])
    xy, depth = project(points, near_camera)
    assert torch.allclose(xy[:3], torch.tensor([[5.0, 5.0], [7.0, 5.0], [5.0, 4.0]]))
    assert torch.allclose(depth, torch.tensor([1.0, 1.0, 2.0, -1.0]))
