"""Small meshes that the body does not have: collar, knot of the tie, glasses, mouth, hanging hair, desk.

Everything is built in the coordinates of the stand-in's template (T-pose, metres, y up, facing +z); faces are
counter-clockwise seen from outside.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
Mesh = tuple[Array, Array]  # vertices (N, 3), faces (T, 3)
MIDDLE = 0.003  # x of the stand-in's plane of symmetry
EYE = np.array([0.029, 0.347, 0.135])  # centre of the left eye ball relative to the plane of symmetry


def grid(points: Array, closed: bool = False) -> Mesh:
    """Triangles of a grid of points (R, C, 3); `closed` joins the last column to the first."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, d, b), (b, d, c))])
    return points.reshape(-1, 3), faces


def joined(meshes: list[Mesh]) -> Mesh:
    """One mesh out of several."""
    offsets = np.cumsum([0, *(len(vertices) for vertices, _ in meshes[:-1])])
    faces = [faces + offset for (_, faces), offset in zip(meshes, offsets, strict=True)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces)


def tube(path: Array, radius: float, sides: int = 6, closed: bool = False) -> Mesh:
    """A tube around a path (N, 3)."""
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    first = np.cross(ahead, np.where(np.abs(ahead[:, 1:2]) < 0.9, [[0.0, 1, 0]], [[1.0, 0, 0]]))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(ahead, first)
    angle = -2 * np.pi * np.arange(sides) / sides
    ring = np.cos(angle)[None, :, None] * first[:, None] + np.sin(angle)[None, :, None] * second[:, None]
    points = path[:, None] + radius * ring
    if closed:
        points = np.concatenate([points, points[:1]])
    return grid(points, closed=True)


def ellipsoid(centre: Array, radii: tuple[float, float, float], rows: int = 9, columns: int = 14) -> Mesh:
    """A closed ellipsoid."""
    polar, turn = np.linspace(0.02, np.pi - 0.02, rows), 2 * np.pi * np.arange(columns) / columns
    ring = np.sin(polar)[:, None]
    points = np.stack([ring * np.sin(turn), np.cos(polar)[:, None] + 0 * turn, ring * np.cos(turn)], axis=-1)
    return grid(centre + points * np.array(radii), closed=True)


def collar() -> Mesh:
    """A turned-down shirt collar, open at the front for the knot of the tie."""
    turn = np.linspace(-1, 1, 41)  # around the neck from one wing over the nape to the other
    drop = np.linspace(0, 1, 5)[:, None]
    angle = np.pi + turn * (np.pi - 0.16 - 0.30 * drop)  # 0 is the front
    front = 0.5 + 0.5 * np.cos(angle)
    wing = front**4
    height = 0.232 - 0.040 * front - drop * (0.036 + 0.036 * wing)
    flare = 0.010 + 0.014 * drop
    x = MIDDLE + (0.058 + flare) * np.sin(angle) * (1 + 0.12 * drop)
    z = 0.038 + (0.052 + flare + 0.010 * drop * wing) * np.cos(angle)
    return _outward(grid(np.stack([x, height, z], axis=-1)), np.array([MIDDLE, 0.2, 0.03]))


def cuff(side: float) -> Mesh:
    """A shirt cuff that looks out of the sleeve, closed towards the wrist; side 1 is the left arm."""
    along = np.array([0.650, 0.702, 0.704, 0.700])[:, None]
    wide = np.array([0.031, 0.0325, 0.030, 0.012])[:, None]
    turn = 2 * np.pi * np.arange(20) / 20
    y, z = 0.0545 + 0.95 * wide * np.cos(turn), -0.0115 + 1.08 * wide * np.sin(turn)
    points = np.stack([MIDDLE + side * along + 0 * turn, y, z], axis=-1)
    return _outward(grid(points, closed=True), np.array([side * 0.6, 0.0545, -0.0115]), (1, 1, 1))


def sleeve_end(side: float) -> Mesh:
    """The dark ring between sleeve and cuff; side 1 is the left arm."""
    wide = np.array([0.047, 0.028])[:, None]
    turn = 2 * np.pi * np.arange(20) / 20
    y, z = 0.0545 + 0.95 * wide * np.cos(turn), -0.0115 + 1.05 * wide * np.sin(turn)
    points = np.stack([MIDDLE + side * 0.661 + 0 * turn * wide, y, z], axis=-1)
    return _outward(grid(points, closed=True), np.array([side * 0.6, 0.0545, -0.0115]), (1, 1, 1))


def jacket_skirt() -> Mesh:
    """The part of the jacket below the hips, which ends behind the desk."""
    turn = 2 * np.pi * np.arange(28) / 28
    wide = np.linspace(1.0, 1.03, 5)[:, None]
    y = np.linspace(-0.26, -0.52, 5)[:, None] + 0 * turn
    x, z = MIDDLE + 0.148 * wide * np.sin(turn), 0.034 + 0.108 * wide * np.cos(turn)
    return grid(np.stack([x, y, z], axis=-1), closed=True)


def tie_knot() -> Mesh:
    """The knot between the wings of the collar."""
    return ellipsoid(np.array([MIDDLE, 0.160, 0.101]), (0.019, 0.021, 0.014))


def glasses() -> Mesh:
    """Two rims, a bridge and two temples."""
    turn = 2 * np.pi * np.arange(22) / 22
    meshes = []
    for side in (-1.0, 1.0):
        x = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.75 * 0.0245
        y = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.75 * 0.0185
        z = 0.168 - 0.010 * (np.abs(x) / 0.0245) ** 2 * (x * side > 0)
        rim = np.stack([MIDDLE + side * 0.033 + x, EYE[1] - 0.002 + y, z], axis=1)
        meshes.append(tube(rim, 0.0022, closed=True))
        ends = [[0.0575, 0.351, 0.158], [0.074, 0.352, 0.118], [0.085, 0.350, 0.062]]
        meshes.append(tube(np.array(ends) * np.array([side, 1, 1]) + np.array([MIDDLE, 0, 0]), 0.0018))
    bridge = [[-0.010, 0.349, 0.169], [0.0, 0.351, 0.172], [0.010, 0.349, 0.169]]
    meshes.append(tube(np.array(bridge) + np.array([MIDDLE, 0, 0]), 0.0020))
    return joined(meshes)


def mouth_bag() -> Mesh:
    """A dark bowl behind the lips."""
    across, down = np.meshgrid(np.linspace(-1, 1, 11), np.linspace(1, -1, 9))
    x, y = MIDDLE + 0.032 * across * np.sqrt(1 - 0.7 * down**2), 0.271 + 0.024 * down
    z = 0.140 - 0.022 * across**2 - 0.006 * down**2
    return grid(np.stack([x, y, z], axis=-1))


def teeth(upper: bool) -> Mesh:
    """One row of teeth."""
    across, down = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(1, -1, 3))
    x = MIDDLE + 0.021 * across
    y = (0.2785 if upper else 0.2620) + 0.0045 * down
    z = (0.154 if upper else 0.151) - 0.016 * across**2
    return grid(np.stack([x, y, z], axis=-1))


def hanging_hair(length: float) -> Mesh:
    """A two-sided curtain of hair from temple over the back to temple, `length` metres below the ears."""
    turn = np.linspace(-1, 1, 33)
    drop = np.linspace(0, 1, 12)[:, None]
    angle = np.pi + turn * (np.pi - 1.15 + 0.18 * drop)
    bulge = 0.010 + 0.018 * np.sin(np.pi * np.clip(drop * 0.8, 0, 1)) + 0.004 * np.cos(9 * turn)
    x = MIDDLE + (0.072 + bulge) * np.sin(angle)
    z = 0.040 + (0.080 + bulge * 0.8) * np.cos(angle) - 0.012 * drop
    y = 0.405 - drop * (0.105 + length) + 0 * angle + 0.012 * np.cos(13 * turn) * drop
    vertices, faces = _outward(grid(np.stack([x, y, z], axis=-1)), np.array([MIDDLE, 0.3, 0.04]))
    return vertices, np.concatenate([faces, faces[:, ::-1]])


def bun() -> Mesh:
    """A knot of hair above the crown."""
    return ellipsoid(np.array([MIDDLE, 0.462, 0.025]), (0.042, 0.036, 0.042))


def desk() -> Mesh:
    """Top and front of the desk in the world of the renderer (it does not move with the body)."""
    left, right = -0.75, 0.75
    edges = ((0.377, 0.05), (0.376, 0.64), (0.356, 0.642), (0.360, 0.63), (0.10, 0.63))  # height, depth
    rows = [np.array([[left, y, z], [right, y, z]]) for y, z in edges]
    return joined([grid(np.stack(rows[i : i + 2])) for i in (0, 1, 3)])


def _outward(mesh: Mesh, centre: Array, axes: tuple[int, int, int] = (1, 0, 1)) -> Mesh:
    """The mesh with its faces turned to look away from a centre (decided for the mesh as a whole)."""
    vertices, faces = mesh
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    away = (normal * (corners.mean(1) - centre) * np.array(axes)).sum()
    return (vertices, faces) if away > 0 else (vertices, faces[:, ::-1])
