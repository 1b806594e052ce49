"""Dresses the stand-in body: skin where it shows, a suit pushed out from the skin, hair, and the small parts.

Every vertex of the dressed person keeps its place on the template (`canonical`), whatever the shape of
the body: materials are painted in these coordinates, so edges do not depend on triangles. Skinning weights
come from the body, so clothes move with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..body.model import BodyModel
from . import parts
from .identity import Identity

Array = np.ndarray
SKIN, SUIT, COLLAR, KNOT, HAIR, EYE, MOUTH, TEETH, GLASSES, DESK = range(10)
_HEAD, _JAW, _NECK, _CHEST, _PELVIS = 15, 22, 12, 9, 0
_EYES = (23, 24)
# Where the hair ends: height of the hairline over z (front to back) on the template.
_HAIRLINE_Z = (-0.05, 0.0, 0.03, 0.055, 0.075, 0.09, 0.105, 0.13, 0.17)
_HAIRLINE_Y = (0.262, 0.275, 0.312, 0.338, 0.345, 0.372, 0.398, 0.410, 0.414)


@dataclass(frozen=True)
class Dressed:
    """The mesh of a dressed person at rest.

    rest, normals, canonical: (N, 3). weights: (N, 55). faces: (T, 3). material: (T,). loose: (N,) how much a
    vertex follows the swing of the hair. source: (N,) vertex of the body whose expression
    it follows, -1 for none.
    """

    rest: Array
    normals: Array
    canonical: Array
    weights: Array
    faces: Array
    material: Array
    loose: Array
    source: Array


def dress(body: BodyModel, identity: Identity, shaped: Array) -> Dressed:
    """Dress a body whose shaped rest vertices are (V, 3)."""
    template = body.vertices_template.numpy()
    faces = body.faces.numpy()
    weights = body.skin_weights.numpy()
    kit = _Kit(template, shaped, faces, weights, vertex_normals(shaped, faces))
    pieces = [_skin(kit), _eyes(kit), *_suit(kit), *_small_parts(kit, identity), *_hair(kit, identity)]
    return _merged(pieces)


@dataclass(frozen=True)
class _Kit:
    template: Array
    shaped: Array
    faces: Array
    weights: Array
    normals: Array

    def faces_where(self, keep: Array) -> Array:
        """Faces whose three vertices are kept."""
        return self.faces[keep[self.faces].all(axis=1)]

    def weight_of(self, *joints: int) -> Array:
        """Skinning weight of some joints together, (V,)."""
        return self.weights[:, list(joints)].sum(axis=1)


def _piece(kit: _Kit, faces: Array, material: int, **change: Array) -> Dressed:
    """The part of the body that `faces` use; `change` overrides fields, given for all V vertices."""
    used, local = np.unique(faces, return_inverse=True)
    fields = {
        "rest": kit.shaped,
        "normals": kit.normals,
        "canonical": kit.template,
        "weights": kit.weights,
        "loose": np.zeros(len(kit.shaped)),
        "source": np.full(len(kit.shaped), -1),
    } | change
    return Dressed(
        faces=local.reshape(-1, 3),
        material=np.full(len(faces), material),
        **{name: value[used] for name, value in fields.items()},
    )


def _skin(kit: _Kit) -> Dressed:
    x, y = np.abs(kit.template[:, 0] - parts.MIDDLE), kit.template[:, 1]
    head = (y > 0.10) & (x < 0.145)
    hands = x > 0.63
    keep = (head | hands) & (kit.weight_of(*_EYES) < 0.5)
    covered = np.maximum(_step(-y, -0.185, -0.15) * (x < 0.2), _step(-x, -0.685, -0.665) * (x > 0.5))
    rest = kit.shaped - (0.010 * covered)[:, None] * kit.normals  # never through the cloth
    return _piece(kit, kit.faces_where(keep), SKIN, rest=rest, source=np.arange(len(x)))


def _eyes(kit: _Kit) -> Dressed:
    return _piece(kit, kit.faces_where(kit.weight_of(*_EYES) > 0.5), EYE)


def _suit(kit: _Kit) -> list[Dressed]:
    x, y, z = np.abs(kit.template[:, 0] - parts.MIDDLE), kit.template[:, 1], kit.template[:, 2]
    neck = (x < 0.09) & (y > 0.182 + 0.035 * np.clip(x / 0.07, 0, 1) + 0.3 * np.maximum(0.03 - z, 0))
    keep = ~neck & (y > -0.46) & (y < 0.24) & (x < 0.680) & (kit.weight_of(_HEAD, _JAW) < 0.3)
    faces = kit.faces_where(keep)
    amount = np.where(x < 0.16, 0.6 - 0.55 * _step(y, 0.10, 0.15), 0.25 - 0.25 * _step(x, 0.60, 0.66))
    smooth, canonical = _relaxed(kit.shaped, faces, 14, amount), _relaxed(kit.template, faces, 14, amount)
    normals = vertex_normals(smooth, faces)
    shoulder = np.exp(-(((x - 0.160) / 0.055) ** 2)) * np.clip((y - 0.05) / 0.05, 0, 1)
    push = 0.016 + 0.014 * shoulder + 0.004 * _step(x, 0.55, 0.64)
    push = push * (1 - 0.6 * _step(y, 0.14, 0.18) * _step(-x, -0.12, -0.08)) + 0.006 * _step(-y, 0.1, 0.3)
    rest = smooth + push[:, None] * normals
    rest = _relaxed(rest, faces, 3, np.full(len(x), 0.4))
    normals = vertex_normals(rest, faces)
    outside = _piece(kit, faces, SUIT, rest=rest, normals=normals, canonical=canonical)
    openings = (x > 0.62) | ((y > 0.09) & (x < 0.15))
    lining = faces[openings[faces].all(axis=1)][:, ::-1]
    return [outside, _piece(kit, lining, SUIT, rest=rest, normals=-normals, canonical=canonical)]


def _hair(kit: _Kit, identity: Identity) -> list[Dressed]:
    x, (y, z) = kit.template[:, 0] - parts.MIDDLE, kit.template[:, 1:].T
    inside = y - np.interp(z, _HAIRLINE_Z, _HAIRLINE_Y)
    ear = (np.abs(x) > 0.071) & (y < 0.372) & (y > 0.29) & (z > 0.02) & (z < 0.095)
    inside = np.where(ear, -0.02, inside)
    keep = (inside > -0.012) & (y > 0.25) & (kit.weight_of(_HEAD) > 0.5)
    grown = np.clip(inside / 0.022, -0.4, 1)
    volume = 0.008 + 0.012 * _step(y, 0.38, 0.43) + 0.004 * _step(-z, -0.03, 0.02)
    if identity.hair_style == "quiff":
        volume = volume + 0.014 * _step(y, 0.39, 0.42) * _step(z, 0.06, 0.13) * (1 + 6 * (x + 0.02))
    if identity.hair_style in ("bob", "long"):
        volume = volume + 0.006
    rest = kit.shaped + (volume * grown)[:, None] * kit.normals
    loose = 0.8 * _step(z, 0.05, 0.12) * _step(y, 0.395, 0.43)
    faces = kit.faces_where(keep)
    pieces = [_piece(kit, faces, HAIR, rest=rest, normals=vertex_normals(rest, faces), loose=loose)]
    if identity.hair_style in ("bob", "long"):
        mesh = parts.hanging_hair(0.12 if identity.hair_style == "bob" else 0.21)
        low = _step(-mesh[0][:, 1], -0.38, -0.12)
        weights = {_HEAD: 1 - 0.35 * low, _CHEST: 0.35 * low}
        pieces.append(_attached(kit, mesh, HAIR, weights, loose=1.3 * low))
    if identity.hair_style == "bun":
        pieces.append(_attached(kit, parts.bun(), HAIR, {_HEAD: 1.0}))
    return pieces


def _small_parts(kit: _Kit, identity: Identity) -> list[Dressed]:
    bag = parts.mouth_bag()
    lower = _step(-bag[0][:, 1], -0.276, -0.266)
    pieces = [
        _attached(kit, parts.collar(), COLLAR, {_CHEST: 0.55, _NECK: 0.45}),
        *(_attached(kit, parts.cuff(side), COLLAR) for side in (1.0, -1.0)),
        *(_attached(kit, parts.sleeve_end(side), SUIT) for side in (1.0, -1.0)),
        _attached(kit, parts.jacket_skirt(), SUIT, {_PELVIS: 1.0}),
        _attached(kit, bag, MOUTH, {_HEAD: 1 - lower, _JAW: lower}),
        _attached(kit, parts.teeth(True), TEETH, {_HEAD: 1.0}),
        _attached(kit, parts.teeth(False), TEETH, {_JAW: 1.0}),
    ]
    if identity.tie_pattern != "none":
        pieces.append(_attached(kit, parts.tie_knot(), KNOT, {_CHEST: 0.75, _NECK: 0.25}))
    if identity.glasses:
        pieces.append(_attached(kit, parts.glasses(), GLASSES, {_HEAD: 1.0}))
    return pieces


def _attached(
    kit: _Kit,
    mesh: parts.Mesh,
    material: int,
    joints: Mapping[int, float | Array] | None = None,
    loose: Array | None = None,
) -> Dressed:
    """A small mesh carried by joints, or by those of its nearest vertices; shaped as they are."""
    vertices, faces = mesh
    distance = ((vertices[:, None] - kit.template[None, ::3]) ** 2).sum(-1)
    near = np.argpartition(distance, 8, axis=1)[:, :8]
    moved = vertices + (kit.shaped - kit.template)[::3][near].mean(axis=1)
    weights = kit.weights[::3][near].mean(axis=1) if joints is None else np.zeros((len(vertices), 55))
    for joint, weight in (joints or {}).items():
        weights[:, joint] = weight
    return Dressed(
        rest=moved,
        normals=_two_sided_normals(moved, faces),
        canonical=vertices,
        weights=weights,
        faces=faces,
        material=np.full(len(faces), material),
        loose=np.zeros(len(vertices)) if loose is None else loose,
        source=np.full(len(vertices), -1),
    )


def _two_sided_normals(vertices: Array, faces: Array) -> Array:
    """Vertex normals from the first half of the faces when the second half are the same ones turned round."""
    half = len(faces) // 2
    twice = len(faces) % 2 == 0 and np.array_equal(faces[half:], faces[:half, ::-1])
    return vertex_normals(vertices, faces[:half] if twice else faces)


def _merged(pieces: list[Dressed]) -> Dressed:
    offsets = np.cumsum([0, *(len(piece.rest) for piece in pieces[:-1])])
    names = ("rest", "normals", "canonical", "weights", "material", "loose", "source")
    return Dressed(
        faces=np.concatenate([piece.faces + offset for piece, offset in zip(pieces, offsets, strict=True)]),
        **{name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in names},
    )


def vertex_normals(vertices: Array, faces: Array) -> Array:
    """Area-weighted unit normals (V, 3); vertices without a face get zero."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices, dtype=np.float64)
    for corner in range(3):
        np.add.at(total, faces[:, corner], normal)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def _relaxed(vertices: Array, faces: Array, steps: int, amount: Array) -> Array:
    """Laplacian smoothing of the vertices that `faces` use: hides muscles below cloth."""
    edges = np.unique(
        np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0
    )
    start, end = np.concatenate([edges, edges[:, ::-1]]).T
    degree = np.maximum(np.bincount(start, minlength=len(vertices)), 1)
    out = np.array(vertices, dtype=np.float64)
    for _ in range(steps):
        mean = (
            np.stack([np.bincount(start, out[end, c], len(vertices)) for c in range(3)], axis=1)
            / degree[:, None]
        )
        out[start] += (amount[:, None] * (mean - out))[start]
    return out


def _step(value: Array, low: float, high: float) -> Array:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
