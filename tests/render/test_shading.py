"""Normals of known solids and the numbers of the published look."""

from __future__ import annotations

import math

import pytest
import torch

from anchor_core.body import BodyModel
from anchor_core.render.shading import GAMMA, SHOW_LOOK, Look, shade, vertex_normals

UNLIT = [255 * (0.3 * base) ** (1 / GAMMA) for base in SHOW_LOOK.base_color]  # 85.3, 107.7, 112.4


def test_normals_of_a_cube_point_along_its_diagonals() -> None:
    vertices = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    faces = torch.tensor([face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))])
    # Weights by angle do not see how the squares are cut into triangles; weights by area would.
    assert torch.allclose(vertex_normals(vertices, faces), vertices / math.sqrt(3), atol=1e-6)


def test_normals_of_the_body_are_unit_and_finite(body: BodyModel) -> None:
    normals = vertex_normals(body.vertices_template, body.faces)
    assert normals.isfinite().all()
    used = body.faces.unique()
    assert torch.allclose(normals[used].norm(dim=1), torch.ones(len(used)), atol=1e-5)


def test_degenerate_faces_give_zero_not_nan() -> None:
    normals = vertex_normals(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    assert torch.equal(normals, torch.zeros(3, 3))


def test_surface_that_no_light_reaches_has_the_published_unlit_colour() -> None:
    away = torch.tensor([[0.0], [0.0], [-1.0]])
    color = shade(torch.tensor([[0.0], [0.0], [0.5]]), away, (-0.27, 0.71, 6.2))[:, 0] * 255
    assert torch.allclose(color, torch.tensor(UNLIT), atol=0.6)
    assert color.round().tolist() == pytest.approx([85, 108, 112], abs=1)


def test_shade_matches_the_formulas_written_out_for_one_light() -> None:
    look = Look(lights=(SHOW_LOOK.lights[3],))
    place, normal, eye = (0.1, -0.2, 0.1), (0.0, 0.6, 0.8), (-0.27, 0.71, 6.2)
    found = shade(torch.tensor(place)[:, None].double(), torch.tensor(normal)[:, None].double(), eye, look)
    expected = [written_out(place, normal, eye, base) for base in look.base_color]
    assert found[:, 0].tolist() == pytest.approx(expected, abs=1e-6)


def written_out(
    place: tuple[float, ...], normal: tuple[float, ...], eye: tuple[float, ...], base: float
) -> float:
    """One channel at one point under the first spot, in scalars and in the order of the glTF appendix."""
    metallic, roughness, position, intensity = 0.2, 0.6, (1.0, 2.0, 2.0), 15.0
    n, point = torch.tensor(normal).double(), torch.tensor(place).double()
    towards, view = torch.tensor(position).double() - point, torch.tensor(eye).double() - point
    distance = towards.norm()
    light, view = towards / distance, view / view.norm()
    half = (light + view) / (light + view).norm()
    nl, nv, nh, vh = (float(a @ b) for a, b in ((n, light), (n, view), (n, half), (view, half)))
    f0 = 0.04 * (1 - metallic) + base * metallic
    fresnel = f0 + (1 - f0) * (1 - vh) ** 5
    k, alpha2 = (roughness + 1) ** 2 / 8, roughness**4
    visibility = nl / (nl * (1 - k) + k) * nv / (nv * (1 - k) + k)
    spread = alpha2 / (math.pi * (nh * nh * (alpha2 - 1) + 1) ** 2)
    specular = fresnel * visibility * spread / (4 * nl * nv + 0.001)
    diffuse = (1 - fresnel) * base * 0.96 * (1 - metallic) / math.pi
    cone = min(2 * float(light[2]), 1.0) ** 2
    linear = 0.3 * base + nl * intensity * cone / float(distance) ** 2 * (diffuse + specular)
    return linear ** (1 / 2.2)
