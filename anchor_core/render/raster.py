"""Triangles on a pixel grid: projection, exact coverage with a depth test, perspective-correct fragments.

Plain tensor operations on any device and in any thread; no OpenGL. Faces are cut into the rows of samples
that they cross, so that only covered samples are ever touched. Conventions are OpenGL's: counter-clockwise
faces are in front, a pixel's centre lies at + 0.5, corners snap to 1/256 px, and of two faces that share an
edge exactly one owns a sample on it. Deviation: a face that reaches closer to the camera than `NEAR_M` is
left out as a whole, not clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..motion.camera import Camera

NEAR_M = 0.05
CENTER: tuple[tuple[float, float], ...] = ((0.5, 0.5),)
"""The sample of a picture without anti-aliasing."""
SAMPLES_4X = ((0.375, 0.875), (0.875, 0.625), (0.125, 0.375), (0.625, 0.125))
"""The four samples of a pixel, x and y in [0, 1): the rotated grid of OpenGL, whose y points up, in a picture
whose y points down."""

_SUBPIXELS = 256  # OpenGL implementations keep 8 bits below the pixel
_FACE_BITS = 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class Fragments:
    """One row per pair of a pixel and a face that is visible in it.

    pixel: (n,) int64, y * width + x. face: (n,) int64. barycentric: (n, 3) perspective-correct weights of the
    face's corners at the pixel's centre, with the sum 1. weight: (n,) share of the pixel's samples that show
    the face, in (0, 1]; the weights of a pixel add up to its coverage.
    """

    pixel: Tensor
    face: Tensor
    barycentric: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.pixel)

    def inside(self) -> Fragments:
        """The same with barycentric weights in [0, 1]: values stay in the range of their face."""
        return replace(self, barycentric=_clamped(self.barycentric.T).T)


def project(points: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Pixels (..., 2) and depth (...) in metres of points (..., 3): x right, y up, z to the viewer.

    Points at or behind the camera have a depth <= 0 and pixels that mean nothing.
    """
    tx, ty, tz = camera.translation
    depth = tz - points[..., 2]
    safe = torch.where(depth.abs() > 1e-9, depth, 1e-9)
    x = camera.center_px[0] + camera.focal_px[0] * (points[..., 0] - tx) / safe
    y = camera.center_px[1] - camera.focal_px[1] * (points[..., 1] + ty) / safe
    return torch.stack([x, y], dim=-1), depth


@torch.no_grad()
def rasterize(
    screen_xy: Tensor,
    depth: Tensor,
    faces: Tensor,
    width: int,
    height: int,
    samples: Sequence[tuple[float, float]] = CENTER,
    *,
    cull: bool = True,
) -> Tensor:
    """The nearest face at each sample: (S, H, W) int64, -1 where there is none.

    screen_xy: (V, 2) pixels, y down. depth: (V,) metres. faces: (T, 3) int64. samples: S places (x, y) in a
    pixel, in [0, 1). cull: leave out faces that show their back. The result does not depend on the order of
    the work; of faces at the same depth the last one wins.
    """
    device = screen_xy.device
    if device.type == "mps":  # neither float64 nor an int64 maximum by index exist there
        screen_xy, depth, faces = screen_xy.cpu(), depth.cpu(), faces.cpu()
    nearest = torch.zeros((len(samples), height * width), dtype=torch.int64, device=screen_xy.device)
    triangles = _triangles_on_screen(screen_xy, depth, faces, (width, height), cull)
    for layer, sample in zip(nearest, samples, strict=True):
        pixel, key = _covered(triangles, sample, width, height)
        layer.scatter_reduce_(0, pixel, key, "amax")
    face_index = nearest.bitwise_and_(_FACE_BITS).sub_(1)
    return face_index.view(len(samples), height, width).to(device)


@torch.no_grad()
def fragments(
    screen_xy: Tensor,
    depth: Tensor,
    faces: Tensor,
    width: int,
    height: int,
    *,
    antialias: bool = True,
    cull: bool = True,
    extrapolate: bool = False,
) -> Fragments:
    """What is to be shaded: every visible (pixel, face) once. Arguments as in `rasterize`.

    antialias: 4 samples per pixel, else the one at its centre. extrapolate: continue a face to the centre of
    a pixel that it covers only beside the centre, as OpenGL does: weights leave [0, 1] there.
    """
    samples = SAMPLES_4X if antialias else CENTER
    face_index = rasterize(screen_xy, depth, faces, width, height, samples, cull=cull)
    picture = gather_fragments(face_index, screen_xy, depth, faces)
    return picture if extrapolate else picture.inside()


@torch.no_grad()
def gather_fragments(face_index: Tensor, screen_xy: Tensor, depth: Tensor, faces: Tensor) -> Fragments:
    """The fragments, extrapolated, of a face_index (S, H, W) that `rasterize` made of the same geometry."""
    n_samples, _, width = face_index.shape
    flat = face_index.flatten(1)
    covered = (flat.amax(0) >= 0).nonzero()[:, 0]
    by_sample = [row.index_select(0, covered) for row in flat]
    rows = [_first_shown(by_sample, s) for s in range(n_samples)]
    place, face, count = (torch.cat(parts) for parts in zip(*rows, strict=True))
    pixel, weight = covered.index_select(0, place), count.to(screen_xy.dtype) / n_samples
    center = _centers(pixel, width, screen_xy.dtype)
    return Fragments(pixel, face, _barycentric(center, _corners(faces, face), screen_xy, depth), weight)


def interpolate(picture: Fragments, faces: Tensor, values: Tensor) -> Tensor:
    """Values (n, C) at the fragments from values (V, C) at the vertices; each channel is contiguous."""
    corners, weights = _corners(faces, picture.face), picture.barycentric.unbind(1)
    mixed = values.new_zeros(values.shape[1], len(picture))
    for channel, out in zip(values.T.contiguous().unbind(), mixed.unbind(), strict=True):
        for corner, weight in zip(corners, weights, strict=True):
            out.addcmul_(channel.index_select(0, corner), weight)
    return mixed.T


def resolve(picture: Fragments, colors: Tensor, width: int, height: int) -> Tensor:
    """The picture (H, W, C) of colours (n, C): each pixel's fragments by their weights, on black."""
    canvas = colors.new_zeros(colors.shape[1], height * width)
    canvas.index_add_(1, picture.pixel, colors.T * picture.weight.to(colors.dtype))
    return canvas.T.reshape(height, width, -1)


@dataclass(frozen=True, eq=False)
class _Triangles:
    """Faces that may be seen, float64 on the snapped grid.

    face: (T,) index + 1. x, y: (3, T) pixels, corners from top to bottom. slope: (3, T) dx/dy of the long
    edge, the upper and the lower edge. plane: (3, T) inverse depth as a + b x + c y.
    """

    face: Tensor
    x: Tensor
    y: Tensor
    slope: Tensor
    plane: Tensor


def _first_shown(by_sample: list[Tensor], s: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels whose sample s is the first that shows its face: their places, faces, numbers of samples."""
    shown = by_sample[s] >= 0
    for earlier in by_sample[:s]:
        shown &= earlier != by_sample[s]
    place = shown.nonzero()[:, 0]
    face = by_sample[s].index_select(0, place)
    count = torch.ones_like(face)
    for later in by_sample[s + 1 :]:
        count += later.index_select(0, place) == face
    return place, face, count


def _corners(faces: Tensor, face: Tensor) -> list[Tensor]:
    """Vertices (n,) of the three corners of faces (n,)."""
    return [corner.index_select(0, face) for corner in faces.T.contiguous().unbind()]


def _centers(pixel: Tensor, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x and y (n,) of the centres of pixels (n,)."""
    if pixel.device.type == "mps":  # no float64 there
        return (pixel % width).to(dtype) + 0.5, (pixel // width).to(dtype) + 0.5
    # Whole numbers divide several times slower than float64, in which half a pixel keeps the row exact.
    place = pixel.double()
    row = (place + 0.5).mul_(1 / width).floor_()
    return (place - row * width).to(dtype).add_(0.5), row.to(dtype).add_(0.5)


def _snap(screen_xy: Tensor) -> Tensor:
    return (screen_xy * _SUBPIXELS).round() / _SUBPIXELS


def _at(values: Tensor, index: Tensor) -> Tensor:
    """values[index] of values (n,); `index_select` is several times faster than indexing on a CPU."""
    return values.index_select(0, index.reshape(-1)).view(index.shape)


def _triangles_on_screen(
    screen_xy: Tensor, depth: Tensor, faces: Tensor, size: tuple[int, int], cull: bool
) -> _Triangles:
    x, y = _snap(screen_xy.double()).T.contiguous()
    corners = faces.T.contiguous()
    cx, cy = _at(x, corners), _at(y, corners)
    area = (cx[1] - cx[0]) * (cy[2] - cy[0]) - (cx[2] - cx[0]) * (cy[1] - cy[0])
    keep = area < 0 if cull else area != 0  # y points down: in front means negative
    keep &= _at(depth > NEAR_M, corners).all(0)
    keep &= (cx.amax(0) > 0) & (cx.amin(0) < size[0]) & (cy.amax(0) > 0) & (cy.amin(0) < size[1])
    face = keep.nonzero()[:, 0]
    cx, cy, area = (values.index_select(-1, face) for values in (cx, cy, area))
    plane = _plane(cx, cy, _at(1 / depth.double(), corners.index_select(1, face)), area)
    cx, cy = _top_to_bottom(cx, cy)
    # The slope of a flat edge is 0/0; no row of samples crosses it.
    slope = torch.stack([_slope(cx, cy, 0, 2), _slope(cx, cy, 0, 1), _slope(cx, cy, 1, 2)])
    return _Triangles(face + 1, cx, cy, slope, plane)


def _plane(x: Tensor, y: Tensor, value: Tensor, area: Tensor) -> Tensor:
    """Coefficients (3, T) of a + b x + c y through `value` at the three corners."""
    dx1, dx2, dy1, dy2 = x[1] - x[0], x[2] - x[0], y[1] - y[0], y[2] - y[0]
    dv1, dv2 = value[1] - value[0], value[2] - value[0]
    b = (dv1 * dy2 - dv2 * dy1) / area
    c = (dx1 * dv2 - dx2 * dv1) / area
    return torch.stack([value[0] - b * x[0] - c * y[0], b, c])


def _top_to_bottom(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Corners (3, T) sorted by y: three exchanges are much faster than a sort of so short rows."""
    xs, ys = list(x), list(y)
    for i, j in ((0, 1), (1, 2), (0, 1)):
        swap = ys[i] > ys[j]
        xs[i], xs[j] = torch.where(swap, xs[j], xs[i]), torch.where(swap, xs[i], xs[j])
        ys[i], ys[j] = torch.where(swap, ys[j], ys[i]), torch.where(swap, ys[i], ys[j])
    return torch.stack(xs), torch.stack(ys)


def _slope(x: Tensor, y: Tensor, i: int, j: int) -> Tensor:
    return (x[j] - x[i]) / (y[j] - y[i])


def _covered(
    triangles: _Triangles, sample: tuple[float, float], width: int, height: int
) -> tuple[Tensor, Tensor]:
    """Pixels (n,) whose sample is inside a triangle, and keys (n,) that order them by nearness.

    A key holds the bits of the inverse depth above the number of the face + 1: positive floats sort like
    whole numbers, and 0 is free for nothing.
    """
    sx, sy = sample
    top, n_rows = _inside(triangles.y[0] - sy, triangles.y[2] - sy, height)
    triangle, step = _expand(n_rows)
    row = _at(top, triangle) + step
    left, right = _crossings(triangles, triangle, row + sy)
    first, n_columns = _inside(left - sx, right - sx, width)
    a, b, c = (_at(coefficient, triangle) for coefficient in triangles.plane)
    start = a + b * (first + sx) + c * (row + sy)
    run, step = _expand(n_columns)
    pixel = _at((row * width + first).long(), run) + step
    inverse = _at(start.float(), run) + _at(b.float(), run) * step.float()
    return pixel, (inverse.view(torch.int32).long() << 32) | _at(_at(triangles.face, triangle), run)


def _inside(low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First whole number in [low, high) and how many there are, within 0 to size - 1."""
    first = low.ceil().clamp_(0, size)
    return first, (high.ceil().clamp_(0, size) - first).clamp_(min=0).long()


def _expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """For runs of `counts` elements laid end to end: the run of each element, and its place in the run."""
    run = torch.repeat_interleave(counts)
    start = counts.cumsum(0) - counts
    return run, torch.arange(len(run), device=run.device) - _at(start, run)


def _crossings(triangles: _Triangles, triangle: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Where the rows at y enter and leave their triangles, in pixels.

    Each edge is computed from its upper end: two faces that share it get the same bits, so there is neither
    a gap nor a doubled sample between them.
    """
    x, tops = triangles.x, triangles.y
    long_edge = _at(x[0], triangle) + (y - _at(tops[0], triangle)) * _at(triangles.slope[0], triangle)
    # The row meets the upper edge, from corner 0, or the lower one, from corner 1.
    corner = triangle + len(triangles.face) * (y >= _at(tops[1], triangle))
    upper_y = _at(tops.view(-1), corner)
    short_edge = _at(x.view(-1), corner) + (y - upper_y) * _at(triangles.slope[1:].view(-1), corner)
    return torch.minimum(long_edge, short_edge), torch.maximum(long_edge, short_edge)


def _barycentric(
    center: tuple[Tensor, Tensor], corners: list[Tensor], screen_xy: Tensor, depth: Tensor
) -> Tensor:
    """Perspective-correct weights (n, 3) of the corners, three of (n,), at the centres of pixels (n,)."""
    x, y = _snap(screen_xy).T.contiguous()
    inverse = 1 / depth
    dx, dy = (
        [_at(axis, corner).sub_(at) for corner in corners] for axis, at in zip((x, y), center, strict=True)
    )
    weights = dx[0].new_empty(3, len(dx[0]))
    for out, (i, j) in zip(weights.unbind(), ((1, 2), (2, 0), (0, 1)), strict=True):
        torch.mul(dx[i], dy[j], out=out).sub_(dx[j] * dy[i])  # twice an area
    sign = weights.sum(0).sign_()  # positive inside, also for a face that shows its back
    for out, corner in zip(weights.unbind(), corners, strict=True):
        out.mul_(sign).mul_(_at(inverse, corner))
    total = weights.sum(0)
    # The plane of a face seen edge-on may leave the view before it reaches the pixel's centre.
    outside = (total <= 0).nonzero()[:, 0]
    edge_on = _clamped(weights.index_select(1, outside))
    return weights.div_(total).index_copy_(1, outside, edge_on).T


def _clamped(weights: Tensor) -> Tensor:
    """Weights (3, n) without negative ones, with the sum 1."""
    weights = weights.clamp(min=0)
    return weights / weights.sum(0).clamp_(min=torch.finfo(weights.dtype).tiny)
