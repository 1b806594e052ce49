"""Generated faces back into the frames they were cut from.

The published code pastes the complete square of the crop, so hair and background near the face become what a
decoder makes of 256 pixels. Here only the face that was painted is put back, with a soft rim that lies where
the network was told to reproduce what it saw; lengths are shares of the crop's side, so the rim grows with
the face. Blending is float, and frames are touched only where alpha is above 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import AnchorError
from ..render.mesh import to_bytes
from .align import CROP, inverse, transform
from .published import blend_square
from .smoothing import smooth
from .warp import warp_from_crops

MODES = ("face", "crop", "square")
"""face: the mask and its rim; crop: the whole crop with soft edges; square: the published rule, in 8 bits."""

STEADY = 8.0
"""Frames; standard deviation of the window over which offsets are calmed."""

_GUARD = 0.03  # of the side: a face that touches the edge of its crop still ends softly
_GAP, _RING = 0.03, 0.08  # of the side: a latent beside the mask has seen the paint, so the ring keeps off
_CELLS = 32  # along a side: as many as the published crop has latents
_LEAST_CELLS = 8  # fewer tell the texture, not the cast
_MOST_CUT = 0.1  # of the pixels of a cell
_DETAIL = 2.5
"""Pixels of a crop that its finest detail takes: networks learn crops that were cut from frames, enlarged."""
_MARGIN = 3  # pixels of the frame: what the filter of the warp reaches beyond a face


@dataclass(frozen=True)
class BlendOptions:
    """How a face is put back; shares are of the crop's side, 0 to 0.5.

    mode: one of MODES; square ignores the rest. feather: width of the rim outside the mask, over which the
    face fades (mode face). grow: how far beyond the mask the face is whole; -0.5 to 0.5, below 0 it ends
    inside (mode face). border: width over which the edge of the crop fades (mode crop). color_match: shift
    the crop's colours to those of the frame around the face. color_limit: the largest shift, 0 to 1 of the
    range of a channel; a larger difference is no cast of the decoder.
    """

    mode: str = "face"
    feather: float = 0.04
    grow: float = 0.0
    border: float = 0.1
    color_match: bool = True
    color_limit: float = 0.08

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise AnchorError(f"The blend mode is {self.mode!r}: need one of {', '.join(MODES)}.")
        for name, least, most in (
            ("feather", 0.0, 0.5),
            ("grow", -0.5, 0.5),
            ("border", 0.0, 0.5),
            ("color_limit", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise AnchorError(
                    f"{name} is {value}: need {least:g} to {most:g}; "
                    f"usual is {type(self).__dataclass_fields__[name].default}."
                )


@torch.no_grad()
def blend_faces(
    frames: Tensor,
    crops: Tensor,
    context: Tensor | None,
    mask: Tensor,
    matrices: Tensor,
    *,
    weight: Tensor | None = None,
    offsets: Tensor | None = None,
    options: BlendOptions | None = None,
) -> Tensor:
    """Frames with the generated faces in them, (n, H, W, 3) like `frames`, which stay as they are.

    frames: (n, H, W, 3) float in [0, 1], or uint8, which is what floats would be rounded to. crops: (n, S, S,
    3) float in [0, 1], generated. context: (n, S, S, 3) float, the same crops of the frames; it tells colours
    alone, so it may be None where `offsets` does or nothing is matched. mask: (n, S, S), 1 = painted.
    matrices: (n, 2, 3), frame to crop of side S. weight: (n,) 0 to 1, how much of the face is put back; at 0
    the frame is left bit for bit, as are all pixels where alpha is 0. offsets: (n, 3) to add to the crops;
    without them each frame has its own, measured. For a clip in chunks, measure all with `color_offsets` and
    calm them with `steady_offsets`. Raises AnchorError.
    """
    options = options or BlendOptions()
    weight = torch.ones(len(frames)) if weight is None else weight
    _check_blend(frames, crops, context, mask, matrices, weight, offsets)
    result = frames.clone()
    shown = weight.nonzero()[:, 0].tolist()
    if options.mode == "square":
        for index in shown:
            result[index] = _squared(frames[index], crops[index], matrices[index], float(weight[index]))
        return result
    crops, shift = crops.to(frames.device).float(), torch.zeros(len(frames), 3)
    if options.color_match:
        shift = _shift(crops, context, mask, offsets, options)
    alpha = face_alpha(mask.to(frames.device), options) * weight.to(crops)[:, None, None]
    shift = shift.to(crops)
    for index in shown:
        _paste(result[index], crops[index], shift[index], alpha[index], matrices[index])
    return result


def as_floats(frames: Tensor) -> Tensor:
    """Frames of any type as float32 in [0, 1]."""
    return frames.to(torch.float32).div_(255) if frames.dtype == torch.uint8 else frames.to(torch.float32)


def face_alpha(mask: Tensor, options: BlendOptions | None = None) -> Tensor:
    """How much of the generated crop is shown at each of its pixels, (n, S, S) float32 in [0, 1].

    mask: (n, S, S), 1 = painted. Mode face: 1 on the mask grown by `grow`, 0 from `feather` outside of that,
    the rim between. Mode crop: the whole crop, whatever the mask. In both it falls to 0 at the edge of the
    crop. Mode square is no matter of the crop: see `published.square_alpha`.
    """
    options = options or BlendOptions()
    size = mask.shape[-1]
    if options.mode != "face":
        return _edge(size, options.border).to(mask.device).repeat(len(mask), 1, 1)
    half = _pixels(options.feather / 2, size)
    whole = _spread(mask.float().clamp(0, 1), _pixels(options.grow, size) + half)
    return _blurred(whole, half) * _edge(size, _GUARD).to(mask.device)


def color_offsets(
    crops: Tensor, context: Tensor, mask: Tensor, options: BlendOptions | None = None
) -> Tensor:
    """What to add to the channels of each crop to match the frame around its face, (n, 3) float32.

    Measured on a ring just outside the mask: there the network only reproduces what it was given, so what
    differs is the cast of network and decoder. nan where the ring is empty or cut off at an end of the range.
    crops, context: (n, S, S, 3) float in [0, 1]. mask: (n, S, S), 1 = painted.
    """
    limit, size = (options or BlendOptions()).color_limit, mask.shape[-1]
    painted = (mask.to(crops.device) > 0.5).float()  # as the mask of the network is made
    inner, outer = _pixels(_GAP, size), _pixels(_GAP + _RING, size)
    rings = _spread(painted, outer) - _spread(painted, inner)
    made, seen = crops.float(), context.to(crops.device).float()
    found = [_offset(*triple) for triple in zip(made, seen, rings, strict=True)]
    return torch.stack(found).to(made).clamp(-limit, limit) if found else made.new_zeros((0, 3))


def steady_offsets(offsets: Tensor, sigma: float = STEADY) -> Tensor:
    """Offsets (F, 3) of a whole clip without their flicker: means over a bell of frames, nan filled in.

    The ring shows other pixels in each frame, so what is measured trembles by parts of a level, and with it
    the whole face; a cast of the decoder changes no faster than the light. sigma: frames, 0 only fills in.
    """
    known = offsets.isfinite().all(1).cpu()
    if not bool(known.any()):
        return torch.zeros_like(offsets)
    filled = smooth(offsets.cpu(), 0, known)  # float64
    reach = min(math.ceil(3 * sigma), len(filled) - 1)
    bell = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / max(sigma, 1e-6)) ** 2)
    counted = torch.cat([filled, torch.ones_like(filled[:, :1])], dim=1)
    total = functional.conv1d(counted.T[:, None], bell[None, None], padding=reach)[:, 0].T
    return (total[:, :3] / total[:, 3:]).to(offsets)


def _shift(
    crops: Tensor, context: Tensor | None, mask: Tensor, offsets: Tensor | None, options: BlendOptions
) -> Tensor:
    """What is added to the crops, (n, 3): given or measured, bounded, 0 where nothing is known."""
    if offsets is None:
        if context is None:
            raise AnchorError(
                "The colours of the crops cannot be matched: need the same crops of the frames as context, "
                "or offsets; give one of them, or switch color_match off."
            )
        offsets = color_offsets(crops, context, mask, options)
    return offsets.nan_to_num(0.0).clamp(-options.color_limit, options.color_limit)


def _offset(made: Tensor, seen: Tensor, ring: Tensor) -> Tensor:
    """What lies between two pictures (S, S, 3) on a ring (S, S): (3,), nan where they do not tell.

    Means of cells are compared, and of them the middle half: a reproduction is softer than what it shows, so
    single pixels differ at every edge, and more to one side than to the other. No gain is fitted, for that
    would measure the softness, too. Cells in which colours were cut off at an end of their range are left
    out: they tell less than the cast.
    """
    size, cell = len(ring), max(1, len(ring) // _CELLS)
    place = ring.flatten().nonzero()[:, 0]
    # On the host, where sums have one order.
    made, seen = (picture.reshape(-1, 3).index_select(0, place).cpu() for picture in (made, seen))
    cut = (made.amin(1) <= 0) | (made.amax(1) >= 1)
    across = -(-size // cell)
    sums = torch.zeros(across**2, 5)
    columns = [seen - made, torch.ones(len(cut), 1), cut[:, None].float()]
    rows = place.cpu() // size
    sums.index_add_(0, rows // cell * across + place.cpu() % size // cell, torch.cat(columns, dim=1))
    sums = sums[(sums[:, 3] > cell**2 / 2) & (sums[:, 4] <= _MOST_CUT * sums[:, 3])]
    if len(sums) < _LEAST_CELLS:
        return sums.new_full((3,), math.nan)
    quarter = len(sums) // 4
    return (sums[:, :3] / sums[:, 3:4]).sort(0).values[quarter : len(sums) - quarter].mean(0)


def _paste(frame: Tensor, crop: Tensor, shift: Tensor, alpha: Tensor, matrix: Tensor) -> None:
    """Put a crop (S, S, 3), shifted in colour, with its alpha (S, S) into a frame (H, W, 3), in place."""
    rows, columns = (_used(alpha.amax(dim)) for dim in (1, 0))
    cover, colors = alpha[rows, columns, None], (crop[rows, columns] + shift).clamp(0, 1)
    local = matrix.detach().cpu().double().clone()
    local[:, 2] -= local.new_tensor([columns.start, rows.start])
    left, top, right, bottom = _box(cover, local, frame.shape[1], frame.shape[0])
    if left >= right or top >= bottom:
        return
    local[:, 2] += local[:, :2] @ local.new_tensor([left, top])
    size = (right - left, bottom - top)
    # Bicubic readings leave [0, 1], so what covers is averaged and only the colours are read sharply.
    shown = warp_from_crops(cover[None], local[None], size)[0]
    patch = warp_from_crops(colors[None], local[None], size, detail=_DETAIL)[0].clamp(0, 1)
    region = frame[top:bottom, left:right]
    below = as_floats(region) if frame.dtype == torch.uint8 else region
    mixed = below.lerp(patch.to(below), shown.clamp(max=1).expand_as(patch).to(below))
    region.copy_(_like(mixed, region))


def _used(line: Tensor) -> slice:
    """The part of a line (S,) that is not 0 with what the warp reads around it, from a multiple of 8 on: it
    averages groups of pixels."""
    places = line.nonzero()[:, 0].tolist() or [0]
    return slice(max(0, places[0] // 8 - 1) * 8, places[-1] + 9)


def _box(cover: Tensor, matrix: Tensor, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels of the frame that a cover (h, w, 1) can reach."""
    # A pixel reaches as far as its neighbours.
    corners = [(x, y) for x in (-1, cover.shape[1]) for y in (-1, cover.shape[0])]
    placed = transform(torch.tensor(corners, dtype=torch.float64)[None], inverse(matrix[None]))[0]
    left, top = (placed.amin(0) - _MARGIN).floor().int().clamp(min=0).tolist()
    right, bottom = (placed.amax(0) + _MARGIN).ceil().int().tolist()
    return left, top, min(right, width), min(bottom, height)


def _squared(frame: Tensor, crop: Tensor, matrix: Tensor, weight: float) -> Tensor:
    """The published paste into one frame (H, W, 3), in 8 bits."""
    given = torch.from_numpy(to_bytes(frame)) if frame.is_floating_point() else frame.cpu()
    made = blend_square(given, torch.from_numpy(to_bytes(crop)), _at_512(matrix, crop.shape[0]))
    below = as_floats(frame) if frame.dtype == torch.uint8 else frame
    pasted = (made.to(below) / 255).lerp(below, 1 - weight)
    # What the paste has not changed keeps the precision that the frame came with.
    return torch.where((made != given).to(frame.device), _like(pasted, frame), frame)


def _like(picture: Tensor, frame: Tensor) -> Tensor:
    """A picture of floats in the numbers of a frame."""
    return torch.from_numpy(to_bytes(picture)) if frame.dtype == torch.uint8 else picture.to(frame)


def _at_512(matrix: Tensor, size: int) -> Tensor:
    """The matrix to the crop of 512, of that to a crop of `size`: the reverse of `crop_matrices`."""
    scaled = matrix.double() * (CROP / size)
    scaled[:, 2] += 0.5 * CROP / size - 0.5
    return scaled


def _pixels(share: float, size: int) -> int:
    return round(share * size)


def _edge(size: int, width: float) -> Tensor:
    """(S, S), 0 at the edge of the crop to 1 at `width` from it, smooth at both ends."""
    place = (torch.arange(size) + 0.5) / size
    way = (torch.minimum(place, 1 - place) / max(width, 1e-6)).clamp(max=1)
    ramp = way * way * (3 - 2 * way)
    return ramp[:, None] * ramp[None]


def _spread(mask: Tensor, radius: int) -> Tensor:
    """Maximum of (n, S, S) in [0, 1] over squares that reach `radius` pixels; below 0 the minimum.

    What lies outside the crop changes nothing. Squares, because their maximum takes a handful of passes
    whatever the radius.
    """
    if radius < 0:
        return 1 - _spread(1 - mask, -radius)
    for dim in (1, 2):
        mask = _running_maximum(mask, dim, radius)
    return mask


def _running_maximum(mask: Tensor, dim: int, radius: int) -> Tensor:
    """Maximum over 2 radius + 1 pixels along a side: of spans that double, then of two that overlap."""
    sides = (radius, radius) if dim == 2 else (0, 0, radius, radius)
    mask = functional.pad(mask, sides)
    wide, span = 2 * radius + 1, 1
    while span < wide:
        step = min(span, wide - span)
        length = mask.shape[dim] - step
        mask = torch.maximum(mask.narrow(dim, 0, length), mask.narrow(dim, step, length))
        span += step
    return mask


def _blurred(mask: Tensor, radius: int) -> Tensor:
    """(n, S, S) under a tent that reaches `radius` pixels; exactly 1 and 0 where all it covers is that."""
    picture = functional.pad(mask[:, None], (radius,) * 4, mode="replicate")[:, 0]
    # Two boxes make a tent. Whole numbers first, then one division: weights would not add up to exactly 1.
    for dim in (1, 2):
        picture = _sums(_sums(picture, dim, radius + 1), dim, radius + 1) / (radius + 1) ** 2
    return picture


def _sums(picture: Tensor, dim: int, count: int) -> Tensor:
    """Sums of `count` neighbours along a side: of spans that double, those that make up the count."""
    length = picture.shape[dim] - count + 1
    total, start = torch.zeros_like(picture.narrow(dim, 0, length)), 0
    for width in (2**power for power in range(count.bit_length())):
        if width > 1:
            steps = picture.shape[dim] - width // 2
            picture = picture.narrow(dim, 0, steps) + picture.narrow(dim, width // 2, steps)
        if count & width:
            total += picture.narrow(dim, start, length)
            start += width
    return total


def _check_blend(
    frames: Tensor,
    crops: Tensor,
    context: Tensor | None,
    mask: Tensor,
    matrices: Tensor,
    weight: Tensor,
    offsets: Tensor | None,
) -> None:
    """Raise AnchorError unless all are of as many frames, and of the sizes that belong together."""
    known = frames.is_floating_point() or frames.dtype == torch.uint8
    if frames.ndim != 4 or frames.shape[3] != 3 or not known:
        raise AnchorError(
            f"Got frames of shape {tuple(frames.shape)} and type {frames.dtype}: need (frames, height, "
            "width, 3) of floats in 0 to 1, or of bytes."
        )
    size = crops.shape[1] if crops.ndim == 4 else 0
    _check_shape("crops", crops, (len(frames), size, size, 3))
    if context is not None:
        _check_shape("context", context, tuple(crops.shape))
    _check_shape("mask", mask, (len(frames), size, size))
    _check_shape("matrices", matrices, (len(frames), 2, 3))
    _check_shape("weight", weight, (len(frames),))
    if offsets is not None:
        _check_shape("offsets", offsets, (len(frames), 3))
    if not bool(((weight >= 0) & (weight <= 1)).all()):
        raise AnchorError(
            f"The weights go from {float(weight.min()):g} to {float(weight.max()):g}: need 0 to 1."
        )
    sound = matrices.isfinite().flatten(1).all(1) & (
        torch.linalg.det(matrices[..., :2].double()).abs() > 1e-12
    )
    bad = (~sound.cpu() & (weight.cpu() > 0)).nonzero()[:, 0].tolist()
    if bad:
        raise AnchorError(
            f"Matrix {bad[0]} of {len(matrices)} is not finite or maps the frame to a line: need a turn, a "
            "scale and a shift for each; give frames without a face the weight 0."
        )


def _check_shape(name: str, given: Tensor, needed: tuple[int, ...]) -> None:
    if tuple(given.shape) != needed or 0 in needed[1:]:
        raise AnchorError(
            f"The {name} of the blend have shape {tuple(given.shape)}, need {needed}: one for each frame, at "
            "the side of the crops."
        )
