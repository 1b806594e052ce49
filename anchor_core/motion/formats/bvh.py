"""BVH, the text format of motion capture: any skeleton whose joints are known by name, any zero pose.

Fingers, jaw and eyes are read where the skeleton has them; a BVH has no expression and no shape. The unit of
length follows from the size of the skeleton, the frames per second from the "Frame Time", the axis that is up
from the zero pose.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ...errors import AnchorError
from ..motion import Validity
from ..place import TO_CV
from ..rotations import axis_angle_from_matrix, matrix_from_axis_angle
from .bvh_text import Bvh, Joint, open_text
from .parts import Parts, ReadOptions
from .rig import Calibration, Source, calibrate, pose_from_turns
from .skeletons import map_joints

__all__ = ["matches", "open_text", "read"]
logger = logging.getLogger("anchor")

_HEIGHT_M = 1.75  # of the stand-in, whose bones are compared with those of the file
_USUAL_UNITS = (0.01, 1.0)
# Inch, millimetre, decimetre, the unit of CMU's recordings (an inch over 0.45), foot.
_OTHER_UNITS = (0.0254, 0.001, 0.1, 0.0254 / 0.45, 0.3048)
_HEIGHTS_M = (0.9, 2.6)
_MOST_WRONG = 1.5  # ratio to the height of a person, with the best unit
_COMPARED_BONES = ((16, 18), (18, 20), (17, 19), (19, 21), (1, 4), (4, 7), (2, 5), (5, 8))
_FINGERS = range(25, 55)
_UPRIGHT = 0.7  # cosine of the mean direction of the trunk with an axis


def matches(content: Any) -> bool:
    """Whether the content is a parsed BVH file."""
    return isinstance(content, Bvh)


def read(content: Bvh, options: ReadOptions) -> Parts:
    """content: of `open_text`. An AnchorError lists the joints of a skeleton that is not known.

    The world is "yup"; with `options.world` the axes of the file are kept as they are.
    """
    if not np.isfinite(content.motion).all(axis=1).any():
        raise AnchorError("The file has no frame of finite numbers: export it again.")
    skeleton, numbers = map_joints([joint.name for joint in content.joints], options.skeleton)
    source, path = _source(content, numbers, radians=options.angles == "radians")
    pelvis = path * _metres_per_unit(source)
    calibration = calibrate(source)
    pose = pose_from_turns(source, calibration.corrections)
    if options.world is None:
        pose, pelvis = _to_yup(pose, pelvis, _world(source, calibration))
    moves = any(kind == "position" for joint in content.joints for _, kind, _ in joint.channels)
    return Parts(
        source=f"BVH, skeleton {skeleton}",
        # Who says that the angles are degrees is told so by all readers: the caller converts them.
        pose=np.degrees(pose) if options.angles == "degrees" else pose,
        translation=pelvis - source.rest[0] if moves else np.zeros_like(pelvis),
        expression=np.zeros((len(pose), 0), np.float32),
        expression_space="none",
        fps=content.fps,
        world="yup",
        hands="absolute" if _has_fingers(numbers) else "relative",
        valid=_validity(numbers, moves),
    )


def _has_fingers(numbers: Mapping[int, int]) -> bool:
    return any(joint in numbers for joint in _FINGERS)


def _validity(numbers: Mapping[int, int], moves: bool) -> Validity:
    return Validity(
        jaw=22 in numbers,
        eyes=23 in numbers and 24 in numbers,
        hands=_has_fingers(numbers),
        expression=False,
        lower=all(joint in numbers for joint in (1, 2, 4, 5)),
        translation=moves,
    )


def _source(content: Bvh, numbers: Mapping[int, int], radians: bool) -> tuple[Source, np.ndarray]:
    """The skeleton by joints of SMPL-X, and the path (F, 3) of the pelvis in the unit of the file."""
    from ...body import standin_body  # the body imports the motions

    body = standin_body()
    joints = content.joints
    offsets = [_rest_offset(joint, content.motion) for joint in joints]
    zero = np.zeros((len(joints), 3))
    for k, joint in enumerate(joints):
        zero[k] = offsets[k] + (zero[joint.parent] if joint.parent >= 0 else 0)
    turns, places = _walk(content, set(numbers.values()), numbers[0], radians)
    source = Source(
        parents=body.parents,
        rest=body.joint_template.numpy().astype(np.float64),
        zero={joint: zero[number] for joint, number in numbers.items()},
        tips=_tips(joints, zero, numbers),
        turns={joint: turns[number] for joint, number in numbers.items()},
    )
    return source, places


def _tips(joints: Collection[Joint], zero: np.ndarray, numbers: Mapping[int, int]) -> dict[int, np.ndarray]:
    """Ends of the last bones of the fingers: an End Site, or a joint that drives nothing."""
    tips = {}
    for last in range(27, 55, 3):
        number = numbers.get(last, -1)
        for k, joint in enumerate(joints):
            if k == number and joint.tip is not None:
                tips[last] = zero[k] + joint.tip
            elif joint.parent == number >= 0:
                tips[last] = zero[k]
    return tips


def _walk(
    content: Bvh, wanted: set[int], pelvis: int, radians: bool
) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """World rotations (F, 3, 3) of the wanted joints, and where the pelvis is (F, 3)."""
    needed: set[int] = set()
    for number in wanted:
        while number >= 0 and number not in needed:
            needed.add(number)
            number = content.joints[number].parent
    above_pelvis = _ancestors(content.joints, pelvis)
    turns: dict[int, np.ndarray] = {}
    place = np.zeros((len(content.motion), 3))
    for number in sorted(needed):
        joint = content.joints[number]
        if number in above_pelvis:
            local = _place(joint, content.motion)
            place = place + (
                local if joint.parent < 0 else np.einsum("fij,fj->fi", turns[joint.parent], local)
            )
        own = _turn(joint, content.motion, radians)
        turns[number] = own if joint.parent < 0 else turns[joint.parent] @ own
    return {number: turns[number] for number in wanted}, place


def _ancestors(joints: tuple[Joint, ...], number: int) -> set[int]:
    """A joint and all above it."""
    chain = set()
    while number >= 0:
        chain.add(number)
        number = joints[number].parent
    return chain


def _turn(joint: Joint, motion: np.ndarray, radians: bool) -> np.ndarray:
    """Rotation (F, 3, 3) of a joint against its parent: its channels from the left to the right."""
    turn = np.broadcast_to(np.eye(3), (len(motion), 3, 3))
    for axis, kind, column in joint.channels:
        if kind == "rotation":
            angles = motion[:, column] if radians else np.radians(motion[:, column])
            turn = turn @ _about(axis, angles)
    return turn


def _about(axis: int, angles: np.ndarray) -> np.ndarray:
    """Rotations (F, 3, 3) about one axis of the coordinates."""
    with np.errstate(invalid="ignore"):
        cosine, sine = np.cos(angles), np.sin(angles)
    turn = np.zeros((len(angles), 3, 3))
    one, two = (axis + 1) % 3, (axis + 2) % 3
    turn[:, axis, axis] = 1
    turn[:, one, one] = turn[:, two, two] = cosine
    turn[:, two, one], turn[:, one, two] = sine, -sine
    return turn


def _place(joint: Joint, motion: np.ndarray) -> np.ndarray:
    """Place (F, 3) of a joint in the axes of its parent: its channels, and its offset where it has none.

    Some programs write the channels of inner joints relative to the offset: then they are all about 0.
    """
    place = np.tile(joint.offset, (len(motion), 1))
    columns = [(axis, column) for axis, kind, column in joint.channels if kind == "position"]
    for axis, column in columns:
        place[:, axis] = motion[:, column]
    if joint.parent >= 0 and columns:
        usual = np.nanmedian(place, axis=0) if len(place) else joint.offset
        if np.linalg.norm(usual) < 0.5 * np.linalg.norm(joint.offset):
            place = place + joint.offset
    return place


def _rest_offset(joint: Joint, motion: np.ndarray) -> np.ndarray:
    """Offset (3,) of a joint in the zero pose: a bone whose length the channels say has no other one."""
    if joint.parent < 0 or not len(motion) or all(kind == "rotation" for _, kind, _ in joint.channels):
        return joint.offset
    usual: np.ndarray = np.nanmedian(_place(joint, motion), axis=0)
    return usual if np.isfinite(usual).all() else joint.offset


def _metres_per_unit(source: Source) -> float:
    """The unit of length with which the skeleton is as tall as a person."""
    ratios = [
        np.linalg.norm(source.zero[b] - source.zero[a]) / np.linalg.norm(source.rest[b] - source.rest[a])
        for a, b in _COMPARED_BONES
        if a in source.zero and b in source.zero
    ]
    if not all(ratios):
        raise AnchorError("A bone of the skeleton's arms or legs has no length: export it with its offsets.")
    height = float(np.median(ratios)) * _HEIGHT_M
    for unit in _USUAL_UNITS:
        if _HEIGHTS_M[0] <= height * unit <= _HEIGHTS_M[1]:
            return unit
    best = min(_OTHER_UNITS, key=lambda unit: abs(np.log(height * unit / _HEIGHT_M)))
    if abs(np.log(height * best / _HEIGHT_M)) < np.log(_MOST_WRONG):
        return best
    logger.warning(
        f"The skeleton of the BVH file is about {height:.3g} units tall, which is a person in no usual unit: "
        f"it was scaled to {_HEIGHT_M} m."
    )
    return _HEIGHT_M / height


def _world(source: Source, calibration: Calibration) -> str:
    """Which axis of the file points up: that of a zero pose that is a person, else where the trunk points
    during the motion."""
    trunk = calibration.corrections[0]
    if calibration.natural:
        for axis, world in ((1, "yup"), (2, "zup")):
            if trunk[axis, 1] > _UPRIGHT:
                return world
    up = np.nanmean(source.turns[0] @ trunk[:, 1], axis=0)
    fits = {"yup": up[1], "zup": up[2], "cv": -up[1]}
    best = max(fits, key=lambda world: fits[world])
    return best if fits[best] > _UPRIGHT else "yup"


def _to_yup(pose: np.ndarray, pelvis: np.ndarray, world: str) -> tuple[np.ndarray, np.ndarray]:
    turn = TO_CV["yup"].T @ TO_CV[world]
    if world == "yup":
        return pose, pelvis
    pose[:, 0] = axis_angle_from_matrix(turn @ matrix_from_axis_angle(pose[:, 0]))
    return pose, pelvis @ turn.T
