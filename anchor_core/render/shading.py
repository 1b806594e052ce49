"""The look of the mesh renders that anchors are trained on, with SHOW's published numbers (arXiv 2212.04420).

A metallic-roughness material (GGX distribution, Schlick's Fresnel term, Smith's visibility, as in appendix B
of the glTF 2.0 specification) under an ambient light, three point lights and two spots that stand still in
the world. The body is therefore lit as published only near the origin, where SHOW puts it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GAMMA = 2.2
_MIN_COSINE = 0.001  # keeps light that grazes the surface finite, as published
_DIELECTRIC = 0.04  # reflectance of a non-metal seen head-on
_BLOCK = 16384  # points whose numbers stay in the cache of a CPU
Vectors = Sequence[Tensor] | Tensor
"""x, y and z, (n,) each."""


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
    lights = _Lights.of(look, position)
    linear = torch.empty_like(position)
    block = _BLOCK if position.device.type == "cpu" else max(1, position.shape[1])
    for points, normals, colors in zip(*(x.split(block, 1) for x in (position, normal, linear)), strict=True):
        view = _unit([eye[i] - points[i] for i in range(3)])
        diffuse, specular, fresnel = _gather_light(points.unbind(), _unit(normals.unbind()), view, lights)
        for base, color in zip(look.base_color, colors.unbind(), strict=True):
            f0 = _DIELECTRIC * (1 - look.metallic) + base * look.metallic
            albedo = base * (1 - _DIELECTRIC) * (1 - look.metallic) / math.pi
            # With Schlick's F = f0 + (1 - f0) q the sums over the lights are the same for all channels.
            torch.add(fresnel, base * look.ambient, out=color)
            color.add_(diffuse, alpha=albedo * (1 - f0)).add_(specular, alpha=f0)
    return linear.pow_(1 / GAMMA).clamp_(max=1)


@dataclass(frozen=True, eq=False)
class _Lights:
    """The lights of a look, one per row: (L, 1) each.

    position: three of them. A point is within the cone of a spot by slope * cosine + offset in [0, 1]; a
    light that is no spot shines everywhere.
    """

    position: list[Tensor]
    intensity: Tensor
    slope: Tensor
    offset: Tensor
    roughness: float

    @classmethod
    def of(cls, look: Look, like: Tensor) -> _Lights:
        slopes, offsets = [], []
        for light in look.lights:
            inner, outer = math.cos(light.inner_rad), math.cos(light.outer_rad)
            slopes.append(1 / (inner - outer) if light.spot else 0.0)
            offsets.append(-outer / (inner - outer) if light.spot else 1.0)
        rows = [*zip(*(light.position for light in look.lights), strict=True)]
        rows += [tuple(light.intensity for light in look.lights), tuple(slopes), tuple(offsets)]
        *position, intensity, slope, offset = (like.new_tensor(row)[:, None] for row in rows)
        return cls(position, intensity, slope, offset, look.roughness)


def _gather_light(
    position: Vectors, normal: Vectors, view: Vectors, lights: _Lights
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums (n,) over the lights of w (1 - q), w s (1 - q) and w s q.

    w: light that arrives, q = (1 - v.h)^5: Schlick's factor, s: the specular term without Fresnel. Everything
    per light is (L, n), and most of it is written over what is no longer needed: on a CPU the time is that of
    the memory. The half vector h = (l + v) / |l + v| of unit vectors is not needed itself: with u = 1 + l.v
    it is |l + v|^2 = 2 u, v.h = sqrt(u / 2) and n.h = (n.l + n.v) / sqrt(2 u).
    """
    towards = [light - point for light, point in zip(lights.position, position, strict=True)]
    power = _dot(towards, towards).reciprocal_()
    inverse = power.sqrt()
    n_dot_v, n_dot_l = _dot(normal, view), _dot(towards, normal).mul_(inverse)
    u = _dot(towards, view).mul_(inverse).add_(1).clamp_(min=1e-30)
    cone = towards[2].mul_(inverse).mul_(lights.slope).add_(lights.offset).clamp_(0, 1)
    power.mul_(lights.intensity).mul_(cone).mul_(cone)
    n_dot_h = (n_dot_l + n_dot_v).clamp_(min=0)
    n_dot_v.abs_().clamp_(_MIN_COSINE, 1)
    n_dot_l.clamp_(_MIN_COSINE, 1)
    lit = power.mul_(n_dot_l)
    specular = _specular(n_dot_h.mul_(n_dot_h).div_(u), n_dot_l, n_dot_v, lights.roughness).mul_(lit)
    grazing = u.sqrt_().mul_(-math.sqrt(0.5)).add_(1)
    q = torch.mul(grazing, grazing, out=inverse).square_().mul_(grazing)
    light, shine = lit.sum(0), specular.sum(0)
    shine_q = specular.mul_(q).sum(0)
    return light - lit.mul_(q).sum(0), shine - shine_q, shine_q


def _specular(twice_nh2: Tensor, n_dot_l: Tensor, n_dot_v: Tensor, roughness: float) -> Tensor:
    """The specular term without Fresnel (L, n), from 2 (n.h)^2, n.l, n.v; the first two are written over."""
    alpha2, k = roughness**4, (roughness + 1) ** 2 / 8
    spread = twice_nh2.mul_((alpha2 - 1) / 2).add_(1)
    below = (n_dot_l * (4 * n_dot_v)).add_(0.001).mul_(spread).mul_(spread)
    below.mul_(torch.mul(n_dot_l, 1 - k, out=spread).add_(k))
    visible = n_dot_v / (n_dot_v * (1 - k) + k) * (alpha2 / math.pi)
    return n_dot_l.mul_(visible).div_(below)


def _dot(a: Vectors, b: Vectors) -> Tensor:
    return (a[0] * b[0]).addcmul_(a[1], b[1]).addcmul_(a[2], b[2])


def _unit(vectors: Vectors) -> list[Tensor]:
    inverse = _dot(vectors, vectors).clamp_(min=1e-30).rsqrt_()
    return [axis * inverse for axis in vectors]
