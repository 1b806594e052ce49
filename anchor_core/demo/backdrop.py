"""The studio behind the presenter: a soft gradient, a lit screen, a column of light. It does not move."""

from __future__ import annotations

import torch
from torch import Tensor

from .identity import Identity
from .lighting import to_display, to_linear


def backdrop(identity: Identity, width: int, height: int, oversample: int = 3) -> Tensor:
    """Picture (H, W, 3) in [0, 1], sRGB; smooth enough for a small autoencoder."""
    v, u = torch.meshgrid(_centres(height * oversample), _centres(width * oversample), indexing="ij")
    wall, screen = to_linear(identity.backdrop), to_linear(identity.backdrop_second)
    glow = torch.exp(-(((u - 0.42) / 0.55) ** 2) - ((v - 0.38) / 0.6) ** 2)
    picture = wall * (0.35 + 0.75 * glow)[..., None]
    left, right, top, bottom = 0.66, 0.965, 0.10, 0.50
    inside = _box(u, v, left, right, top, bottom)
    frame = _box(u, v, left - 0.014, right + 0.014, top - 0.014, bottom + 0.014)
    picture = _mix(picture, 0.30 * wall, frame)
    picture = _mix(picture, screen * (0.65 + 0.5 * (v - top) / (bottom - top))[..., None], inside)
    hill = 0.36 + 0.06 * torch.sin(9 * (u - left)) - 0.10 * (u - left)
    picture = _mix(picture, 0.55 * screen + 0.25 * wall, inside * torch.sigmoid((v - hill) * 220))
    column = torch.exp(-(((u - 0.085) / 0.022) ** 2)) * torch.sigmoid((v - 0.05) * 60)
    picture = _mix(picture, 0.75 * screen + 0.22, 0.75 * column)
    small = to_display(picture).reshape(height, oversample, width, oversample, 3).mean(dim=(1, 3))
    return small.clamp(0, 1)


def _centres(count: int) -> Tensor:
    return (torch.arange(count) + 0.5) / count


def _box(u: Tensor, v: Tensor, left: float, right: float, top: float, bottom: float) -> Tensor:
    return ((u > left) & (u < right) & (v > top) & (v < bottom)).float()


def _mix(base: Tensor, colour: Tensor, weight: Tensor) -> Tensor:
    return base + (colour - base) * weight[..., None]
