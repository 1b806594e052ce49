"""The rotations of a foreign skeleton on the joints of SMPL-X.

A joint of SMPL-X turns in the world by S C: S is the turn of the foreign joint, C a constant that says how
the rest pose of SMPL-X lies in the foreign joint's own axes. Where the zero pose of the foreign skeleton is a
person (T, A, arms down), C follows the bones down each limb by the smallest turns from the T-pose. Where it
is not (all bones along one axis), the bone still says where C points, and the motion says how it is rolled:
elbows and knees bend about one axis. Limbs so point where the source points; trunk, collar bones and feet
keep their angle to the zero pose instead, since skeletons place those joints differently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ..rotations import (
    axis_angle_from_matrix,
    axis_angle_from_quaternion,
    matrix_from_axis_angle,
    mean_rotation,
    quaternion_from_matrix,
)

_TRUNK = (0, 3, 6, 9, 12, 15, 22, 23, 24)
_SPINE = (0, 3, 6, 9, 12, 15)
_COLLARS = (13, 14)
_FEET = (7, 8)
_ARMS = ((16, 18), (17, 19))
_LEGS = ((1, 4), (2, 5))
_LEFT = (1, 16)
# The joint that a bone ends at; hands end at the base of the middle finger.
_CHILD = {1: 4, 4: 7, 7: 10, 2: 5, 5: 8, 8: 11, 16: 18, 18: 20, 20: 28, 17: 19, 19: 21, 21: 43}
_CHILD |= {base + k: base + k + 1 for base in range(25, 55, 3) for k in (0, 1)}
_CHILD |= {3: 6, 6: 9, 9: 12, 12: 15, 13: 16, 14: 17}
# Left, right and the one ahead of the joints around pelvis, chest and hands.
_SPREAD = {0: (1, 2, 3), 9: (13, 14, 12), 20: (25, 31, 28), 21: (40, 46, 43)}
_BEND = {16: 1.0, 17: 1.0, 1: -1.0, 2: -1.0}  # elbows bend to the front, knees to the back
_FORWARD, _UP, _SIDE = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])
_LOOKED_AT = 300  # frames that calibrate
_BENT = np.sin(np.radians(15))  # a straighter limb has no plane
_LEAST_BENT = 0.05  # share of the frames
_LEAST_SPREAD = np.radians(8)  # of the bend, to show its axis
_MOST_ROLL = np.radians(75)  # no joint is rolled by more against its parent, on average
_STRAIGHT = np.cos(np.radians(40))  # between a bone and its parent, for the zero pose to say their roll
_LEVEL = np.cos(np.radians(15))
_LEAST_ANGLE = 0.3  # sine between two directions that make a frame
_NEAR_AXIS = np.cos(np.radians(25))
_FLAT_FOOT = np.radians(35)


@dataclass(frozen=True, eq=False)
class Source:
    """A foreign skeleton, by joints of SMPL-X.

    parents: those of SMPL-X. rest: (55, 3) its rest pose. zero: position (3,) of each joint that drives one,
    with all rotations zero. tips: the same for the ends of the last finger bones. turns: rotations (F, 3, 3)
    in the world of each joint that drives one.
    """

    parents: Sequence[int]
    rest: np.ndarray
    zero: Mapping[int, np.ndarray]
    tips: Mapping[int, np.ndarray]
    turns: Mapping[int, np.ndarray]


@dataclass(eq=False)
class Calibration:
    """How SMPL-X lies in the axes of each foreign joint: C (3, 3) by joint. natural: whether the zero pose is
    that of a person."""

    corrections: dict[int, np.ndarray] = field(default_factory=dict)
    natural: bool = False


def calibrate(source: Source) -> Calibration:
    """Find C for every joint of the source."""
    return _Calibrator(source).run()


def pose_from_turns(source: Source, corrections: Mapping[int, np.ndarray]) -> np.ndarray:
    """Pose (F, 55, 3) axis-angle, float32; joints that nothing drives are at rest, those of the spine and the
    neck share the turn between their neighbours."""
    n_frames = len(source.turns[0])
    pose = np.zeros((n_frames, len(source.parents), 3), np.float32)
    world: dict[int, np.ndarray] = {}
    for joint, parent in enumerate(source.parents):
        if joint in source.turns:
            world[joint] = source.turns[joint] @ corrections[joint]
        elif joint in _SPINE:
            world[joint] = _between_neighbours(source, corrections, joint, world[parent])
        else:
            world[joint] = world[parent]
            continue
        local = world[joint] if parent < 0 else np.swapaxes(world[parent], -1, -2) @ world[joint]
        pose[:, joint] = axis_angle_from_matrix(local)
    return pose


def _between_neighbours(
    source: Source, corrections: Mapping[int, np.ndarray], joint: int, below: np.ndarray
) -> np.ndarray:
    """Turn of a joint of the spine that nothing drives: its share of the way to the next driven one."""
    above = [other for other in _SPINE[_SPINE.index(joint) :] if other in source.turns]
    if not above:
        return below
    goal = source.turns[above[0]] @ corrections[above[0]]
    steps = _SPINE.index(above[0]) - _SPINE.index(joint) + 1
    way = axis_angle_from_matrix(np.swapaxes(below, -1, -2) @ goal)
    return below @ matrix_from_axis_angle(way / steps)


class _Calibrator:
    """Finds C joint by joint, from the pelvis outwards; `found` holds what is known so far."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: dict[int, np.ndarray] = {}
        self.turns = _some_frames(source.turns)

    def run(self) -> Calibration:
        trunk = self._trunk()
        arms = trunk is not None and all(self._hangs(trunk, chain, _arm_fits) for chain in _ARMS)
        legs = trunk is not None and all(self._hangs(trunk, chain, _leg_fits) for chain in _LEGS)
        if trunk is None:
            self._loose_trunk()
        else:
            self._stiff_trunk(trunk, checked=not (arms and legs))
        for natural, joints in ((legs, (1, 2, 4, 5, 7, 8, 10, 11)), (arms, (*_COLLARS, *range(16, 22)))):
            for joint in joints:
                self._limb_joint(joint, natural)
        for joint in range(25, len(self.source.parents)):
            self._limb_joint(joint, arms)
        return Calibration(self.found, arms and legs)

    def _trunk(self) -> np.ndarray | None:
        """The axes of SMPL-X (side, up, front) in the zero pose of the trunk; None where it is not upright in
        itself: a bent spine, or hips and shoulders that face in different directions."""
        zero = self.source.zero
        chain = [zero[joint] for joint in _SPINE[1:] if joint in zero] or [zero[0]]
        shoulders = zero[16] - zero[17]
        top = chain[-1] if len(chain) > 1 else (zero[16] + zero[17]) / 2
        up = _unit(top - (chain[0] if len(chain) > 1 else zero[0]))
        side = zero[1] - zero[2] if 1 in zero and 2 in zero else shoulders
        steps = [_unit(b - a) for a, b in pairwise(chain)]
        sides = _unit(side), _unit(self._shoulder_side())
        upright = all(step @ up > 0.5 for step in steps)
        square = sides[0] @ sides[1] > 0.7 and all(abs(side @ up) < 0.5 for side in sides)
        return _axes(_nearest_axis(up), _nearest_axis(sides[0])) if upright and square else None

    def _shoulder_side(self) -> np.ndarray:
        """From the right to the left, in the axes of the chest."""
        zero = self.source.zero
        left, right = (13, 14) if 13 in zero and 14 in zero else (16, 17)
        return zero[left] - zero[right]

    def _hangs(self, trunk: np.ndarray, chain: tuple[int, int], fits: Callable[[np.ndarray], bool]) -> bool:
        """Whether both bones of a limb lie as they can in the zero pose of a person; true without a limb."""
        bones = [self._bone(joint) for joint in chain]
        outward = np.diag([1.0 if chain[0] in _LEFT else -1.0, 1.0, 1.0])
        return all(bone is None or fits(outward @ trunk.T @ bone[1]) for bone in bones)

    def _stiff_trunk(self, trunk: np.ndarray, checked: bool) -> None:
        for joint in _TRUNK:
            if joint in self.turns:
                self.found[joint] = trunk
                if checked and joint:
                    self.found[joint] = self._rolled_as_in_motion(joint, trunk)

    def _loose_trunk(self) -> None:
        """A trunk whose joints have unrelated axes: pelvis and chest by two directions, others by motion."""
        for joint in _TRUNK:
            if joint not in self.turns:
                continue
            frame = self._two_directions(joint)
            if frame is not None:
                self.found[joint] = frame
            elif joint == 0:
                self.found[0] = np.eye(3)
            else:
                self.found[joint] = self._followed(joint)

    def _two_directions(self, joint: int) -> np.ndarray | None:
        """C of a joint with children on several sides: pelvis, chest, hand."""
        zero, rest = self.source.zero, self.source.rest
        left, right, ahead = _SPREAD.get(joint, (-1, -1, -1))
        if not {left, right, ahead} <= set(zero):
            return None
        along, across = _unit(zero[ahead] - zero[joint]), _unit(zero[left] - zero[right])
        if np.linalg.norm(np.cross(along, across)) < _LEAST_ANGLE:
            return None
        found = _axes(along, across)
        return found @ _axes(_unit(rest[ahead] - rest[joint]), _unit(rest[left] - rest[right])).T

    def _limb_joint(self, joint: int, natural: bool) -> None:
        if joint not in self.turns:
            return
        above = self.found[self._driven_parent(joint)]
        if natural:
            self.found[joint] = self._from_zero_pose(joint, above)
        else:
            self.found[joint] = self._from_motion(joint, above)

    def _from_zero_pose(self, joint: int, above: np.ndarray) -> np.ndarray:
        if joint in _FEET:
            return self._foot(joint, above)
        bone = self._bone(joint)
        if bone is None or joint in _COLLARS:
            return above
        if joint in (16, 17):
            above = _lowered(above, *bone)
        return _shortest(above @ bone[0], bone[1]) @ above

    def _foot(self, joint: int, above: np.ndarray) -> np.ndarray:
        """A foot keeps its angle to the ground and takes the heading of the zero pose, unless it hangs."""
        trunk, bone = self.found[0], self._bone(joint)
        if bone is None:
            return trunk
        there = trunk.T @ bone[1]
        if abs(np.arcsin(np.clip(there[1], -1, 1)) - np.arcsin(bone[0][1])) > _FLAT_FOOT:
            return _shortest(above @ bone[0], bone[1]) @ above
        angle = np.arctan2(there[0], there[2]) - np.arctan2(bone[0][0], bone[0][2])
        return trunk @ matrix_from_axis_angle(angle * _UP)

    def _from_motion(self, joint: int, above: np.ndarray) -> np.ndarray:
        bone = self._bone(joint)
        if joint in _BEND:
            hinge = self._hinge(joint, _BEND[joint])
            return self._followed(joint) if hinge is None else hinge
        if joint in _COLLARS:
            return self._collar(joint)
        palm = self._two_directions(joint)
        if palm is not None:
            return palm
        if bone is None:
            return self._rolled_as_in_motion(joint, above)
        if (above @ bone[0]) @ bone[1] < _STRAIGHT:
            return self._followed(joint)
        return self._rolled_as_in_motion(joint, _shortest(above @ bone[0], bone[1]) @ above)

    def _collar(self, joint: int) -> np.ndarray:
        """A collar bone is at rest on average, and points as the source's where that is about the same."""
        level = self._mean_of(joint, self._world(self._driven_parent(joint)))
        bone = self._bone(joint)
        same = bone is not None and (level @ bone[0]) @ bone[1] > _LEVEL
        return self._followed(joint) if same else level

    def _rolled_as_in_motion(self, joint: int, guess: np.ndarray) -> np.ndarray:
        """The guess, unless it rolls the body more at this joint than bodies do, on average."""
        followed = self._followed(joint)
        angle = np.linalg.norm(axis_angle_from_matrix(guess.T @ followed))
        return guess if angle < _MOST_ROLL else followed

    def _followed(self, joint: int) -> np.ndarray:
        """C with which the joint is rolled as its parent, on average over the motion."""
        world = self._world(self._driven_parent(joint))
        bone = self._bone(joint)
        if bone is not None:
            world = _shortest(world @ bone[0], self.turns[joint] @ bone[1]) @ world
        return self._mean_of(joint, world)

    def _mean_of(self, joint: int, world: np.ndarray) -> np.ndarray:
        """C with which the joint turns as `world` (F, 3, 3) on average."""
        relative = np.swapaxes(self.turns[joint], -1, -2) @ world
        return matrix_from_axis_angle(
            axis_angle_from_quaternion(mean_rotation(quaternion_from_matrix(relative)))
        )

    def _hinge(self, joint: int, forward: float) -> np.ndarray | None:
        """C of the upper bone of a limb by the axis about which the limb bends; None if it hardly bends."""
        upper, lower = self._bone(joint), self._bone(_CHILD[joint])
        if upper is None or lower is None or _CHILD[joint] not in self.turns:
            return None
        bend = np.swapaxes(self.turns[joint], -1, -2) @ self.turns[_CHILD[joint]]
        normals = np.cross(
            upper[1], bend @ lower[1]
        )  # of the planes of the limb, in the axes of the upper bone
        bent = np.linalg.norm(normals, axis=-1) > _BENT
        plane = normals[bent].sum(axis=0)
        if (
            bent.mean() < _LEAST_BENT
            or np.linalg.norm(plane) < 0.5 * np.linalg.norm(normals[bent], axis=1).sum()
        ):
            return None
        axis = _main_axis(bend, lower[1])
        if axis is None or abs(axis @ plane) < 0.5 * np.linalg.norm(plane):
            axis = _unit(plane)
        axis = axis * np.sign(axis @ plane)
        rest_axis = np.cross(upper[0], forward * _FORWARD)
        return _axes(upper[1], axis) @ _axes(upper[0], _unit(rest_axis)).T

    def _world(self, joint: int) -> np.ndarray:
        return self.turns[joint] @ self.found[joint]

    def _driven_parent(self, joint: int) -> int:
        """The nearest joint above that the source drives; the pelvis always is."""
        parent = self.source.parents[joint]
        while parent not in self.found:
            parent = self.source.parents[parent]
        return parent

    def _bone(self, joint: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Direction of a joint's bone in the rest pose of SMPL-X and in the axes of the foreign joint; None
        where the source does not say it."""
        zero, rest = self.source.zero, self.source.rest
        child = _CHILD.get(joint, -1)
        if joint not in zero:
            return None
        if child in zero:
            ends = rest[child] - rest[joint], zero[child] - zero[joint]
        elif joint in self.source.tips:
            ends = rest[joint] - rest[self.source.parents[joint]], self.source.tips[joint] - zero[joint]
        else:
            return None
        return None if np.linalg.norm(ends[1]) < 1e-9 else (_unit(ends[0]), _unit(ends[1]))


def _arm_fits(bone: np.ndarray) -> bool:
    """Out to the side or down, not up and not across the body."""
    return bool(bone[0] > -0.3 and bone[1] < 0.7)


def _lowered(trunk: np.ndarray, rest: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """C of an arm that is turned about the front axis only, from the T-pose towards an A-pose."""
    there = trunk.T @ bone
    if np.hypot(there[0], there[1]) < 0.5:
        return trunk
    angle = np.arctan2(there[1], there[0]) - np.arctan2(rest[1], rest[0])
    return trunk @ matrix_from_axis_angle(angle * _FORWARD)


def _leg_fits(bone: np.ndarray) -> bool:
    return bool(bone[1] < -0.3)


def _main_axis(bend: np.ndarray, bone: np.ndarray) -> np.ndarray | None:
    """Unit axis about which rotations (F, 3, 3) of a lower bone vary most, twist of the bone left out; None
    where no axis stands out. It is better than the plane of two bones that are not straight at rest."""
    mean = matrix_from_axis_angle(axis_angle_from_quaternion(mean_rotation(quaternion_from_matrix(bend))))
    turns = axis_angle_from_matrix(bend @ mean.T)
    along = mean @ bone
    turns = turns - (turns @ along)[:, None] * along
    spread, axes = np.linalg.eigh(np.cov(turns.T, bias=True))
    return axes[:, 2] if spread[2] > max(_LEAST_SPREAD**2, 4 * spread[1]) else None


def _some_frames(turns: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Frames that are evenly spread over the motion and whole."""
    step = max(1, len(turns[0]) // _LOOKED_AT)
    some = {joint: turn[::step] for joint, turn in turns.items()}
    whole = np.all([np.isfinite(turn).all(axis=(1, 2)) for turn in some.values()], axis=0)
    return {joint: turn[whole] for joint, turn in some.items()}


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / np.maximum(length, 1e-12)


def _axes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) with the columns side, up, front: `first` is up, `second` the side as far as it can."""
    side = _unit(second - (second @ first) * first)
    return np.stack([side, first, np.cross(side, first)], axis=1)


def _nearest_axis(direction: np.ndarray) -> np.ndarray:
    """The coordinate axis that a direction nearly has, else the direction: skeletons stand along the axes."""
    largest = int(np.abs(direction).argmax())
    axis = np.zeros(3)
    axis[largest] = np.sign(direction[largest])
    return axis if direction @ axis > _NEAR_AXIS else direction


def _shortest(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Smallest rotations (..., 3, 3) that turn the unit vectors `start` into `end`, both (..., 3)."""
    middle = start + end
    length = np.linalg.norm(middle, axis=-1, keepdims=True)
    # Opposite vectors: half a turn about any axis across them.
    across = np.cross(start, np.where(np.abs(start[..., :1]) < 0.7, _SIDE, _UP))
    middle = np.where(length > 1e-6, middle, across)
    half = _unit(middle)
    opposite = np.broadcast_to(length[..., None] <= 1e-6, (*half.shape[:-1], 3, 3))
    turn = 2 * half[..., :, None] * half[..., None, :] - np.eye(3)  # half a turn about the middle
    flip = 2 * start[..., :, None] * start[..., None, :] - np.eye(3)
    return np.where(opposite, turn, turn @ flip)
