"""Writes SMPL-X motions as BVH files of any skeleton naming, zero pose, channel order and unit: for tests.

A joint of the file is fixed to a joint of SMPL-X and has its own axes, `zero[joint]` (3, 3) in the T-pose.
With all channels at zero the axes of all joints agree, so that these axes are what makes the zero pose: the
transposed world rotations of a pose make that pose the zero pose; axes along the bones make one that nobody
has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from anchor_core.body import standin_body
from anchor_core.motion.rest import JOINT_NAMES

PARENTS = standin_body().parents
REST = standin_body().joint_template.numpy().astype(np.float64)
FEET, TRUNK = (7, 8), (0, 3, 6, 9, 12, 15)
BONES = {1: 4, 4: 7, 2: 5, 5: 8, 16: 18, 18: 20, 17: 19, 19: 21, 20: 28, 21: 43}
BONES |= {base + k: base + k + 1 for base in range(25, 55, 3) for k in (0, 1)}
BODY_ONLY = tuple(range(22))
_TIP = 0.02  # metres that the last bone of a finger is long

HUMAN_IK = {
    **{"pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2"},
    **{"neck": "Neck", "head": "Head", "jaw": "Jaw", "eye": "Eye"},
    **{"collar": "Shoulder", "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand"},
    **{"hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase"},
    **{"index": "HandIndex", "middle": "HandMiddle", "pinky": "HandPinky"},
    **{"ring": "HandRing", "thumb": "HandThumb"},
}


def human_ik(prefix: str = "", **changes: str) -> dict[int, str]:
    """Names by joint of SMPL-X in the way of Motion Builder."""
    words = HUMAN_IK | changes
    names = {}
    for joint, name in enumerate(JOINT_NAMES):
        side, _, part = name.rpartition("_")
        letters = part.rstrip("123") if part[:5] != "spine" else part
        names[joint] = f"{prefix}{side.capitalize()}{words[letters]}{part[len(letters) :]}"
    return names


@dataclass(frozen=True)
class Layout:
    """How the file looks. names: the joints to write. unit: metres. turn: of the world of the file."""

    names: Mapping[int, str]
    zero: Mapping[int, np.ndarray] = field(default_factory=dict)
    order: str = "ZXY"
    unit: float = 0.01
    turn: np.ndarray = field(default_factory=lambda: np.eye(3))
    frame_time: str = "0.0333333"
    all_positions: bool = False


def world_turns(pose: np.ndarray) -> np.ndarray:
    """World rotations (F, 55, 3, 3) of a pose (F, 55, 3)."""
    local = Rotation.from_rotvec(pose.reshape(-1, 3).astype(np.float64)).as_matrix().reshape(*pose.shape, 3)
    turns = local.copy()
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            turns[:, joint] = turns[:, parent] @ local[:, joint]
    return turns


def zero_pose(changes: Mapping[str, Sequence[float]]) -> dict[int, np.ndarray]:
    """Axes that make a pose of SMPL-X, {joint: axis-angle in degrees}, the zero pose of the file."""
    pose = np.zeros((1, 55, 3))
    for name, degrees in changes.items():
        pose[0, JOINT_NAMES.index(name)] = np.radians(degrees)
    return {joint: turn.T for joint, turn in enumerate(world_turns(pose)[0])}


def axes_along_bones(names: Mapping[int, str]) -> dict[int, np.ndarray]:
    """Axes with x along each bone and z to the side, as rigs with bones along x have them (LaFAN1)."""
    axes = {}
    for joint in names:
        child = BONES.get(joint, {7: 10, 8: 11, 13: 16, 14: 17}.get(joint))
        along = np.array([0.0, 1.0, 0.0]) if joint in TRUNK or child is None else REST[child] - REST[joint]
        if joint in (10, 11) or (joint >= 25 and child is None) or (joint in (20, 21) and child not in names):
            axes[joint] = axes[PARENTS[joint]]
            continue
        arm = joint in (13, 14, *range(16, 22)) or joint >= 25
        aside = np.array([0.0, -1.0, 0.0]) if arm else np.array([1.0, 0.0, 0.0])
        along = along / np.linalg.norm(along)
        aside = aside - (aside @ along) * along
        aside /= np.linalg.norm(aside)
        axes[joint] = np.stack([along, np.cross(aside, along), aside], axis=1)
    return axes


def write_bvh(pose: np.ndarray, translation: np.ndarray, layout: Layout) -> str:
    """Text of a BVH file. pose: (F, 55, 3), translation: (F, 3) metres; see `Layout`."""
    turns = layout.turn @ world_turns(pose)
    pelvis = (translation + REST[0]) @ layout.turn.T
    header, rows = ["HIERARCHY"], []
    _write_joint(0, -1, 0, layout, turns, pelvis, header, rows)
    numbers = np.concatenate(rows, axis=1)
    lines = [" ".join(f"{value:.6f}" for value in row) for row in numbers]
    return "\n".join(
        [*header, "MOTION", f"Frames: {len(pose)}", f"Frame Time: {layout.frame_time}", *lines, ""]
    )


def _write_joint(
    joint: int,
    above: int,
    depth: int,
    layout: Layout,
    turns: np.ndarray,
    pelvis: np.ndarray,
    header: list[str],
    rows: list[np.ndarray],
) -> None:
    tabs = "\t" * depth
    own = turns[:, joint] @ _axes(layout, joint)
    if above >= 0:
        offset = _axes(layout, above).T @ (REST[joint] - REST[above]) / layout.unit
        own = np.swapaxes(turns[:, above] @ _axes(layout, above), 1, 2) @ own
    else:
        offset = np.zeros(3)
    header += [f"{tabs}{'JOINT' if depth else 'ROOT'} {layout.names[joint]}", tabs + "{"]
    header.append(f"{tabs}\tOFFSET {' '.join(f'{value:.6f}' for value in offset)}")
    positions = ["Xposition", "Yposition", "Zposition"] if above < 0 or layout.all_positions else []
    channels = [*positions, *(f"{axis}rotation" for axis in layout.order)]
    header.append(f"{tabs}\tCHANNELS {len(channels)} {' '.join(channels)}")
    if positions:
        rows.append(pelvis / layout.unit if above < 0 else np.tile(offset, (len(own), 1)))
    rows.append(Rotation.from_matrix(own).as_euler(layout.order, degrees=True))
    children = [other for other in layout.names if _above(layout, other) == joint]
    for child in children:
        _write_joint(child, joint, depth + 1, layout, turns, pelvis, header, rows)
    if not children:
        tip = np.zeros(3)
        if joint >= 25:
            bone = REST[joint] - REST[PARENTS[joint]]
            tip = _axes(layout, joint).T @ bone / np.linalg.norm(bone) * _TIP / layout.unit
        header += [
            f"{tabs}\tEnd Site",
            f"{tabs}\t{{",
            f"{tabs}\t\tOFFSET {tip[0]:.6f} {tip[1]:.6f} {tip[2]:.6f}",
            f"{tabs}\t}}",
        ]
    header.append(tabs + "}")


def _axes(layout: Layout, joint: int) -> np.ndarray:
    return layout.zero.get(joint, np.eye(3))


def _above(layout: Layout, joint: int) -> int:
    parent = PARENTS[joint]
    while parent >= 0 and parent not in layout.names:
        parent = PARENTS[parent]
    return parent
