"""Light of the studio: key, fill, two rims and ambient, in linear colour; soft shadows from the depth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

GAMMA = 2.2


@dataclass(frozen=True)
class Surface:
    """Fragments to light: albedo (n, 3) linear, normal (n, 3), gloss and softness (n,)."""

    albedo: Tensor
    normal: Tensor
    gloss: Tensor  # strength of the highlight
    soft: Tensor  # how far light wraps around (skin, hair)


_KEY, _KEY_COLOUR = (-0.46, 0.52, 0.72), (1.05, 0.99, 0.90)
_FILL, _FILL_COLOUR = (0.74, 0.16, 0.65), (0.24, 0.28, 0.34)
_RIMS = (((-0.80, 0.35, -0.25), (0.50, 0.55, 0.62)), ((0.85, 0.40, -0.20), (0.75, 0.70, 0.60)))
_SKY, _GROUND = (0.27, 0.29, 0.33), (0.12, 0.105, 0.095)


def shade(surface: Surface, shadow: Tensor) -> Tensor:
    """Linear colour (n, 3); shadow (n,) in [0, 1] dims key and ambient."""
    n = surface.normal
    device, dtype = n.device, n.dtype
    half_up = (0.5 + 0.5 * n[:, 1:2]) * shadow[:, None]
    sky, ground = (torch.tensor(c, device=device, dtype=dtype) for c in (_SKY, _GROUND))
    light = ground + (sky - ground) * half_up
    key = _unit(_KEY, n)
    wrap = surface.soft
    lambert = ((n @ key + wrap) / (1 + wrap)).clamp_min(0) * shadow
    light = light + lambert[:, None] * torch.tensor(_KEY_COLOUR, device=device, dtype=dtype)
    fill = (n @ _unit(_FILL, n)).clamp_min(0)
    light = light + fill[:, None] * torch.tensor(_FILL_COLOUR, device=device, dtype=dtype)
    edge = (1 - n[:, 2].clamp(0, 1)) ** 2.5 * (n[:, 2] > -0.2)
    rim = torch.zeros_like(light)
    for direction, colour in _RIMS:
        amount = (n @ _unit(direction, n)).clamp_min(0) * edge
        rim = rim + amount[:, None] * torch.tensor(colour, device=device, dtype=dtype)
    half = _unit((_KEY[0], _KEY[1], _KEY[2] + 1.0), n)
    spark = (n @ half).clamp_min(0) ** 24 * surface.gloss * shadow
    return surface.albedo * (light + rim) + 0.06 * rim + spark[:, None]


def depth_shadow(depth: Tensor, background: Tensor, radius_px: float) -> Tensor:
    """Soft contact shadow (H, W) in [0, 1] from what lies nearer to the camera, on the key light's side.

    Darkening by the difference to a blurred depth picture (Luft et al. 2006); depth: (H, W) metres,
    background: the pixels (H, W) without an object, which neither cast nor catch it.
    """
    flat = torch.where(background, depth.amax(), depth)
    size = 2 * round(2 * radius_px) + 1
    grid = torch.arange(size, dtype=depth.dtype, device=depth.device) - size // 2
    kernel = torch.exp(-0.5 * (grid / radius_px) ** 2)
    kernel = (kernel / kernel.sum())[None, None, None]
    picture = functional.pad(flat[None, None], (size // 2,) * 4, mode="replicate")
    blurred = functional.conv2d(functional.conv2d(picture, kernel), kernel.transpose(2, 3))[0, 0]
    shift = max(1, round(0.8 * radius_px))
    cast = torch.roll(blurred, (shift, shift), dims=(0, 1))
    hidden = (depth - torch.minimum(cast, blurred + 0.5)).clamp(0, 0.12) / 0.12
    return 1 - 0.55 * hidden.sqrt() * hidden.gt(0)


def to_linear(colour: tuple[float, float, float]) -> Tensor:
    """sRGB colour -> linear (3,)."""
    return torch.tensor(colour) ** GAMMA


def to_display(linear: Tensor) -> Tensor:
    """Linear colour -> display, with a soft shoulder instead of hard clipping above 0.8."""
    over = (linear - 0.7).clamp_min(0)
    toned = torch.where(linear > 0.7, 0.7 + 0.3 * (1 - torch.exp(-over / 0.3)), linear)
    return toned.clamp_min(0) ** (1 / GAMMA)


def _unit(direction: tuple[float, float, float], like: Tensor) -> Tensor:
    vector = torch.tensor(direction, dtype=like.dtype, device=like.device)
    return vector / vector.norm()
