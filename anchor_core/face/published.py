"""The published face stage around its networks, level by level: alignment, masks and the paste of the square.

The published code leaves this to OpenCV (4.7), in 8 bits. Its arithmetic is written out here: warps read the
picture at a grid of 1/32 pixel, resizing weighs with 11 bits. It makes the crops that published weights were
trained on; `warp` and `blend` do the same in floating point. Pictures are uint8 tensors or arrays, results
are tensors.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import AnchorError
from .align import CROP, similarity, transform
from .warp import Box, check_size, clip_box, reach

ARCFACE = torch.tensor(
    [
        [[51.642, 50.115], [57.617, 49.990], [35.740, 69.007], [51.157, 89.050], [57.025, 89.702]],
        [[45.031, 50.118], [65.568, 50.872], [39.677, 68.111], [45.177, 86.190], [64.246, 86.758]],
        [[39.730, 51.138], [72.270, 51.138], [56.000, 68.493], [42.463, 87.010], [69.537, 87.010]],
        [[46.845, 50.872], [67.382, 50.118], [72.737, 68.111], [48.167, 86.758], [67.236, 86.190]],
        [[54.796, 49.990], [60.771, 50.115], [76.673, 69.007], [55.388, 89.702], [61.257, 89.050]],
    ],
    dtype=torch.float64,
)
"""(5, 5, 2) the five points at 112 pixels, from the left profile over the front to the right one."""

Picture = Tensor | np.ndarray

_FACE_CLASSES = (1, 13)  # of the parser (CelebAMask-HQ): skin to lips, with glasses, ears and earrings
_FINE = 1024  # cv2 adds up coordinates in units of 1/1024 pixel, then keeps 1/32
_WHITE = 20  # of 255: what the crop covers at all counts as covered
_ERODE, _BLUR = 40, 41  # pixels of the frame, however large the face


def similarity_arcface(points: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Align faces to the best of five poses, as published for crops of any size but 512.

    points: (F, 5, 2). Returns matrices (F, 2, 3) to a crop of `size` pixels, and for each frame the number of
    its pose in ARCFACE, (F,): the one whose points are nearest once aligned, by the sum of their distances.
    """
    poses = ARCFACE.to(points.device) * (size / 112)
    every = torch.stack([similarity(points, pose) for pose in poses])
    aligned = torch.stack([transform(points.double(), matrices) for matrices in every])
    best = (aligned - poses[:, None]).norm(dim=-1).sum(-1).argmin(0)
    return every[best, torch.arange(len(points), device=points.device)], best


def align_published(image: Picture, matrix: Picture, size: int = CROP) -> Tensor:
    """The aligned crop of one picture (H, W, 3) uint8: (size, size, 3) uint8.

    matrix: (2, 3) to the crop of 512 pixels, from which smaller ones are resized. Raises AnchorError for
    other shapes and types, as all functions of this file do.
    """
    _check_bytes("picture", image, 3)
    return resize_published(warp_published(image, matrix, (CROP, CROP)), (size, size))


def mask_from_parsing(parsing: Picture) -> Tensor:
    """The published mask picture of a parsed face: (H, W) uint8, 255 = keep, 0 = paint.

    parsing: (H, W) classes 0 to 18 of CelebAMask-HQ. The face grows by a pixel on all sides.
    """
    classes = torch.as_tensor(parsing)
    if classes.ndim != 2:
        raise AnchorError(f"Got a parsed face of shape {tuple(classes.shape)}: need (height, width) classes.")
    face = (classes >= _FACE_CLASSES[0]) & (classes <= _FACE_CLASSES[1])
    grown = functional.max_pool2d(face[None].float(), 3, stride=1, padding=1)[0]
    return (1 - grown).to(torch.uint8) * 255


def mask_at_crop(mask: Picture, size: int = 256) -> Tensor:
    """The mask picture (512, 512) at the side of the network's crop: (size, size) uint8, 1 = keep."""
    _check_bytes("mask", mask, None)
    return (resize_published(mask, (size, size)) >= 128).to(torch.uint8)


def mask_at_latents(mask: Tensor) -> Tensor:
    """The mask (S, S) at the size of its latents, (S / 8, S / 8): the first pixel of each 8 x 8."""
    return mask[::8, ::8]


def square_alpha(matrix: Picture, frame_size: tuple[int, int]) -> Tensor:
    """How much of the pasted crop shows at each pixel of the frame: (H, W) float64 in [0, 1].

    matrix: (2, 3), frame to the crop of 512. frame_size: (W, H). The square that the crop covers, 20 pixels
    smaller on each side (19 right and below) and blurred by 6.5: less than 40 pixels wide it vanishes.
    """
    check_size("frame", frame_size)
    back = _reversed(matrix)
    box = _pasted_box(back, frame_size)
    alpha = torch.zeros((frame_size[1], frame_size[0]), dtype=torch.float64)
    alpha[box[1] : box[3], box[0] : box[2]] = _alpha(back, box)
    return alpha


def blend_square(frame: Picture, face: Picture, matrix: Picture) -> Tensor:
    """Paste a generated crop into its frame as published: (H, W, 3) uint8.

    frame: (H, W, 3) uint8. face: (256, 256, 3) uint8. matrix: (2, 3), frame to the crop of 512. Colours are
    cut off, not rounded, to whole levels: where frame and face are both 255, the last bit of alpha decides
    between 255 and 254, and one pixel in a hundred differs from the published result.
    """
    _check_bytes("frame", frame, 3)
    _check_bytes("face", face, 3)
    result = torch.as_tensor(frame).clone()
    back = _reversed(matrix)
    left, top, right, bottom = box = _pasted_box(back, (result.shape[1], result.shape[0]))
    large = resize_published(face, (CROP, CROP)).float() / 255
    pasted = _warped(large, back, box).double() * 255
    alpha = _alpha(back, box)[..., None].to(pasted.device)
    region = result[top:bottom, left:right]
    region.copy_((alpha * pasted + (1 - alpha) * region).to(torch.uint8))
    return result


def warp_published(picture: Picture, matrix: Picture, size: tuple[int, int]) -> Tensor:
    """cv2.warpAffine, bilinear with border 0, as of OpenCV 4: (h, w, ...) of the type of the picture.

    picture: (H, W) or (H, W, C) uint8, float32 or float64. matrix: (2, 3), pixels of the picture to those of
    the result. size: (w, h) of the result.
    """
    given = torch.as_tensor(picture)
    if given.ndim not in (2, 3) or given.dtype not in (torch.uint8, torch.float32, torch.float64):
        raise AnchorError(
            f"Got a picture of shape {tuple(given.shape)} and type {given.dtype}: need (height, width, "
            "channels) of bytes, float32 or float64."
        )
    check_size("warped picture", size)
    return _warped(given, _rows(matrix), (0, 0, *size))


def resize_published(picture: Picture, size: tuple[int, int]) -> Tensor:
    """cv2.resize, bilinear, of a uint8 picture (H, W) or (H, W, C): (h, w, ...) uint8. size: (w, h)."""
    given = torch.as_tensor(picture)
    _check_bytes("picture", given, given.shape[-1] if given.ndim == 3 else None)
    check_size("resized picture", size)
    height, width = given.shape[:2]
    if (width, height) == tuple(size):
        return given
    flat = given.reshape(height, width, -1).int()
    if (width, height) == (2 * size[0], 2 * size[1]):  # cv2 takes the mean of four, rounded half up
        rows = flat[::2] + flat[1::2]
        resized = (rows[:, ::2] + rows[:, 1::2] + 2) >> 2
    else:
        columns, right = _taps(width, size[0], given.device)
        rows, lower = _taps(height, size[1], given.device)
        across = flat[:, columns[0]] * right[0, :, None] + flat[:, columns[1]] * right[1, :, None]
        # As cv2 has it in 16-bit steps: 8 + 11 bits, less 4, times 11 bits, less 16, the two added, less 2.
        upper, under = ((across[rows[i]] >> 4) * lower[i, :, None, None] >> 16 for i in (0, 1))
        resized = (upper + under + 2) >> 2
    return resized.to(torch.uint8).reshape(size[1], size[0], *given.shape[2:])


def _taps(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The two pixels that each of `new` pixels lies between, and their weights of 2048 together: (2, new)."""
    place = ((torch.arange(new, dtype=torch.float64) + 0.5) * (1 / (new / old)) - 0.5).float()
    first = place.floor()
    share = place - first
    weights = (torch.stack([1 - share, share]) * 2048).round().int()
    pixels = torch.stack([first, first + 1]).long().clamp(0, old - 1)
    return pixels.to(device), weights.to(device)


def _warped(picture: Tensor, matrix: list[list[float]], box: Box) -> Tensor:
    """The box of a warped picture."""
    x, y = (part.to(picture.device) for part in _places(matrix, box))
    flat = picture[..., None] if picture.ndim == 2 else picture
    whole = flat.dtype == torch.uint8
    flat = flat.int() if whole else flat
    right, lower = (x & 31)[..., None], (y & 31)[..., None]
    weights = ((32 - right) * (32 - lower), right * (32 - lower), (32 - right) * lower, right * lower)
    height, width, channels = flat.shape
    # With a border of 0, on which all places outside lie.
    pixels = functional.pad(flat, (0, 0, 1, 1, 1, 1)).view(-1, channels)
    along = [((x >> 5) + 1 + step).clamp(0, width + 1) for step in (0, 1)]
    down = [((y >> 5) + 1 + step).clamp(0, height + 1) * (width + 2) for step in (0, 1)]
    total = torch.zeros((1,), dtype=flat.dtype, device=flat.device)
    for weight, (row, column) in zip(weights, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        found = pixels.index_select(0, (down[row] + along[column]).flatten()).view(*x.shape, channels)
        total = total + found.mul_(weight if whole else weight.to(flat.dtype) / _FINE)
    # cv2 weighs bytes with 15 bits; these weights are whole numbers of 10 bits, so 10 give the same.
    total = ((total + _FINE // 2) >> 10).to(torch.uint8) if whole else total
    return total.reshape(*total.shape[:2], *picture.shape[2:])


def _places(matrix: list[list[float]], box: Box) -> tuple[Tensor, Tensor]:
    """Where in the picture the pixels of the box lie: x and y, (h, w) int32 in 1/32 of a pixel."""
    (a, b, c), (d, e, f) = matrix
    scale = a * e - b * d
    scale = 1 / scale if scale else 0.0
    a, b, d, e = e * scale, -b * scale, -d * scale, a * scale
    c, f = -a * c - b * f, -d * c - e * f
    columns = torch.arange(box[0], box[2], dtype=torch.float64)
    rows = torch.arange(box[1], box[3], dtype=torch.float64)[:, None]

    def fixed(step: float, row_step: float, start: float) -> Tensor:
        row = ((row_step * rows + start) * _FINE).round().long() + _FINE // 64  # half of 1/32
        fine = row + (step * columns * _FINE).round().long()
        return (fine >> 5).clamp(-(2**30), 2**30).int()  # beyond that, as far outside as can be

    return fixed(a, b, c), fixed(d, e, f)


def _alpha(back: list[list[float]], box: Box) -> Tensor:
    """The box of `square_alpha`, (h, w) float64."""
    white = _warped(torch.full((CROP, CROP), 255.0, dtype=torch.float64), back, box)
    if not white.numel():
        return white
    white[white > _WHITE] = 255.0
    return _blurred(_eroded(white)) / 255


def _eroded(picture: Tensor) -> Tensor:
    """Minimum over 20 pixels before each and 19 behind, along both axes; what lies outside has no say."""
    half = _ERODE // 2
    padded = functional.pad(-picture[None], (half, half - 1, half, half - 1), value=-math.inf)
    return -functional.max_pool2d(functional.max_pool2d(padded, (1, _ERODE), 1), (_ERODE, 1), 1)[0]


def _blurred(picture: Tensor) -> Tensor:
    """Gaussian of the standard deviation that cv2 chooses for the size; (H, W) is mirrored about its edge."""
    radius = _BLUR // 2
    sigma = 0.3 * ((_BLUR - 1) * 0.5 - 1) + 0.8
    kernel = torch.exp(-(torch.arange(-radius, radius + 1, dtype=torch.float64) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    padded = picture[_mirrored(picture.shape[0], radius)][:, _mirrored(picture.shape[1], radius)]
    across = functional.conv2d(padded[None, None], kernel.view(1, 1, 1, -1))
    return functional.conv2d(across, kernel.view(1, 1, -1, 1))[0, 0]


def _mirrored(n: int, radius: int) -> Tensor:
    """Numbers of n pixels and of `radius` more on each side: mirrored, the one at the edge only once."""
    if n == 1:
        return torch.zeros(1 + 2 * radius, dtype=torch.long)
    place = torch.arange(-radius, n + radius).remainder(2 * n - 2)
    return torch.minimum(place, 2 * n - 2 - place)


def _pasted_box(back: list[list[float]], frame_size: tuple[int, int]) -> Box:
    """The part of the frame in which the crop lies, with the room that its blur needs."""
    matrix = torch.tensor(back, dtype=torch.float64)
    # The blur is mirrored about the box: it must find only 0 there.
    return clip_box(reach(matrix, (0, 0, CROP, CROP), _BLUR), frame_size)


def _reversed(matrix: Picture) -> list[list[float]]:
    """The matrix that maps the other way, in the order of operations of the published code."""
    (a, b, c), (d, e, f) = _rows(matrix)
    scale = a * e - b * d
    if not scale:
        raise AnchorError("The matrix maps the frame to a line: need a turn, a scale and a shift.")
    return [
        [e / scale, -b / scale, -(c * e - b * f) / scale],
        [d / -scale, -a / -scale, -(c * d - a * f) / -scale],
    ]


def _rows(matrix: Picture) -> list[list[float]]:
    rows = torch.as_tensor(matrix).double()
    if rows.shape != (2, 3) or not bool(rows.isfinite().all()):
        raise AnchorError(f"Got a matrix of shape {tuple(rows.shape)}: need (2, 3) finite numbers.")
    result: list[list[float]] = rows.tolist()
    return result


def _check_bytes(name: str, picture: Picture, channels: int | None) -> None:
    """Raise AnchorError unless this is (H, W, channels), or (H, W) for None, of bytes."""
    given = torch.as_tensor(picture)
    last = () if channels is None else (channels,)
    if given.dtype != torch.uint8 or given.ndim < 2 or tuple(given.shape[2:]) != last or 0 in given.shape:
        needed = "(height, width)" if channels is None else f"(height, width, {channels})"
        raise AnchorError(
            f"Got a {name} of shape {tuple(given.shape)} and type {given.dtype}: need {needed} of bytes, "
            "0 to 255."
        )
