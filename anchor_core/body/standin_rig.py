"""MakeHuman's skeleton as the 55 joints of SMPL-X, and its A-pose turned into SMPL-X's T-pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .standin_source import Source

# Parents of the 55 joints of SMPL-X.
BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15)
HAND_PARENTS = tuple(
    wrist if k % 3 == 0 else 25 + 15 * side + k - 1 for side, wrist in ((0, 20), (1, 21)) for k in range(15)
)
PARENTS = BODY_PARENTS + HAND_PARENTS
# First joint of each finger within a hand of SMPL-X: MakeHuman's number of the finger (thumb is 1).
FINGERS = {0: 2, 3: 3, 6: 5, 9: 4, 12: 1}
_MIDLINE = {0: "spine05", 3: "spine04", 6: "spine02", 9: "spine01", 12: "neck01", 15: "head", 22: "jaw"}
_LEFT = {
    1: "upperleg01",
    4: "lowerleg01",
    7: "foot",
    10: "toe1-1",
    13: "clavicle",
    16: "upperarm01",
    18: "lowerarm01",
    20: "wrist",
    23: "eye",
}
SIDES = (("L", 0, 1.0), ("R", 1, -1.0))  # letter, offset of the joint's number, sign of x


def joint_bones() -> dict[int, str]:
    """The bone whose head is the joint, for each of the 55."""
    bones = dict(_MIDLINE)
    for letter, offset, _ in SIDES:
        bones |= {joint + offset: f"{bone}.{letter}" for joint, bone in _LEFT.items()}
        for first, finger in FINGERS.items():
            for k in range(3):
                bones[25 + 15 * offset + first + k] = f"finger{finger}-{k + 1}.{letter}"
    return bones


def joint_vertices(source: Source) -> list[list[int]]:
    """For each of the 55 joints the vertices whose mean it is."""
    bones = joint_bones()
    return [source.bone_end(bones[joint], "head") for joint in range(len(PARENTS))]


def finger_tips(source: Source, vertices: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Tip (3,) of each finger by (side, first joint of the finger)."""
    return {
        (side, first): vertices[source.bone_end(f"finger{finger}-3.{letter}", "tail")].mean(0)
        for letter, side, _ in SIDES
        for first, finger in FINGERS.items()
    }


def skin_weights(source: Source, joints: Sequence[list[int]]) -> np.ndarray:
    """Weights (V, 55): each of the 163 bones counts for its nearest ancestor that is a joint of SMPL-X."""
    weights = np.zeros((len(source.vertices), len(PARENTS)))
    joint_of = {bone: joint for joint, bone in joint_bones().items()}
    for bone, pairs in source.bone_weights.items():
        joint = _nearest_joint(source, bone, joint_of)
        for vertex, weight in pairs:
            weights[int(vertex), joint] += weight
    for joint, vertices in enumerate(joints):  # helper vertices, which carry no weights, follow their joint
        bare = [vertex for vertex in vertices if weights[vertex].sum() < 1e-6]
        weights[bare, joint] = 1
    for letter, offset, _ in SIDES:
        side = letter.lower()
        for group in (f"joint-{side}-eye", f"helper-{side}-eye"):
            vertices = source.group_vertices(group)
            weights[vertices] = 0
            weights[vertices, 23 + offset] = 1
    return weights


def _nearest_joint(source: Source, bone: str, joint_of: dict[str, int]) -> int:
    while bone not in joint_of:
        parent = source.bones[bone]["parent"]
        if not parent:
            return 0
        bone = parent
    return joint_of[bone]


@dataclass(frozen=True, eq=False)
class Repose:
    """One rigid motion per vertex, blended by the skin weights: turns (V, 3, 3) and shifts (V, 3)."""

    turns: np.ndarray
    shifts: np.ndarray
    joints: np.ndarray

    def points(self, vertices: np.ndarray) -> np.ndarray:
        """Places (V, 3) after the motion."""
        return self.directions(vertices) + self.shifts

    def directions(self, offsets: np.ndarray) -> np.ndarray:
        """Offsets (V, 3) after the motion."""
        return np.einsum("vab,vb->va", self.turns, offsets)


def t_pose(joints: np.ndarray, tips: dict[tuple[int, int], np.ndarray], weights: np.ndarray) -> Repose:
    """The motion from MakeHuman's A-pose to the T-pose of SMPL-X: arms and hands straight out, legs down."""
    turns = np.tile(np.eye(3), (len(PARENTS), 1, 1))
    for _, side, sign in SIDES:
        _turn_limbs(turns, joints, side, sign)
        _turn_hand(turns, joints, tips, side, sign)
    places = np.zeros_like(joints)
    places[0] = joints[0]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        places[joint] = places[parent] + turns[parent] @ (joints[joint] - joints[parent])
    shifts = places - np.einsum("jab,jb->ja", turns, joints)
    return Repose(np.einsum("vj,jab->vab", weights, turns), weights @ shifts, places)


def _turn_limbs(turns: np.ndarray, joints: np.ndarray, side: int, sign: float) -> None:
    """World rotations of arm and leg, so that bones point as in the rest pose of SMPL-X."""
    targets = {
        (16, 18): (sign * 0.255, -0.05, -0.04),
        (18, 20): (sign * 0.252, 0.0, 0.0),
        (1, 4): (sign * 0.055, -0.38, -0.005),
        (4, 7): (-sign * 0.03, -0.40, -0.035),
    }
    for (joint, child), direction in targets.items():
        bone = joints[child + side] - joints[joint + side]
        turns[joint + side] = _shortest_turn(bone, np.array(direction))


def _turn_hand(
    turns: np.ndarray, joints: np.ndarray, tips: dict[tuple[int, int], np.ndarray], side: int, sign: float
) -> None:
    """World rotations of a wrist and its fingers: palm down, fingers straight; the thumb keeps its bend."""
    first, wrist = 25 + 15 * side, 20 + side
    hand = _frame(joints[first + 3] - joints[wrist], joints[first] - joints[first + 6])
    turns[wrist] = _frame(np.array([sign, -0.02, 0.0]), np.array([0.0, 0.0, 1.0])) @ hand.T
    turns[first + 12 : first + 15] = turns[wrist]
    normal = hand[:, 2]
    for finger in (0, 3, 6, 9):
        points = [*joints[first + finger : first + finger + 3], tips[side, finger]]
        flat = points[1] - points[0]
        flat = flat - normal * (flat @ normal)
        for k in range(3):
            turns[first + finger + k] = turns[wrist] @ _shortest_turn(points[k + 1] - points[k], flat)


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector with length one."""
    return vector / np.linalg.norm(vector)


def _frame(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Orthonormal axes as columns: x, the part of y across x, and their cross product."""
    x = unit(x)
    y = unit(y - x * (x @ y))
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _shortest_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotation that turns one direction into another."""
    start, end = unit(start), unit(end)
    v, cosine = np.cross(start, end), start @ end
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)
