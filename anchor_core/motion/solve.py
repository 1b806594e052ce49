"""Rotations of SMPL-X out of 3D positions of joints and of points on the skin, by geometry alone.

Each bone is turned so that it points as the positions say (swing); what a bone's direction leaves open, the
turn about it (twist), comes from the plane of the bent elbow or knee, from the hand's knuckles, or from the
foot. Only directions count, so a skeleton with other lengths gives the same pose. All frames at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import AnchorError
from .rest import FINGERS, JOINT_NAMES, SIDES, rest_points
from .rotations import axis_angle_from_matrix, matrix_from_axis_angle, quaternion_from_matrix

Array = np.ndarray

NEEDED = ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
"""Without these points there is no body to turn."""
_INDEX = {name: i for i, name in enumerate(JOINT_NAMES)}
# Axes at rest that bend a limb forward: elbows bring the forearm to +z, knees the shin to -z.
_ELBOW_AXES = {"left": (0.0, -1.0, 0.0), "right": (0.0, 1.0, 0.0)}
_KNEE_AXIS = (1.0, 0.0, 0.0)
_AXES = np.eye(3)
_STRAIGHT, _BENT = 0.3, 0.6  # sine of a limb's bend: below, its plane says nothing; above, it says all
_NECK_SHARE = 0.45  # of the head's turn against the chest
_FOREARM_SHARE = 0.6  # of the hand's turn about the forearm: radius over ulna
_SUPINATION = 0.5  # radians from palm down, the rest pose, to the middle of what a forearm turns
_FOREARM_RANGE = 1.9  # radians from that middle to either end
_FLEXION = (-0.6, 2.0)  # radians that a joint of a finger can bend back and in
_SIDEWAYS = (0.6, 0.35, 0.35)  # radians that the three joints of a finger can go sideways
_THUMB = 1.3  # radians that a joint of the thumb can turn
_OPPOSITE = 1e-8  # 1 + cosine of directions that count as opposite
_END_SHARE = 0.66  # of the bend of a finger's middle joint, for an end joint without a finger tip


def pose_from_joints(
    joints: Mapping[str, Array], rest: Mapping[str, Array] | None = None
) -> tuple[Array, Array]:
    """Pose (F, 55, 3) float32 radians and translation (F, 3) metres of `smplx`, in the positions' world.

    joints: (F, 3) metres by name, in one right-handed world: the 55 joints of SMPL-X and the points of
    `rest.rest_points`; only `NEEDED` must be there. What is not there, or never finite, is left at rest
    against its parent; a point that is missing for some frames is interpolated. A frame without any finite
    point becomes a row of NaN.
    rest: where the points lie in a skeleton that stands as the stand-in does (T-pose, y up, facing +z), for
    those that mark another place of the body than the stand-in's points of that name.
    Hands are absolute. Raises AnchorError where points are missing or have other numbers of frames.
    """
    points = _Points.of(joints, rest)
    turns = _torso(points)
    _head(points, turns)
    for side in SIDES:
        _arm(points, turns, side)
        _leg(points, turns, side)
    _fingers(points, turns)
    pose = _local(turns, points.n_frames)
    translation = _pelvis(points, turns["pelvis"]) - rest_points()["pelvis"]
    pose[points.empty] = np.nan
    translation[points.empty] = np.nan
    return pose.astype(np.float32), translation.astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Points:
    """Places (F, 3) without gaps and rest places (3,) by name; frames (F,) bool in which nobody was seen;
    whether the pelvis is the joint of SMPL-X."""

    places: dict[str, Array]
    rest: dict[str, Array]
    empty: Array
    own_pelvis: bool

    @classmethod
    def of(cls, joints: Mapping[str, Array], rest: Mapping[str, Array] | None) -> _Points:
        own = {name: np.asarray(place, float) for name, place in (rest or {}).items()}
        known = rest_points() | own
        places = _checked({name: place for name, place in joints.items() if name in known})
        finite = {name: np.isfinite(place).all(1) for name, place in places.items()}
        missing = [name for name in NEEDED if name not in finite or not finite[name].any()]
        if missing:
            raise AnchorError(
                f"The positions lack {', '.join(missing)}: a pose needs hips and shoulders, choose a source "
                "that has them."
            )
        seen = {name: place for name, place in places.items() if finite[name].any()}
        empty = ~np.any(list(finite.values()), axis=0)
        return cls(_filled(seen, finite), known, empty, "pelvis" in seen and "pelvis" not in own)

    @property
    def n_frames(self) -> int:
        """Number of frames F."""
        return len(self.empty)

    def has(self, *names: str) -> bool:
        """Whether all these points are known."""
        return all(name in self.places for name in names)

    def first(self, *names: str) -> list[str]:
        """The first of these points that is known, in a list; an empty list where none is."""
        return [name for name in names if name in self.places][:1]

    def between(self, start: Sequence[str], end: Sequence[str]) -> tuple[Array, Array] | None:
        """The vector (F, 3) from the mean of the known points of `start` to that of `end`, and the same
        vector (3,) at rest; None where no point of one side is known."""
        start, end = ([name for name in names if name in self.places] for names in (start, end))
        if not start or not end:
            return None
        place, rest = ({name: table[name] for name in (*start, *end)} for table in (self.places, self.rest))
        return _mean(place, end) - _mean(place, start), _mean(rest, end) - _mean(rest, start)


def _mean(table: Mapping[str, Array], names: Sequence[str]) -> Array:
    return sum((table[name] for name in names[1:]), table[names[0]]) / len(names)


def _checked(joints: dict[str, Array]) -> dict[str, Array]:
    """The positions in float64 with NaN for infinite ones."""
    places = {name: np.array(place, dtype=np.float64) for name, place in joints.items()}
    lengths = [len(place) for place in places.values() if place.ndim]
    n_frames = max(lengths, key=lengths.count, default=0)  # what most points have: the others are named
    for name, place in places.items():
        if place.ndim != 2 or place.shape[1] != 3 or len(place) != n_frames or not n_frames:
            raise AnchorError(
                f"The positions of '{name}' have shape {place.shape}: all points need (frames, 3), with the "
                "same number of frames, at least one."
            )
        place[~np.isfinite(place).all(1)] = np.nan
    return places


def _filled(places: dict[str, Array], finite: dict[str, Array]) -> dict[str, Array]:
    """The places without gaps: what is missing moves with the hips, and against them from where it was last
    seen to where it is seen next."""
    hips = [_interpolated(places[name], finite[name]) for name in NEEDED[:2]]
    middle = (hips[0] + hips[1]) / 2
    return {
        name: place if finite[name].all() else middle + _interpolated(place - middle, finite[name])
        for name, place in places.items()
    }


def _interpolated(rows: Array, known: Array) -> Array:
    if known.all():
        return rows
    frames, times = np.arange(len(rows)), np.flatnonzero(known)
    return np.stack([np.interp(frames, times, column) for column in rows[known].T], axis=1)


def _torso(points: _Points) -> dict[str, Array]:
    """Rotations (F, 3, 3) of pelvis, spine and collars in the world."""
    hips, shoulders = NEEDED[:2], NEEDED[2:]
    low = points.first("pelvis") or hips
    high = points.first("neck") or shoulders
    root = points.between(low, points.first("spine1", "spine2", "spine3") or high)
    pelvis = _turned(points.between(hips[1:], hips[:1]), root)
    wide = ("left_collar", "right_collar")
    wide = wide if points.has(*wide) else ("left_shoulder", "right_shoulder")
    up = points.between(points.first("spine3", "spine2") or low, high)
    chest = _turned(up, points.between(wide[1:], wide[:1]))
    bend = axis_angle_from_matrix(_t(pelvis) @ chest)
    turns = {"pelvis": pelvis, "spine3": chest}
    for k, child in ((1, "spine2"), (2, "spine3")):
        even = pelvis @ matrix_from_axis_angle(bend * k / 3)
        turns[f"spine{k}"] = _aimed(even, points.between([f"spine{k}"], [child]))
    for side in SIDES:
        turns[f"{side}_collar"] = _aimed(chest, _collar_bone(points, chest, side))
    return turns


def _collar_bone(points: _Points, chest: Array, side: str) -> tuple[Array, Array] | None:
    """Vector from collar to shoulder; where no collar is measured, it stands in the chest, below the neck."""
    collar, shoulder = f"{side}_collar", f"{side}_shoulder"
    if points.has(collar) or not points.has("neck"):
        return points.between([collar], [shoulder])
    bone = points.places[shoulder] - points.places["neck"]
    rest_bone, below = (points.rest[name] - points.rest["neck"] for name in (shoulder, collar))
    scale = np.median(_norm(bone)) / np.linalg.norm(rest_bone)
    return bone - scale * (chest @ below), rest_bone - below


def _head(points: _Points, turns: dict[str, Array]) -> None:
    """Head by ears, eyes and nose, and by its axis where that is known; the neck goes along by a share."""
    chest, eyes, ears = turns["spine3"], ("left_eye", "right_eye"), ("left_ear", "right_ear")
    lateral = points.between((eyes[1], ears[1]), (eyes[0], ears[0]))
    back = [name for name in ears if points.has(name)] or points.first("head", "neck")
    forward = points.between(["head"], ["head_top"]) or points.between(back, ("nose", *eyes))
    if lateral is not None and forward is not None:
        head = _turned(lateral, forward)
    else:
        head = _aimed(chest, points.between(["neck"], points.first("head", "nose")))
    neck = _between(chest, head, _NECK_SHARE)
    turns["neck"] = _aimed(neck, points.between(["neck"], ["head"]))
    for name in ("head", "jaw", "left_eye", "right_eye"):
        turns[name] = head


def _arm(points: _Points, turns: dict[str, Array], side: str) -> None:
    """Shoulder, elbow and wrist of one side."""
    shoulder, elbow, wrist = (f"{side}_{name}" for name in ("shoulder", "elbow", "wrist"))
    guide = points.between([f"{elbow}_tip"], [f"{elbow}_pit"])
    upper, fore = _limb(points, turns[f"{side}_collar"], (shoulder, elbow, wrist), _ELBOW_AXES[side], guide)
    hand = _hand(points, fore, side)
    bone = points.between([elbow], [wrist])
    if bone is not None and hand is not None:
        fore = _forearm_twisted(fore, hand, bone, -1.0 if side == "left" else 1.0)
    turns |= {shoulder: upper, elbow: fore, wrist: fore if hand is None else hand}


def _hand(points: _Points, fore: Array, side: str) -> Array | None:
    """Rotation of the hand by its knuckles: where they point and how they lie side by side."""
    knuckles = [f"{side}_{finger}1" for finger in ("index", "middle", "ring", "pinky")]
    along = points.between([f"{side}_wrist"], knuckles)
    across = points.between(knuckles[2:], knuckles[:2])
    if along is None:
        return None
    return _aimed(fore, along) if across is None else _turned(along, across)


def _forearm_twisted(fore: Array, hand: Array, bone: tuple[Array, Array], sign: float) -> Array:
    """The forearm with its share of the hand's turn about it.

    What is further than a forearm can turn is left to the wrist, more and more until half a turn away: so no
    turn of the hand makes the forearm jump to the other side.
    """
    axis, middle = _unit(bone[1]), sign * _SUPINATION
    turn = _wrapped(_twist_about(axis, _t(fore) @ hand) - middle)
    beyond = np.pi - _FOREARM_RANGE
    reach = np.minimum(np.abs(turn), (np.pi - np.abs(turn)) * _FOREARM_RANGE / beyond)
    return fore @ _about(axis, _FOREARM_SHARE * (middle + np.sign(turn) * reach))


def _leg(points: _Points, turns: dict[str, Array], side: str) -> None:
    """Hip, knee, ankle and foot of one side."""
    hip, knee, ankle, foot = (f"{side}_{name}" for name in ("hip", "knee", "ankle", "foot"))
    toes = points.first(foot) or [f"{side}_big_toe", f"{side}_small_toe"]
    along = points.between(points.first(f"{side}_heel", ankle), toes)
    upper, shin = _limb(points, turns["pelvis"], (hip, knee, ankle), _KNEE_AXIS, along)
    across = points.between([f"{side}_small_toe"], [f"{side}_big_toe"])
    sole = _aimed(shin, along) if along is None or across is None else _turned(along, across)
    turns |= {hip: upper, knee: shin, ankle: sole, foot: sole}


def _limb(
    points: _Points,
    base: Array,
    chain: tuple[str, str, str],
    hinge: tuple[float, float, float],
    guide: tuple[Array, Array] | None,
) -> tuple[Array, Array]:
    """Rotations of the two bones of an arm or leg whose middle joint bends about `hinge`.

    base: rotation of the parent. guide: a vector that turns with the upper bone, measured and at rest; it
    says the twist of a straight limb.
    """
    first, second = points.between(chain[:1], chain[1:2]), points.between(chain[1:2], chain[2:])
    swing = _aimed(base, first)
    if first is None or second is None:
        return swing, swing
    axis, hinge_axis = _unit(first[1]), np.asarray(hinge)
    side = _unit(hinge_axis - axis * (axis @ hinge_axis))
    plane = np.stack([axis, _cross(side, axis), side], axis=1)  # along, where the limb bends to, hinge
    along, q, r = np.moveaxis(_apply(_t(swing), _unit(second[0])) @ plane, -1, 0)
    bend = np.hypot(q, r)
    # The second bone keeps its angle to the hinge that it has at rest: sin(lean) follows from that.
    lean = (_unit(second[1]) @ hinge_axis - along * (axis @ hinge_axis)) / (bend * (side @ hinge_axis) + 1e-9)
    twist = np.arctan2(r, q) - np.arcsin(np.clip(lean, -1, 1))
    sure = np.clip((bend - _STRAIGHT) / (_BENT - _STRAIGHT), 0, 1)
    other = _held(twist, sure > 0.5) if guide is None else _guided(swing, plane, guide)
    upper = swing @ _about(axis, _mixed(twist, other, sure))
    return upper, _aimed(upper, second)


def _guided(swing: Array, plane: Array, guide: tuple[Array, Array]) -> Array:
    """Twist (F,) by which the guide lies about the bone as it does at rest."""
    q, r = np.moveaxis(_apply(_t(swing), guide[0]) @ plane[:, 1:], -1, 0)
    rest_q, rest_r = guide[1] @ plane[:, 1:]
    return np.arctan2(r, q) - np.arctan2(rest_r, rest_q)


def _held(angle: Array, sure: Array) -> Array:
    """Angles (F,) where they are sure, and between them interpolated the short way round; 0 where none is."""
    if not sure.any():
        return np.zeros_like(angle)
    return np.interp(np.arange(len(angle)), np.flatnonzero(sure), np.unwrap(angle[sure]))


def _mixed(angle: Array, other: Array, weight: Array) -> Array:
    """The angle between two on the circle; all of the first from a weight of one half on."""
    weight = np.clip(2 * weight, 0, 1)
    return np.angle(weight * np.exp(1j * angle) + (1 - weight) * np.exp(1j * other))


def _fingers(points: _Points, turns: dict[str, Array]) -> None:
    """All fingers at once, joint after joint from the hand on, each within the limits of its joint."""
    chains = [(side, finger) for side in SIDES for finger in FINGERS]
    parent = np.stack([turns[f"{side}_wrist"] for side, _ in chains], axis=1)  # (F, 10, 3, 3)
    local = np.broadcast_to(np.eye(3), parent.shape)
    for k in (1, 2, 3):
        ends = [f"{side}_{finger}{k + 1}" if k < 3 else f"{side}_{finger}_tip" for side, finger in chains]
        bones = [points.between([f"{s}_{f}{k}"], [end]) for (s, f), end in zip(chains, ends, strict=True)]
        local = _without_bones(local, k, [bone is None for bone in bones])
        for thumb in (False, True):
            known = [i for i, bone in enumerate(bones) if bone and (chains[i][1] == "thumb") == thumb]
            vectors = [bone for i, bone in enumerate(bones) if bone and i in known]
            if known:
                along = _unit(np.stack([rest for _, rest in vectors]))
                bone = _unit(_apply(_t(parent[:, known]), np.stack([bone for bone, _ in vectors], axis=1)))
                local[:, known] = _thumb_turn(bone, along) if thumb else _finger_turn(bone, along, k)
        parent = parent @ local
        turns |= {f"{s}_{f}{k}": parent[:, i] for i, (s, f) in enumerate(chains)}


def _without_bones(before: Array, joint: int, unknown: list[bool]) -> Array:
    """Rotations (F, N, 3, 3) of the fingers' joints whose bones are not known: an end joint bends with the
    one before, the others not at all."""
    turn = np.tile(np.eye(3), (*before.shape[:2], 1, 1))
    if joint == 3 and any(unknown):
        turn[:, unknown] = _between(turn[:, unknown], before[:, unknown], _END_SHARE)
    return turn


def _thumb_turn(bone: Array, along: Array) -> Array:
    """Rotations (F, N, 3, 3) from directions at rest (N, 3) to measured ones (F, N, 3), as far as a thumb
    goes."""
    cosine = (bone * along).sum(-1, keepdims=True)
    furthest = np.cos(_THUMB) * along + np.sin(_THUMB) * _unit(bone - cosine * along)
    return _shortest(along, np.where(cosine < np.cos(_THUMB), furthest, bone))


def _finger_turn(bone: Array, along: Array, joint: int) -> Array:
    """Rotations (F, N, 3, 3): first sideways in the palm, then about the hinge, which lies along z at rest;
    each within its limits, and never about the finger."""
    hand = np.sign(along[:, 0])  # the right hand's fingers point to -x at rest: it is solved as a left one
    x, y, z = along[:, 0] * hand, along[:, 1], along[:, 2]
    limit = _SIDEWAYS[joint - 1]
    sideways = np.arctan2(z, x) - np.arcsin(np.clip(bone[..., 2] / np.hypot(x, z), -1, 1))
    sideways = sideways.clip(-limit, limit)
    # Where the finger points after it went sideways, seen along the hinge: the rest of the way is the bend.
    reached = np.arctan2(y, x * np.cos(sideways) + z * np.sin(sideways))
    flexion = _wrapped(reached - np.arctan2(bone[..., 1], bone[..., 0] * hand)).clip(*_FLEXION)
    return _about(_AXES[2], -flexion * hand) @ _about(_AXES[1], sideways * hand)


def _pelvis(points: _Points, turn: Array) -> Array:
    """Where the joint of the pelvis is, (F, 3); by the hips where it is not measured."""
    if points.own_pelvis:
        return points.places["pelvis"]
    rest, hips = rest_points(), NEEDED[:2]
    wide, rest_wide = points.places[hips[0]] - points.places[hips[1]], rest[hips[0]] - rest[hips[1]]
    scale = np.median(_norm(wide)) / np.linalg.norm(rest_wide)
    return _mean(points.places, hips) + scale * (turn @ (rest["pelvis"] - _mean(rest, hips)))


def _local(turns: dict[str, Array], n_frames: int) -> Array:
    """Axis-angle (F, 55, 3) against the parents of rotations in the world."""
    from ..body.model import standin_body  # here: the body's own modules import this package

    world = np.stack([turns[name] for name in JOINT_NAMES], axis=1)  # (F, 55, 3, 3)
    above = world[:, list(standin_body().parents)]
    above[:, _INDEX["pelvis"]] = np.eye(3)
    return axis_angle_from_matrix(_t(above) @ world)


def _aimed(turn: Array, bone: tuple[Array, Array] | None) -> Array:
    """The rotation with the smallest change that makes the bone point as measured."""
    if bone is None:
        return turn
    return turn @ _shortest(_unit(bone[1]), _unit(_apply(_t(turn), bone[0])))


def _turned(first: tuple[Array, Array] | None, second: tuple[Array, Array] | None) -> Array:
    """The rotation (F, 3, 3) that turns two vectors at rest to the measured ones: the first exactly, the
    second as far as it goes."""
    if first is None or second is None:
        raise ValueError("two vectors are needed")
    return _frame(first[0], second[0]) @ _t(_frame(first[1], second[1]))


def _frame(first: Array, second: Array) -> Array:
    first = _unit(first)
    third = _unit(_cross(first, second))
    return np.stack([first, _cross(third, first), third], axis=-1)


def _between(start: Array, end: Array, share: float) -> Array:
    """The rotation at a share of the way."""
    return start @ matrix_from_axis_angle(share * axis_angle_from_matrix(_t(start) @ end))


def _shortest(start: Array, end: Array) -> Array:
    """The smallest rotations (..., 3, 3) from directions at rest (..., 3) to others; all of length one."""
    cross, cosine = _cross(start, end), (start * end).sum(-1)
    skew = _skew(cross)
    turn = np.eye(3) + skew + skew @ skew / np.maximum(1 + cosine, _OPPOSITE)[..., None, None]
    if (cosine < _OPPOSITE - 1).any():  # they leave the axis open: any across the bone will do
        spare = _unit(_cross(start, np.eye(3)[np.abs(start).argmin(-1)]))
        half = 2 * spare[..., :, None] * spare[..., None, :] - np.eye(3)
        turn = np.where((cosine < _OPPOSITE - 1)[..., None, None], half, turn)
    return turn


def _about(axis: Array, angle: Array) -> Array:
    """Rotations (..., 3, 3) about one axis (3,) by angles (...)."""
    skew, angle = _skew(axis), angle[..., None, None]
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * (skew @ skew)


def _wrapped(angle: Array) -> Array:
    """The same angle in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _skew(vectors: Array) -> Array:
    """Matrices (..., 3, 3) that multiply as the cross product with the vectors does."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*vectors.shape[:-1], 3, 3)


def _cross(first: Array, second: Array) -> Array:
    """The cross product; several times as fast as numpy's for this few vectors."""
    after, before = [1, 2, 0], [2, 0, 1]
    return first[..., after] * second[..., before] - first[..., before] * second[..., after]


def _twist_about(axis: Array, turn: Array) -> Array:
    """Angle (F,) of the part of rotations (F, 3, 3) that turns about an axis."""
    quaternion = quaternion_from_matrix(turn)
    return 2 * np.arctan2(quaternion[..., 1:] @ axis, quaternion[..., 0])


def _apply(turn: Array, vectors: Array) -> Array:
    return np.einsum("...ij,...j->...i", turn, vectors)


def _norm(vectors: Array) -> Array:
    return np.sqrt((vectors * vectors).sum(-1))


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(_norm(vectors), 1e-12)[..., None]


def _t(matrices: Array) -> Array:
    return np.swapaxes(matrices, -1, -2)
