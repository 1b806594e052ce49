"""BVH: motions of SMPL-X written as files of many skeletons and read back; limbs point where they did."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from anchor_core.body import pose_motion, standin_body
from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, Validity, read_motion
from anchor_core.motion.formats import bvh
from anchor_core.motion.formats.bvh_text import parse
from anchor_core.motion.formats.parts import ReadOptions
from anchor_core.motion.place import TO_CV
from anchor_core.motion.rest import JOINT_NAMES

from .bvh_writer import (
    BODY_ONLY,
    BONES,
    REST,
    Layout,
    axes_along_bones,
    human_ik,
    world_turns,
    write_bvh,
    zero_pose,
)

T_POSE: dict[int, np.ndarray] = {}
A_POSE = zero_pose({"left_shoulder": (0, 0, -45), "right_shoulder": (0, 0, 45), "left_hip": (0, 0, 8)})
ARMS_DOWN = zero_pose({"left_shoulder": (0, 0, -80), "right_shoulder": (0, 0, 80)})
SIDEWAYS = {joint: Rotation.from_rotvec([0, np.pi / 2, 0]).as_matrix() for joint in range(55)}
LIMBS = tuple(joint for joint in BONES if joint < 20)
YUP_TO_ZUP = TO_CV["zup"].T @ TO_CV["yup"]


def talking(n_frames: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Pose and translation of somebody who stands, talks with the hands, bends the knees and turns."""
    rng = np.random.default_rng(11)
    time = np.linspace(0, 4, n_frames)[:, None, None]

    def waves(n_joints: int, size: float) -> np.ndarray:
        speed, phase = rng.uniform(1, 4, (1, n_joints, 3)), rng.uniform(0, 6, (1, n_joints, 3))
        return np.sin(speed * time + phase) * size

    t = time[:, 0, 0]
    pose = np.zeros((n_frames, 55, 3))
    pose[:, :22], pose[:, 22:25], pose[:, 25:] = waves(22, 0.06), waves(3, 0.1), waves(30, 0.05)
    pose[:, 0, 1] += 0.3 * t
    pose[:, 16] += [0, -0.3, -1.0]
    pose[:, 17] += [0, 0.3, 1.0]
    pose[:, 18, 1] -= 1.0 + 0.6 * np.sin(2 * t)
    pose[:, 19, 1] += 1.0 + 0.6 * np.cos(2 * t)
    pose[:, 4, 0] += 0.5 + 0.4 * np.sin(2 * t)
    pose[:, 5, 0] += 0.5 + 0.4 * np.cos(2 * t)
    pose[:, 25:37, 2] -= 0.4
    pose[:, 40:52, 2] += 0.4
    return pose, np.stack([np.sin(t), 1 + 0 * t, 0.2 * t], axis=1)


def read_text(folder: Path, text: str, **options: object) -> Motion:
    path = folder / "take.txt"
    path.write_text(text)
    return read_motion(path, ReadOptions(**options))  # type: ignore[arg-type]


def limb_errors(motion: Motion, pose: np.ndarray, joints: tuple[int, ...]) -> np.ndarray:
    """Angles in degrees (F, N) between the bones of two poses in the world."""
    bones = np.stack([REST[BONES[joint]] - REST[joint] for joint in joints])
    bones /= np.linalg.norm(bones, axis=1, keepdims=True)
    found, true = (np.einsum("fnij,nj->fni", world_turns(p)[:, joints], bones) for p in (motion.pose, pose))
    return np.degrees(np.arccos(np.clip((found * true).sum(-1), -1, 1)))


def turn_errors(motion: Motion, pose: np.ndarray) -> np.ndarray:
    """Angles in degrees (F, 55) between the world rotations of two poses."""
    between = np.swapaxes(world_turns(motion.pose), -1, -2) @ world_turns(pose)
    return np.degrees(Rotation.from_matrix(between.reshape(-1, 3, 3)).magnitude()).reshape(len(pose), 55)


@pytest.mark.parametrize(
    ("zero", "order", "unit", "name"),
    [
        (T_POSE, "ZXY", 0.01, "MotionBuilder (HumanIK)"),
        (T_POSE, "XYZ", 0.0254, "Mixamo"),
        (A_POSE, "YXZ", 1.0, "MotionBuilder (HumanIK)"),
        (ARMS_DOWN, "ZYX", 0.001, "MotionBuilder (HumanIK)"),
        (SIDEWAYS, "XZY", 0.01, "Mixamo"),
    ],
)
def test_zero_pose_of_a_person_gives_the_same_motion(
    tmp_path: Path, zero: dict[int, np.ndarray], order: str, unit: float, name: str
) -> None:
    pose, translation = talking()
    names = human_ik("mixamorig:" if name == "Mixamo" else "")
    motion = read_text(tmp_path, write_bvh(pose, translation, Layout(names, zero, order, unit)))
    assert limb_errors(motion, pose, tuple(BONES)).max() < 0.1
    errors = turn_errors(motion, pose)
    errors[:, [7, 8, 10, 11]] = 0  # feet stay level, whatever the hips of the zero pose do
    assert errors.max() < (3 if zero is A_POSE else 0.1)
    np.testing.assert_allclose(motion.translation, translation, atol=2e-4)
    assert (motion.fps, motion.world, motion.hands) == (30.0, "yup", "absolute")
    assert motion.source == f"BVH, skeleton {name}"
    assert motion.valid == Validity(expression=False)
    assert motion.expression_space == "none"


def test_bones_along_one_axis(tmp_path: Path) -> None:
    """As in LaFAN1, legs and arms of the zero pose lie along the spine: their roll comes from the motion."""
    pose, translation = talking()
    names = human_ik(foot="Toe")
    motion = read_text(tmp_path, write_bvh(pose, translation, Layout(names, axes_along_bones(names), "ZYX")))
    assert limb_errors(motion, pose, tuple(BONES)).max() < 0.1
    assert turn_errors(motion, pose)[:, :22].max() < 10
    np.testing.assert_allclose(motion.translation, translation, atol=2e-4)
    assert motion.source == "BVH, skeleton LaFAN1"


def test_axes_of_the_joints_that_have_nothing_in_common(tmp_path: Path) -> None:
    pose, translation = talking()
    names = human_ik()
    axes = dict(zip(names, Rotation.random(len(names), random_state=5).as_matrix(), strict=True))
    motion = read_text(tmp_path, write_bvh(pose, translation, Layout(names, axes, "ZYX")))
    assert limb_errors(motion, pose, LIMBS).max() < 0.1
    assert np.median(turn_errors(motion, pose)[:, :22].max(axis=0)) < 5


def test_body_without_fingers_has_relaxed_hands(tmp_path: Path) -> None:
    pose, translation = talking()
    names = {joint: name for joint, name in human_ik().items() if joint in BODY_ONLY}
    motion = read_text(tmp_path, write_bvh(pose, translation, Layout(names)))
    assert limb_errors(motion, pose, LIMBS).max() < 0.1
    assert not motion.pose[:, 22:].any()
    assert motion.hands == "relative"
    assert motion.valid == Validity(jaw=False, eyes=False, hands=False, expression=False)


def test_upper_body_alone(tmp_path: Path) -> None:
    pose, translation = talking()
    names = {joint: name for joint, name in human_ik().items() if joint in (0, 6, 9, 12, 15, *range(16, 22))}
    motion = read_text(tmp_path, write_bvh(pose, translation, Layout(names)))
    assert limb_errors(motion, pose, (16, 17, 18, 19)).max() < 0.1
    assert not motion.pose[:, 1].any()
    assert not motion.valid.lower


@pytest.mark.parametrize("axes", ["person", "bones"])
def test_z_up_is_turned(tmp_path: Path, axes: str) -> None:
    pose, translation = talking()
    names = human_ik()
    zero = {joint: YUP_TO_ZUP.T for joint in names} if axes == "person" else axes_along_bones(names)
    text = write_bvh(pose, translation, Layout(names, zero, turn=YUP_TO_ZUP))
    motion = read_text(tmp_path, text)
    assert motion.world == "yup"
    assert limb_errors(motion, pose, LIMBS).max() < 0.1
    np.testing.assert_allclose(motion.translation, translation, atol=2e-4)
    kept = read_text(tmp_path, text, world="zup")
    assert kept.world == "zup"
    body = standin_body()
    seen = [pose_motion(body, one, stop=5).joints.numpy() for one in (motion, kept)]
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-4)


@pytest.mark.parametrize("relative", [True, False])
def test_positions_of_all_joints(tmp_path: Path, relative: bool) -> None:
    """Inner joints may have position channels: in the place of the offset, or added to it and all zero."""
    pose, translation = talking(10)
    layout = Layout(human_ik(), A_POSE, all_positions=True)
    bvh_file = parse(write_bvh(pose, translation, layout).encode())
    if relative:
        for joint in bvh_file.joints[1:]:
            for _, kind, column in joint.channels:
                bvh_file.motion[:, column] *= kind == "rotation"
    parts = bvh.read(bvh_file, ReadOptions())
    np.testing.assert_allclose(parts.translation, translation, atol=2e-4)
    plain = bvh.read(parse(write_bvh(pose, translation, Layout(human_ik(), A_POSE)).encode()), ReadOptions())
    np.testing.assert_allclose(parts.pose, plain.pose, atol=1e-4)


def test_no_position_channels(tmp_path: Path) -> None:
    pose, translation = talking(10)
    lines = write_bvh(pose, translation, Layout(human_ik())).splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("Frame Time")) + 1
    lines[first:] = [line.split(" ", 3)[3] for line in lines[first:]]
    text = "\n".join(lines).replace("CHANNELS 6 Xposition Yposition Zposition", "CHANNELS 3")
    motion = read_text(tmp_path, text)
    assert not motion.valid.translation
    assert not motion.translation.any()
    assert limb_errors(motion, pose, LIMBS).max() < 0.1


@pytest.mark.parametrize("angles", ["radians", "degrees"])
def test_unit_of_the_angles(tmp_path: Path, angles: str) -> None:
    pose, translation = talking(10)
    bvh_file = parse(write_bvh(pose, translation, Layout(human_ik())).encode())
    if angles == "radians":
        columns = [c for j in bvh_file.joints for _, kind, c in j.channels if kind == "rotation"]
        bvh_file.motion[:, columns] = np.radians(bvh_file.motion[:, columns])
    parts = bvh.read(bvh_file, ReadOptions(angles=angles))
    found = np.radians(parts.pose) if angles == "degrees" else parts.pose
    np.testing.assert_allclose(world_turns(found), world_turns(pose), atol=1e-5)


def test_spine_of_four_joints_and_of_one(tmp_path: Path) -> None:
    """The chest turns as the uppermost joint of the spine, however many there are."""
    pose, translation = talking()
    pose[:, 3] += [0.4, 0, 0]
    names = {joint: name for joint, name in human_ik().items() if joint in (0, *range(9, 22))}
    motion = read_text(tmp_path, write_bvh(pose, translation, Layout(names)))
    assert turn_errors(motion, pose)[:, [0, 9, 12, 16, 18]].max() < 0.1
    bends = np.linalg.norm(motion.pose[:, [3, 6, 9]], axis=2)
    np.testing.assert_allclose(bends, bends.mean(axis=1, keepdims=True).repeat(3, axis=1), atol=1e-4)
    longer = human_ik()
    longer[3], longer[6], longer[9] = "Spine", "Spine2", "Spine3"
    motion = read_text(tmp_path, write_bvh(pose, translation, Layout(longer)))
    assert turn_errors(motion, pose)[:, :22].max() < 0.1


def test_missing_numbers_are_left_to_the_repair(tmp_path: Path) -> None:
    pose, translation = talking(30)
    lines = write_bvh(pose, translation, Layout(human_ik(), axes_along_bones(human_ik()))).splitlines()
    for row in (-20, -19):
        lines[row] = " ".join(["nan"] * len(lines[row].split()))
    motion = read_text(tmp_path, "\n".join(lines))
    assert motion.marks.sum() == 2
    assert limb_errors(motion, pose, LIMBS).max() < 5


def test_skeleton_of_no_usual_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pose, translation = talking(5)
    with caplog.at_level(logging.WARNING, "anchor"):
        motion = read_text(tmp_path, write_bvh(pose, translation, Layout(human_ik(), unit=0.0002)))
    assert "a person in no usual unit: it was scaled to 1.75 m" in caplog.text
    np.testing.assert_allclose(motion.translation, translation, atol=0.1)


def test_unknown_skeleton(tmp_path: Path) -> None:
    pose, translation = talking(3)
    names = {joint: f"bone{joint}" for joint in BODY_ONLY}
    text = write_bvh(pose, translation, Layout(names))
    with pytest.raises(AnchorError, match=r"take.txt: The skeleton is not a known one.*bone0, bone.*a JSON"):
        read_text(tmp_path, text)
    mapping = tmp_path / "robot.json"
    mapping.write_text("{" + ",".join(f'"bone{joint}": "{JOINT_NAMES[joint]}"' for joint in BODY_ONLY) + "}")
    motion = read_text(tmp_path, text, skeleton=mapping)
    assert limb_errors(motion, pose, LIMBS).max() < 0.1
    assert motion.source == "BVH, skeleton robot"


def test_skeleton_without_bones(tmp_path: Path) -> None:
    pose, translation = talking(3)
    text = write_bvh(pose, translation, Layout(human_ik()))
    lines = ["OFFSET 0 0 0" if "OFFSET" in line else line for line in text.splitlines()]
    with pytest.raises(AnchorError, match="has no length: export it with its offsets"):
        read_text(tmp_path, "\n".join(lines))


def test_no_finite_frame(tmp_path: Path) -> None:
    pose, translation = talking(3)
    lines = write_bvh(pose, translation, Layout(human_ik())).splitlines()
    width = len(lines[-1].split())
    lines[-3:] = [" ".join(["nan"] * width)] * 3
    with pytest.raises(AnchorError, match="no frame of finite numbers"):
        read_text(tmp_path, "\n".join(lines))
