"""What the dressed person is made of: albedo, gloss and softness painted in the coordinates of the template.

All edges are soft over a few millimetres, so that they are smooth at a pixel's size (5 mm at 192 px).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from . import wardrobe
from .identity import Colour, Identity
from .lighting import to_linear
from .parts import EYE, MIDDLE

Paint = tuple[Tensor, float, float]  # albedo (n, 3), gloss, softness


@dataclass(frozen=True)
class ClothState:
    """What lasts over time in the clothes of one frame: swing of the tie (radians) and the folds.

    fold_phase, fold_depth: (4,) for left sleeve, right sleeve, chest, waist.
    """

    tie_swing: float
    fold_phase: Tensor
    fold_depth: Tensor


def paint(material: int, place: Tensor, identity: Identity, cloth: ClothState) -> Paint:
    """Albedo (n, 3) linear, gloss and softness of fragments at `place` (n, 3) on the template."""
    return _PAINTERS[material](place, identity, cloth)


def _step(value: Tensor, low: float, high: float) -> Tensor:
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _band(value: Tensor, low: float, high: float, edge: float) -> Tensor:
    """1 between low and high, 0 outside, edges `edge` wide."""
    return _step(value, low - edge / 2, low + edge / 2) * (1 - _step(value, high - edge / 2, high + edge / 2))


def _mix(base: Tensor, colour: Tensor, weight: Tensor) -> Tensor:
    return base + (colour - base) * weight[:, None]


def _flat(colour: Colour, place: Tensor) -> Tensor:
    return to_linear(colour).to(place).expand(len(place), 3)


def _skin(place: Tensor, identity: Identity, cloth: ClothState) -> Paint:
    x, y, z = place[:, 0] - MIDDLE, place[:, 1], place[:, 2]
    side = x.abs()
    skin, hair = to_linear(identity.skin).to(place), to_linear(identity.hair).to(place)
    albedo = skin.expand(len(place), 3)
    face = _step(z, 0.07, 0.12) * _step(y, 0.22, 0.25)
    cheek = torch.exp(-(((side - 0.045) / 0.018) ** 2) - ((y - 0.305) / 0.018) ** 2) * face
    warm = skin * torch.tensor([1.0, 0.70, 0.66]).to(place)
    albedo = _mix(
        albedo, warm, 0.45 * cheek + 0.3 * torch.exp(-((side / 0.014) ** 2) - ((y - 0.308) / 0.012) ** 2)
    )
    beard = _step(-y, -0.312, -0.285) * _step(z, 0.03, 0.07) * (1 - _step(-y, -0.222, -0.20))
    albedo = _mix(albedo, 0.25 * skin + 0.6 * hair, 0.85 * identity.beard * beard)
    socket = torch.exp(-(((side - 0.030) / 0.019) ** 2) - ((y - 0.350) / 0.011) ** 2) * face
    albedo = _mix(albedo, 0.55 * skin, 0.5 * socket)
    upper = (
        0.275 + 0.0085 * (1 - (side / 0.027) ** 2).clamp_min(0) - 0.002 * torch.exp(-((side / 0.004) ** 2))
    )
    lower = 0.2735 - 0.0155 * (1 - (side / 0.025) ** 2).clamp_min(0)
    lips = (
        _step(upper - y, -0.0015, 0.002)
        * _step(y - lower, -0.0015, 0.002)
        * _step(0.028 - side, 0.0, 0.004)
        * face
    )
    lip_colour = skin * torch.tensor([0.70, 0.36, 0.36]).to(place)
    albedo = _mix(albedo, lip_colour, 0.9 * lips)
    arch = 0.3585 + 0.006 * torch.sin(((side - 0.010) / 0.044).clamp(0, 1) * 2.4)
    brow = _band(y - arch, -0.0035, 0.0045, 0.003) * _band(side, 0.011, 0.051, 0.008) * face
    albedo = _mix(albedo, 0.8 * hair, 0.85 * brow)
    under = _step(-y, -0.255, -0.21) * _step(y, 0.10, 0.16) * _step(0.16 - side, 0, 0.03)
    return albedo * (1 - 0.45 * under * (1 - 0.3 * face))[:, None], 0.10, 0.35


def _suit(place: Tensor, identity: Identity, cloth: ClothState) -> Paint:
    x, y, z = place[:, 0] - MIDDLE, place[:, 1], place[:, 2]
    side = x.abs()
    suit, shirt = to_linear(identity.suit).to(place), to_linear(identity.shirt).to(place)
    front = _step(z, 0.02, 0.05) * _step(0.2 - side, 0, 0.02)
    height = (y + 0.10) / 0.27  # 0 at the button, 1 at the collar
    opening = 0.075 * height.clamp(0, 1.2) ** 0.9
    inside = _step(opening - side, -0.0015, 0.0015) * front * _step(height, 0.0, 0.02)
    lapel_width = 0.052 * (height / 0.72).clamp(0, 1) * (1 - _step(height, 0.86, 0.92) * 0.55)
    lapel = _band(side - opening, 0.0, 1.0, 0.002) * _step(opening + lapel_width - side, 0, 0.003) * front
    lapel = lapel * _step(height, 0.02, 0.06)
    albedo = suit.expand(len(place), 3)
    albedo = _mix(albedo, suit * 1.22 + 0.006, lapel)
    edge = torch.exp(-(((side - opening - lapel_width) / 0.0028) ** 2)) * _step(height, 0.02, 0.1) * front
    hem = torch.exp(-(((x - 0.010) / 0.003) ** 2)) * (1 - _step(height, -0.02, 0.02)) * front
    notch = torch.exp(-(((height - 0.80 - 1.2 * (side - 0.09)) / 0.02) ** 2)) * lapel
    albedo = albedo * (1 - 0.65 * torch.maximum(torch.maximum(edge, hem), 0.7 * notch))[:, None]
    for button in (-0.115, -0.20):
        disc = _step(0.0085**2 - (x + 0.004) ** 2 - (y - button) ** 2, -2e-5, 2e-5) * front
        albedo = _mix(albedo, 0.35 * suit + 0.01, disc)
    pocket = _band(x, 0.075, 0.118, 0.002) * front
    if identity.pocket_square:
        albedo = _mix(albedo, shirt, pocket * _band(y - 0.25 * (x - 0.1).abs(), 0.043, 0.058, 0.003))
    albedo = albedo * (1 - 0.7 * _step(side, 0.668, 0.675))[:, None]
    albedo = albedo * (1 - 0.5 * pocket * torch.exp(-(((y - 0.042) / 0.003) ** 2)))[:, None]
    albedo = albedo * folds(place, cloth)[:, None]
    return _mix(albedo, _shirt(x, y, opening, identity, cloth), inside), 0.03, 0.12


def _shirt(x: Tensor, y: Tensor, opening: Tensor, identity: Identity, cloth: ClothState) -> Tensor:
    """Shirt with a placket and, if worn, the blade of the tie that swings from its knot; (n, 3)."""
    shirt = to_linear(identity.shirt).to(x)
    below = (0.165 - y).clamp_min(0)
    shade = 1 - 0.45 * torch.exp(-((opening - x.abs()).clamp_min(0) / 0.008))
    shade = shade * (1 - 0.35 * _step(y, 0.120, 0.150))  # below the collar
    albedo = shirt * shade[:, None]
    if identity.tie_pattern == "none":
        return albedo * (1 - 0.25 * torch.exp(-(((x - 0.006) / 0.002) ** 2)))[:, None]
    across = x - cloth.tie_swing * below * (0.4 + 2.5 * below)
    half = 0.016 + 0.085 * below
    cast = torch.exp(-((((across.abs() - half) - 0.002).clamp_min(0) / 0.006) ** 2))
    albedo = albedo * (1 - 0.35 * cast)[:, None]
    blade = _step(half - across.abs(), -0.0012, 0.0012)
    round_shade = 1.05 - 0.45 * (across / half).clamp(-1, 1) ** 2 - 0.12 * (across / half).clamp(-1, 1)
    return _mix(albedo, tie_colour(across, y, identity) * round_shade[:, None], blade)


def tie_colour(across: Tensor, y: Tensor, identity: Identity) -> Tensor:
    """Broad stripes, dots or one colour, (n, 3)."""
    first, second = to_linear(identity.tie).to(y), to_linear(identity.tie_second).to(y)
    base = first.expand(len(y), 3)
    if identity.tie_pattern == "stripes":
        phase = torch.remainder((y + 0.75 * across) / 0.054, 1.0)
        return _mix(base, second, _band(phase, 0.28, 0.66, 0.10))
    if identity.tie_pattern == "dots":
        dots = torch.cos(y * 210) * torch.cos(across * 210)
        return _mix(base, second, _step(dots, 0.45, 0.75))
    return base


def folds(place: Tensor, cloth: ClothState) -> Tensor:
    """Shading of the folds, (n,) around 1: waves on sleeves, chest and waist that last over time."""
    x, y, z = place[:, 0] - MIDDLE, place[:, 1], place[:, 2]
    side = x.abs()
    turn = torch.atan2(y - 0.06, z)
    left = x > 0
    phase = torch.where(left, cloth.fold_phase[0], cloth.fold_phase[1])
    depth = torch.where(left, cloth.fold_depth[0], cloth.fold_depth[1])
    elbow = torch.exp(-(((side - 0.43) / 0.075) ** 2)) + 0.45 * torch.exp(-(((side - 0.25) / 0.06) ** 2))
    elbow = elbow + 0.35 * torch.exp(-(((side - 0.60) / 0.05) ** 2))
    wave = 6.2832 * side / 0.058 + 1.2 * torch.sin(turn + 0.5 * phase) + phase
    ripple = torch.sin(wave) + 0.5 * torch.sin(1.7 * wave + 2 * torch.sin(turn) - 0.6 * phase)
    sleeve = elbow * depth * ripple
    body = _step(0.19 - side, 0, 0.03)
    pull = torch.sin(
        6.2832 * (y + 0.5 * side) / 0.10
        + 0.8 * torch.sin(30 * x + 0.7 * cloth.fold_phase[2])
        + cloth.fold_phase[3]
    )
    waist = (
        0.7 * cloth.fold_depth[3] * pull * torch.exp(-(((y + 0.16) / 0.09) ** 2)) * _step(side, 0.01, 0.06)
    )
    drape = torch.sin(6.2832 * (side - 0.5 * y) / 0.07 + cloth.fold_phase[2])
    chest = cloth.fold_depth[2] * drape * torch.exp(-(((y - 0.02) / 0.06) ** 2)) * _step(side, 0.09, 0.14)
    return 1 + 0.9 * (sleeve * (1 - body) + (waist + chest) * body).clamp(-0.9, 1.2)


def _collar(place: Tensor, identity: Identity, cloth: ClothState) -> Paint:
    return _flat(identity.shirt, place), 0.02, 0.2


def _knot(place: Tensor, identity: Identity, cloth: ClothState) -> Paint:
    return tie_colour(place[:, 0] - MIDDLE, place[:, 1], identity), 0.05, 0.15


def _hair(place: Tensor, identity: Identity, cloth: ClothState) -> Paint:
    x, y, z = place[:, 0] - MIDDLE, place[:, 1], place[:, 2]
    strands = torch.sin(150 * x + 40 * z + 3 * torch.sin(30 * y)) + torch.sin(95 * z - 60 * x)
    depth = 0.85 + 0.14 * strands - 0.25 * _step(-y, -0.36, -0.2)
    return _flat(identity.hair, place) * depth.clamp(0.4, 1.3)[:, None], 0.09, 0.3


def _eye(place: Tensor, identity: Identity, cloth: ClothState) -> Paint:
    x, y, z = place[:, 0] - MIDDLE, place[:, 1], place[:, 2]
    off = ((x.abs() - float(EYE[0])) ** 2 + (y - float(EYE[1])) ** 2).sqrt() + (z < float(EYE[2])) * 0.02
    white = torch.tensor([0.74, 0.72, 0.70]).to(place).expand(len(place), 3)
    albedo = _mix(white, to_linear(identity.eyes).to(place), 1 - _step(off, 0.0062, 0.0078))
    albedo = _mix(albedo, torch.full((3,), 0.004).to(place), 1 - _step(off, 0.0028, 0.0042))
    lid = _step(y, 0.349, 0.356)
    return albedo * (1 - 0.6 * lid)[:, None], 0.25, 0.3


def _mouth(place: Tensor, identity: Identity, cloth: ClothState) -> Paint:
    dark = torch.tensor([0.055, 0.010, 0.010]).to(place)
    tongue = torch.tensor([0.30, 0.07, 0.07]).to(place)
    low = _step(-place[:, 1], -0.266, -0.255)
    return _mix(dark.expand(len(place), 3), tongue, 0.6 * low), 0.0, 0.2


def _teeth(place: Tensor, identity: Identity, cloth: ClothState) -> Paint:
    side = (place[:, 0] - MIDDLE).abs()
    return (
        torch.tensor([0.78, 0.74, 0.66]).to(place) * (1 - 0.6 * _step(side, 0.008, 0.02))[:, None],
        0.1,
        0.3,
    )


def _glasses(place: Tensor, identity: Identity, cloth: ClothState) -> Paint:
    return torch.tensor([0.012, 0.011, 0.012]).to(place).expand(len(place), 3), 0.25, 0.1


def _desk(place: Tensor, identity: Identity, cloth: ClothState) -> Paint:
    base = _flat(identity.desk, place)
    lip = _band(place[:, 1], 0.355, 0.3758, 0.0005)
    return _mix(0.75 * base, 1.5 * base + 0.02, lip), 0.05, 0.1


_PAINTERS: dict[int, Callable[[Tensor, Identity, ClothState], Paint]] = {
    wardrobe.SKIN: _skin,
    wardrobe.SUIT: _suit,
    wardrobe.COLLAR: _collar,
    wardrobe.KNOT: _knot,
    wardrobe.HAIR: _hair,
    wardrobe.EYE: _eye,
    wardrobe.MOUTH: _mouth,
    wardrobe.TEETH: _teeth,
    wardrobe.GLASSES: _glasses,
    wardrobe.DESK: _desk,
}
