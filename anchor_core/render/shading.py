"""The look of the mesh renders that anchors are trained on, with SHOW's published numbers (arXiv 2212.04420).

A metallic-roughness material (GGX distribution, Schlick's Fresnel term, Smith's visibility, as in appendix B
of the glTF 2.0 specification) under an ambient light, three point lights and two spots that stand still in
the world. The body is therefore lit as published only near the origin, where SHOW puts it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

GAMMA = 2.2
_MIN_COSINE = 0.001  # keeps light that grazes the surface finite, as published
_DIELECTRIC = 0.04  # reflectance of a non-metal seen head-on


@dataclass(frozen=True)
class Light:
    """A light at `position` in metres; a spot points along -z, full to `inner_rad`, dark from `outer_rad`."""

    position: tuple[float, float, float]
    intensity: float
    spot: bool = False
    inner_rad: float = math.pi / 3
    outer_rad: float = math.pi / 2


@dataclass(frozen=True)
class Look:
    """Material (linear colour, red green blue) and lights."""

    base_color: tuple[float, float, float] = (0.3, 0.5, 0.55)
    metallic: float = 0.2
    roughness: float = 0.6
    ambient: float = 0.3
    lights: tuple[Light, ...] = (
        Light((0.0, -1.0, 1.0), 0.2),
        Light((0.0, 1.0, 1.0), 0.2),
        Light((1.0, 1.0, 2.0), 0.2),
        Light((1.0, 2.0, 2.0), 15.0, spot=True),
        Light((-1.0, 2.0, 2.0), 15.0, spot=True),
    )


SHOW_LOOK = Look()


@torch.no_grad()
def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (V, 3) of vertices (V, 3): mean of the faces' normals by their angle at the vertex."""
    index = faces.T.contiguous()
    corners = [vertices.index_select(0, corner).T.contiguous() for corner in index]
    edges = [corners[(i + 1) % 3] - corners[i] for i in range(3)]  # edge i leaves corner i
    normal = torch.linalg.cross(edges[0], edges[1], dim=0)
    length = _dot(normal, normal).sqrt_()
    # The cross product of any two edges is the same length, so it gives every angle with their dot product.
    first, second = (torch.atan2(length, -_dot(edges[i], edges[i - 1])) for i in (0, 1))
    unit = (normal / length.clamp_(min=1e-30)).T
    total = torch.zeros_like(vertices)
    for corner, angle in zip(index, (first, second, math.pi - first - second), strict=True):
        total.index_add_(0, corner, unit * angle[:, None])
    return total / total.norm(dim=1, keepdim=True).clamp_(min=1e-20)


@torch.no_grad()
def shade(
    position: Tensor, normal: Tensor, eye: tuple[float, float, float], look: Look = SHOW_LOOK
) -> Tensor:
    """Gamma-encoded colours (3, n) in [0, 1] of surface points (3, n) in metres with normals (3, n).

    eye: position of the camera. Normals need not have unit length.
    """
    normal = _unit(normal)
    view = _unit(torch.stack([eye[i] - position[i] for i in range(3)]))
    diffuse, specular, fresnel = _gather_light(position, normal, view, look)
    colors = []
    for base in look.base_color:
        f0 = _DIELECTRIC * (1 - look.metallic) + base * look.metallic
        albedo = base * (1 - _DIELECTRIC) * (1 - look.metallic) / math.pi
        # With Schlick's F = f0 + (1 - f0) q the sums over the lights are the same for all three channels.
        color = diffuse * (albedo * (1 - f0)) + specular * f0 + fresnel + base * look.ambient
        colors.append(color)
    return torch.stack(colors).pow_(1 / GAMMA).clamp_(max=1)


def _gather_light(
    position: Tensor, normal: Tensor, view: Tensor, look: Look
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums (n,) over the lights of w (1 - q), w s (1 - q) and w s q.

    w: light that arrives, q = (1 - v.h)^5: Schlick's factor, s: the specular term without Fresnel.
    """
    n_dot_v = _dot(normal, view).abs_().clamp_(_MIN_COSINE, 1)
    sums = [torch.zeros_like(n_dot_v) for _ in range(3)]
    k = (look.roughness + 1) ** 2 / 8
    visible = n_dot_v / (n_dot_v * (1 - k) + k)
    for light in look.lights:
        direction, power = _incoming(light, position)
        half = _unit(direction + view)
        n_dot_l = _dot(normal, direction).clamp_(_MIN_COSINE, 1)
        spread = _ggx(_dot(normal, half).clamp_(0, 1), look.roughness**2)
        shadowing = visible * n_dot_l / (n_dot_l * (1 - k) + k)
        specular = spread * shadowing / (4 * n_dot_l * n_dot_v + 0.001)
        grazing = 1 - _dot(view, half).clamp_(0, 1)
        q = (grazing * grazing).square_() * grazing
        lit = n_dot_l * power
        direct = lit * (1 - q)
        for total, part in zip(sums, (direct, direct * specular, lit * specular * q), strict=True):
            total += part
    return sums[0], sums[1], sums[2]


def _incoming(light: Light, position: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors (3, n) to the light and its power (n,) at the points: inverse square, within the cone."""
    towards = torch.stack([light.position[i] - position[i] for i in range(3)])
    inverse_square = 1 / _dot(towards, towards)
    towards *= inverse_square.sqrt()
    power = inverse_square * light.intensity
    if light.spot:
        inner, outer = math.cos(light.inner_rad), math.cos(light.outer_rad)
        cone = ((towards[2] - outer) / (inner - outer)).clamp_(0, 1)
        power *= cone * cone
    return towards, power


def _ggx(n_dot_h: Tensor, alpha: float) -> Tensor:
    spread = n_dot_h * n_dot_h * (alpha * alpha - 1) + 1
    return alpha * alpha / (math.pi * spread * spread)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.addcmul(a[0] * b[0], a[1], b[1]).addcmul_(a[2], b[2])


def _unit(vectors: Tensor) -> Tensor:
    return vectors * _dot(vectors, vectors).clamp_(min=1e-30).rsqrt_()
