"""The mesh of the stand-in: vertices where tools for SMPL-X look for them, no mouth bag, landmarks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch

from ..motion.camera import Camera
from ..render.raster import project, rasterize
from .standin_rig import SIDES, unit
from .standin_source import Source

# Numbers that tools for SMPL-X hard-code, by what they mean; fingers as (joint of the hand, number).
_NOSE, _EYES, _EARS = 9120, {0: 9448, 1: 9929}, {1: 616, 0: 6}
_TIP_JOINTS = (14, 2, 5, 11, 8)  # thumb, index, middle, ring, little
_TIPS = {1: (8079, 7669, 7794, 7905, 8022), 0: (5361, 4933, 5058, 5169, 5286)}
_FEET = {0: (5770, 5780, 8846), 1: (8463, 8474, 8635)}  # big toe, small toe, heel
_MIN_PIXELS = 25  # a few pixels of the mouth bag leak between the closed lips
_VIEW_PX = 1024


def triangles(source: Source) -> np.ndarray:
    """Triangles (T, 3) of skin and eyes, of the base mesh's vertices; no teeth and no tongue, as SMPL-X."""
    faces = []
    for group in ("body", "helper-l-eye", "helper-r-eye"):
        for a, b, c, *rest in source.groups[group]:
            faces.append((a, b, c))
            if rest and rest[0] != a:
                faces.append((a, c, rest[0]))
    return np.array(faces)


def anatomical_order(
    source: Source, kept: np.ndarray, mesh: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> np.ndarray:
    """The order (V,) of the kept vertices that puts nose, eyes, ears, toes and tips on SMPL-X's numbers.

    mesh: vertices (V, 3), joints (55, 3) and weights (V, 55) of the kept vertices.
    """
    number = np.full(len(source.vertices), -1)
    number[kept] = np.arange(len(kept))
    places: dict[int, int] = {}
    groups = {name: number[source.group_vertices(name)] for name in ("body", "helper-l-eye", "helper-r-eye")}
    places |= dict(_head_places(groups, *mesh))
    for _, side, _ in reversed(SIDES):
        places |= dict(_tip_places(groups["body"], *mesh, side))
    for _, side, sign in SIDES:
        places |= dict(_foot_places(groups["body"], *mesh, side, sign))
    order = np.arange(len(kept))
    where = order.copy()
    for wanted, vertex in places.items():
        here, other = where[vertex], order[wanted]
        order[wanted], order[here] = vertex, other
        where[vertex], where[other] = wanted, here
    return order


def _furthest(vertices: np.ndarray, among: np.ndarray, direction: object) -> int:
    return int(among[np.argmax(vertices[among] @ np.asarray(direction, dtype=float))])


def _head_places(
    groups: dict[str, np.ndarray], vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray
) -> Iterator[tuple[int, int]]:
    body = groups["body"]
    head = body[weights[body, 15] > 0.5]
    jaw_y, eye_y = joints[22, 1], joints[23, 1]
    x, y = vertices[head, 0], vertices[head, 1]
    yield _NOSE, _furthest(vertices, head[(np.abs(x) < 0.004) & (y > jaw_y) & (y < eye_y)], (0, 0, 1))
    yield _EYES[1], _furthest(vertices, groups["helper-r-eye"], (0, 0, 1))
    yield _EYES[0], _furthest(vertices, groups["helper-l-eye"], (0, 0, 1))
    ears = head[np.abs(y - eye_y) < 0.04]
    yield _EARS[1], _furthest(vertices, ears, (-1, 0, 0))
    yield _EARS[0], _furthest(vertices, ears, (1, 0, 0))


def _tip_places(
    body: np.ndarray, vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, side: int
) -> Iterator[tuple[int, int]]:
    for k, number in zip(_TIP_JOINTS, _TIPS[side], strict=True):
        joint = 25 + 15 * side + k
        finger = body[weights[body, joint] > 0.5]
        yield number, _furthest(vertices, finger, unit(joints[joint] - joints[joint - 1]))


def _foot_places(
    body: np.ndarray, vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, side: int, sign: float
) -> Iterator[tuple[int, int]]:
    toes, foot = body[weights[body, 10 + side] > 0.5], body[weights[body, 7 + side] > 0.5]
    directions = ((toes, (-0.2 * sign, 0, 1)), (toes, (sign, 0, 0.3)), (foot, (0, -0.5, -1)))
    for number, (among, direction) in zip(_FEET[side], directions, strict=True):
        yield number, _furthest(vertices, among, direction)


def without_mouth_bag(vertices: np.ndarray, faces: np.ndarray, jaw: np.ndarray) -> np.ndarray:
    """The faces (T', 3) without those inside the mouth, which no view from outside shows.

    An open mouth is then a hole: anchors are trained on mesh renders that show black there, since SMPL-X has
    no mouth bag.
    """
    x, y, z = (vertices[faces].mean(1) - jaw).T
    near_mouth = (np.abs(x) < 0.06) & (y < 0.02) & (y > -0.12) & (z > -0.13)
    return faces[~(near_mouth & (_visible_pixels(vertices, faces, jaw) < _MIN_PIXELS))]


def _visible_pixels(vertices: np.ndarray, faces: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Pixels (T,) that each face has in 45 pictures of the head from the front and the sides."""
    middle = _VIEW_PX / 2
    camera = Camera((10000.0, 10000.0), (middle, middle), (_VIEW_PX, _VIEW_PX), (0.0, 0.0, 3.0))
    points = torch.as_tensor(vertices - centre, dtype=torch.float32)
    corners = torch.as_tensor(faces)
    seen = torch.zeros(len(faces), dtype=torch.int64)
    for yaw, pitch in product(np.radians(range(-80, 81, 20)), np.radians((-50, -25, 0, 25, 50))):
        turn = torch.as_tensor(_view(yaw, pitch), dtype=torch.float32)
        shown = rasterize(*project(points @ turn.T, camera), corners, _VIEW_PX, _VIEW_PX)
        seen += torch.bincount(shown[shown >= 0], minlength=len(faces))
    return seen.numpy()


def _view(yaw: float, pitch: float) -> np.ndarray:
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    return np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]) @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])


def landmark_faces(corners: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Numbers (68,) of the faces that have these corners (68, 3), in this order."""
    number = {tuple(face): index for index, face in enumerate(faces.tolist())}
    return np.array([number[tuple(face)] for face in corners.tolist()])
