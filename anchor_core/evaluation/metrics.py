"""Image and video metrics on clips (F, H, W, 3) in [0, 1].

PSNR and SSIM (Wang et al. 2004) compare single frames. Temporal stability is measured on differences in
time, because a frame-wise model may be good in every frame and flicker between them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import AnchorError

LEVELS = 255.0
"""Differences in time are told in 8-bit levels."""


def psnr(result: Tensor, truth: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB over a whole clip; infinite for equal clips.

    result, truth: (F, H, W, 3) in [0, 1]; mask: (F, H, W) or (H, W) bool, the pixels that count.
    """
    check_clips(result, truth)
    square = (result.double() - truth.double()).square().mean(dim=-1)
    error = square.mean() if mask is None else square[mask.expand(square.shape)].mean()
    return decibel(float(error))


def decibel(square: float) -> float:
    """PSNR of a mean squared error for a peak of 1."""
    return math.inf if square == 0 else -10 * math.log10(square)


def ssim(result: Tensor, truth: Tensor, side: int = 11, sigma: float = 1.5) -> float:
    """Structural similarity, mean over pixels, channels and frames; Gaussian window, no padding.

    result, truth: (F, H, W, 3) in [0, 1], sides of at least `side` pixels. 1 for equal clips.
    """
    check_clips(result, truth)
    if min(result.shape[1:3]) < side:
        raise AnchorError(
            f"frames of {result.shape[2]}x{result.shape[1]} pixels are too small; SSIM needs {side} or more"
        )
    window = _gaussian(side, sigma)
    total = 0.0
    for one, two in zip(result, truth, strict=True):  # one frame at a time: flat memory
        total += float(_ssim_map(one.double(), two.double(), window).mean())
    return total / len(result)


def ssim_around(result: Tensor, truth: Tensor, mask: Tensor, side: int = 11) -> float:
    """`ssim` of each frame in the box around its mask, mean over the frames that have one.

    mask: (F, H, W) bool; a box is made `side` pixels wide and high where it is smaller. Raises AnchorError
    where the mask is empty in all frames.
    """
    check_clips(result, truth)
    check_mask(mask, truth)
    if not bool(mask.any()):
        raise AnchorError("the mask is empty in all frames; need one pixel or more to measure on")
    values = []
    for frame in mask.flatten(1).any(dim=1).nonzero()[:, 0].tolist():
        rows, columns = (_span(mask[frame].any(dim), side) for dim in (1, 0))
        one, two = (clip[frame, rows, columns][None] for clip in (result, truth))
        values.append(ssim(one, two, side))
    return sum(values) / len(values)


def flicker(result: Tensor, truth: Tensor, mask: Tensor | None = None) -> float:
    """Mean |d/dt result - d/dt truth| in 8-bit levels: changes from frame to frame that did not happen.

    mask: (F, H, W) or (H, W) bool; a change counts where both its frames are masked, nan if none are.
    """
    check_clips(result, truth, frames=2)
    change = (result.diff(dim=0) - truth.diff(dim=0)).abs().mean(dim=-1)
    if mask is not None:
        mask = mask.expand(truth.shape[:3])
        change = change[mask[1:] & mask[:-1]]
    return float(change.mean()) * LEVELS


def rim_gradient(clip: Tensor, alpha: Tensor) -> float:
    """Mean |difference| of neighbouring pixels across the rim of what was blended in, in 8-bit levels.

    clip: (F, H, W, 3) in [0, 1], or an error. alpha: (F, H, W) in [0, 1], how much of the new picture each
    pixel shows. Neighbours count by the difference of their alpha: a hard seam of k levels on a plain picture
    gives k, and one that fades over n pixels k / n; nan where alpha has no rim.
    """
    check_mask(alpha, clip)
    alpha, clip = alpha.double(), clip.double()
    total = weights = 0.0
    for dim in (1, 2):
        weight = alpha.diff(dim=dim).abs()
        total += float((clip.diff(dim=dim).abs().mean(dim=-1) * weight).sum())
        weights += float(weight.sum())
    return total / weights * LEVELS if weights else math.nan


def acceleration_ratio(result: Tensor, truth: Tensor) -> float:
    """Mean |second difference in time| of the result over that of the truth: above 1 jitter, below smear."""
    check_clips(result, truth, frames=3)
    return float(_second_difference(result) / _second_difference(truth))


def background_deviation(result: Tensor, truth: Tensor, background: Tensor) -> float:
    """Mean deviation over time of the error on pixels that nothing covers, in 8-bit levels; 0 is calm.

    background: (H, W) bool. The error and not the result, because the light on the backdrop may change.
    """
    check_clips(result, truth, frames=2)
    if not bool(background.any()):
        raise AnchorError("no pixel of the clip is background in all frames; need a mask with one or more")
    error = (result - truth)[:, background]
    return float(error.std(dim=0, unbiased=False).mean()) * LEVELS


def check_clips(result: Tensor, truth: Tensor, frames: int = 1) -> None:
    """Raise AnchorError unless both are equally large (F, H, W, 3) with `frames` frames or more."""
    if result.shape != truth.shape or result.ndim != 4 or result.shape[3] != 3 or len(result) < frames:
        raise AnchorError(
            f"got clips of shapes {tuple(result.shape)} and {tuple(truth.shape)};"
            f" need two equal (frames, height, width, 3) with {frames} frames or more; cut or resize one"
        )


def check_mask(mask: Tensor, clip: Tensor) -> None:
    """Raise AnchorError unless a mask is (F, H, W), as the clip is."""
    if mask.shape != clip.shape[:3]:
        raise AnchorError(
            f"got a mask of shape {tuple(mask.shape)} for a clip of shape {tuple(clip.shape)};"
            " need one of equal (frames, height, width); cut or resize it"
        )


def _span(used: Tensor, least: int) -> slice:
    """The stretch of (N,) bool that is used, widened to `least` where there is room."""
    places = used.nonzero()[:, 0]
    first, last = int(places[0]), int(places[-1]) + 1
    first = max(0, min(first - (least - (last - first)) // 2, first, len(used) - least))
    return slice(first, max(last, min(first + least, len(used))))


def _second_difference(clip: Tensor) -> Tensor:
    return clip.diff(n=2, dim=0).abs().mean()


def _gaussian(side: int, sigma: float) -> Tensor:
    place = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    weights = torch.exp(-(place**2) / (2 * sigma**2))
    return weights / weights.sum()


def _ssim_map(one: Tensor, two: Tensor, window: Tensor) -> Tensor:
    """(H, W, 3) twice to (3, 5 maps, ...) filtered at once; returns (3, H', W')."""
    one, two = one.permute(2, 0, 1), two.permute(2, 0, 1)
    maps = torch.stack([one, two, one * one, two * two, one * two], dim=1).flatten(0, 1)[:, None]
    maps = functional.conv2d(functional.conv2d(maps, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))
    mean_one, mean_two, square_one, square_two, product = maps.view(3, 5, *maps.shape[2:]).unbind(dim=1)
    cover = product - mean_one * mean_two
    spread = square_one - mean_one**2 + square_two - mean_two**2
    c1, c2 = 0.01**2, 0.03**2  # for a peak of 1
    level = (2 * mean_one * mean_two + c1) / (mean_one**2 + mean_two**2 + c1)
    return level * (2 * cover + c2) / (spread + c2)
