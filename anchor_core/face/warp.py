"""Pictures moved between the frame and the aligned crop, in floating point.

Bilinear, and averaged over the area of a new pixel where that is larger than an old one: fine patterns do not
turn into false ones that crawl while the face moves. The published way, without that, is in `published`.
Pixels have their centres at whole numbers; what lies outside a picture is 0, also in the half of a pixel
around its edge, as in cv2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import AnchorError
from .align import inverse, transform

Box = tuple[int, int, int, int]
"""Pixels of a picture: left, top, right, bottom; right and bottom are not part of it."""

_LEAST = 1e-12  # determinant, of a scale of one millionth: no face, and no reverse worth the name


def warp_to_crops(frames: Tensor, matrices: Tensor, size: int) -> Tensor:
    """Cut the aligned face out of every frame: (F, size, size, C) float32 in [0, 1].

    frames: (F, H, W, C) float in [0, 1] or uint8. matrices: (F, 2, 3), turn, scale and shift from pixels of
    the frame to pixels of a crop of `size` (`align.crop_matrices`). A crop depends on its own frame only, so
    a long clip can be given in pieces. Raises AnchorError for other shapes and for matrices without reverse.
    """
    _check("frames", frames, matrices)
    check_size("crop", (size, size))
    crops = torch.empty((len(frames), size, size, frames.shape[3]), device=frames.device)
    for crop, frame, matrix in zip(crops, frames, inverse(_on_host(matrices)), strict=True):
        crop.copy_(_sample(frame, matrix, (0, 0, size, size)))
    return crops


def warp_from_crops(
    crops: Tensor, matrices: Tensor, frame_size: tuple[int, int], *, detail: float = 1.0
) -> Tensor:
    """Put crops where they lie in the frame, 0 around them: (F, H, W, C) float32 in [0, 1].

    crops: (F, S, S, C) float in [0, 1] or uint8. matrices: (F, 2, 3), from pixels of the frame to pixels of
    these crops. frame_size: (W, H). detail: pixels that the finest detail of a crop takes. Above 1 the crop
    is an enlarged piece of a frame: averaging would blur it, so it is read bicubically (Keys 1981), which may
    leave [0, 1] a little, and averaged only as far as it is finer than the frame all the same. Only the box
    around each crop is computed. Raises AnchorError as `warp_to_crops` does.
    """
    _check("crops", crops, matrices)
    check_size("frame", frame_size)
    width, height = frame_size
    frames = torch.zeros((len(crops), height, width, crops.shape[3]), device=crops.device)
    matrices = _on_host(matrices)
    for frame, crop, matrix, back in zip(frames, crops, matrices, inverse(matrices), strict=True):
        whole = (0, 0, crop.shape[1], crop.shape[0])
        # A pixel of the crop reaches to its neighbours, two where it is read bicubically; so does one of the
        # frame.
        box = clip_box(reach(back, whole, 1 + 2 * _scale(back)), frame_size)
        frame[box[1] : box[3], box[0] : box[2]] = _sample(crop, matrix, box, detail)
    return frames


def reach(matrix: Tensor, box: Box, margin: float) -> Box:
    """The upright box around the pixels of `box`, mapped by `matrix`, and a margin."""
    left, top, right, bottom = (box[0] - 1, box[1] - 1, box[2], box[3])
    corners = matrix.new_tensor([[left, top], [right, top], [left, bottom], [right, bottom]])
    placed = transform(corners[None], matrix[None])[0]
    low, high = (placed.amin(0) - margin).floor(), (placed.amax(0) + margin).ceil() + 1
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def clip_box(box: Box, size: tuple[int, int]) -> Box:
    """The part of the box inside a picture of `size` (w, h), empty where there is none."""
    left, top = min(max(box[0], 0), size[0]), min(max(box[1], 0), size[1])
    return left, top, max(min(box[2], size[0]), left), max(min(box[3], size[1]), top)


def check_size(name: str, size: tuple[int, int]) -> None:
    """Raise AnchorError for a picture to make of `size` (w, h) that has no pixels."""
    if min(size) < 1:
        raise AnchorError(
            f"The {name} is to have {size[0]} x {size[1]} pixels, width before height: need 1 x 1 or more."
        )


@dataclass(frozen=True)
class _Average:
    """How to average a picture over pixels that are `scale` times as long as its own.

    It is first reduced by a whole factor n, then read bilinearly at points that lie `spread` wide. Along each
    axis that filter has the variance (n^2 - 1) / 12 + n^2 / 6 + spread^2 / 12; the area of a large pixel,
    over that of a small one, has (scale^2 + 1) / 12. The two are made equal, so that no sharpness jumps while
    a face comes nearer: at scale 1 it is the bilinear reading alone, at 2 the mean of four pixels.
    """

    factor: int
    places: list[float]
    """Of the points along an axis, in pixels of the picture."""

    @staticmethod
    def over(scale: float, longest: int) -> _Average:
        """longest: side of the picture, the most that there is to average."""
        factor = max(math.floor(math.sqrt((min(scale, longest) ** 2 + 2) / 3) + 1e-9), 1)
        spread = math.sqrt(max(scale**2 + 2 - 3 * factor**2, 0.0))
        # At most 3 reduced pixels wide (before n = 2): points nearer than a pixel or so miss none.
        count = 1 if spread < 1e-3 else 2 if spread < 1.75 * factor else 3
        # Points at the middles of `count` equal parts vary less than the whole: move them apart.
        width = spread / math.sqrt(1 - 1 / count**2) if count > 1 else 0.0
        return _Average(factor, [((i + 0.5) / count - 0.5) * width for i in range(count)])


def _sample(picture: Tensor, matrix: Tensor, box: Box, detail: float = 1.0) -> Tensor:
    """The box of a new picture, (h, w, C) float32, whose pixels `matrix` maps to those of `picture`."""
    average = _Average.over(_scale(matrix) / detail, max(picture.shape[:2]))
    factor = average.factor
    read = reach(matrix, box, 3 * factor)
    # Cut at multiples of the factor: reduced pixels hold the same pixels while the face moves.
    read = (read[0] // factor * factor, read[1] // factor * factor, *read[2:])
    left, top, right, bottom = clip_box(read, (picture.shape[1], picture.shape[0]))
    width, height = box[2] - box[0], box[3] - box[1]
    if min(right - left, bottom - top, width, height) <= 0:
        return torch.zeros((max(height, 0), max(width, 0), picture.shape[2]), device=picture.device)
    source = _reduced(picture[top:bottom, left:right], factor)
    local = matrix.clone()
    local[:, 2] = local @ matrix.new_tensor([box[0], box[1], 1.0]) - matrix.new_tensor([left, top])
    local[:, 2] += 0.5 - 0.5 * factor  # the first of the reduced pixels has its centre there
    places = [x / factor for x in average.places]
    sampled = _read(source, local / factor, (width, height), places, "bicubic" if detail > 1 else "bilinear")
    return sampled / 255 if picture.dtype == torch.uint8 else sampled


def _reduced(picture: Tensor, factor: int) -> Tensor:
    """Means of factor x factor pixels, (h, w, C); beyond the right and lower edge there is 0."""
    if factor == 1:
        return picture
    height, width = picture.shape[:2]
    picture = functional.pad(picture.float(), (0, 0, 0, -width % factor, 0, -height % factor))
    rows = sum((picture[i::factor] for i in range(1, factor)), picture[::factor])
    means = sum((rows[:, i::factor] for i in range(1, factor)), rows[:, ::factor])
    return means / factor**2


def _read(picture: Tensor, matrix: Tensor, size: tuple[int, int], places: list[float], mode: str) -> Tensor:
    """Pixels (h, w, C) float32 of a new picture of `size` (w, h), read where `matrix` maps them.

    Each is the mean of readings at all pairs of `places`: offsets along x and y, in pixels of `picture`.
    """
    canvas = _canvas(picture)
    span = torch.tensor([canvas.shape[1] - 1, canvas.shape[0] - 1], dtype=torch.float64) / 2
    (xx, xy, x), (yx, yy, y) = (matrix / span[:, None]).tolist()  # grid_sample counts from -1 to 1
    columns = torch.arange(size[0], device=picture.device, dtype=torch.float32)
    rows = torch.arange(size[1], device=picture.device, dtype=torch.float32)[:, None]
    grid = torch.stack([columns * xx + (rows * xy + (x - 1)), columns * yx + (rows * yy + (y - 1))], dim=-1)
    total = torch.zeros((picture.shape[2], size[1], size[0]), device=picture.device)
    for place in torch.cartesian_prod(torch.tensor(places), torch.tensor(places)) / span:
        at = (grid + place.to(grid))[None]
        total += functional.grid_sample(canvas.permute(2, 0, 1)[None], at, mode=mode, align_corners=True)[0]
    return total.permute(1, 2, 0) / len(places) ** 2


def _canvas(picture: Tensor) -> Tensor:
    """The picture as float32, followed by 0, with sides of 2^n + 1: whole numbers stay exact from -1 to 1."""
    height, width, channels = picture.shape
    sides = [2 ** max(side - 2, 0).bit_length() + 1 for side in (height, width)]
    canvas = torch.zeros((*sides, channels), device=picture.device)
    canvas[:height, :width] = picture
    return canvas


def _scale(matrix: Tensor) -> float:
    """How many pixels of the picture it maps to, a pixel is as long as."""
    return math.sqrt(abs(float(torch.linalg.det(matrix[:, :2]))))


def _on_host(matrices: Tensor) -> Tensor:
    """In double precision where that exists: matrices are few numbers."""
    return matrices.detach().cpu().double()


def _check(name: str, pictures: Tensor, matrices: Tensor) -> None:
    """Raise AnchorError unless these are pictures (F, H, W, C), with one matrix each that can be inverted."""
    known = pictures.is_floating_point() or pictures.dtype == torch.uint8
    if pictures.ndim != 4 or 0 in pictures.shape[1:] or not known:
        raise AnchorError(
            f"Got {name} of shape {tuple(pictures.shape)} and type {pictures.dtype}: need (frames, height, "
            "width, channels) of floats in 0 to 1 or of bytes."
        )
    if matrices.shape != (len(pictures), 2, 3):
        raise AnchorError(
            f"Got matrices of shape {tuple(matrices.shape)} for {len(pictures)} {name}: need "
            f"({len(pictures)}, 2, 3), one for each."
        )
    host = _on_host(matrices)
    sound = host.isfinite().flatten(1).all(1) & (torch.linalg.det(host[..., :2]).abs() > _LEAST)
    if not bool(sound.all()):
        raise AnchorError(
            f"Matrix {int((~sound).nonzero()[0, 0])} of {len(matrices)} is not finite or maps the frame to a "
            "line: need a turn, a scale and a shift for each; leave out the frames without a face."
        )
