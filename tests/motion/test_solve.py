"""Poses out of positions: back to the same positions, whatever is missing, and without jumps over time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anchor_core.body import pose_motion, standin_body
from anchor_core.demo.gestures import make_motion
from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, read_motion
from anchor_core.motion.rest import JOINT_NAMES, rest_points
from anchor_core.motion.rotations import matrix_from_axis_angle
from anchor_core.motion.solve import NEEDED, pose_from_joints

N_FRAMES = 16
TO_CV = np.diag([1.0, -1.0, -1.0])  # from the renderer's world
Joints = dict[str, np.ndarray]


def joints_of(motion: Motion) -> Joints:
    """Joints by name in the cv world."""
    posed = pose_motion(standin_body(), replace(motion, betas=None)).joints.double().numpy() @ TO_CV
    return dict(zip(JOINT_NAMES, np.moveaxis(posed, 1, 0), strict=True))


def again(joints: Joints, rest: Joints | None = None) -> tuple[Joints, np.ndarray]:
    """Joints of the solved pose, and the pose."""
    pose, translation = pose_from_joints(joints, rest)
    return joints_of(
        Motion(pose, translation, np.zeros((len(pose), 0)), hands="absolute", expression_space="none")
    ), pose


def distance_mm(one: Joints, other: Joints, *names: str) -> float:
    return 1000 * max(np.abs(one[name] - other[name]).max() for name in names or JOINT_NAMES)


def turn_deg(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angle between rotations, axis-angle (..., 3), in degrees."""
    between = np.swapaxes(matrix_from_axis_angle(one), -1, -2) @ matrix_from_axis_angle(other)
    return np.degrees(np.arccos(np.clip((np.trace(between, axis1=-2, axis2=-1) - 1) / 2, -1, 1)))


def arm_bent(angles: np.ndarray, side: str = "left") -> Joints:
    """The rest pose of the stand-in with elbows bent forward by the angles (F,) about their hinge."""
    pose = np.zeros((len(angles), 55, 3))
    pose[:, JOINT_NAMES.index(f"{side}_elbow"), 1] = -angles if side == "left" else angles
    still = np.zeros((len(angles), 3))
    return joints_of(Motion(pose, still, still[:, :0], hands="absolute", expression_space="none"))


@pytest.fixture(scope="module")
def motion() -> Motion:
    return replace(make_motion(5, N_FRAMES), expression=np.zeros((N_FRAMES, 52)))


@pytest.fixture(scope="module")
def joints(motion: Motion) -> Joints:
    return joints_of(motion)


def test_positions_come_back(joints: Joints) -> None:
    solved, pose = again(joints)
    assert pose.dtype == np.float32
    assert distance_mm(joints, solved) < 0.1


def test_rotations_come_back_nearly(motion: Motion, joints: Joints) -> None:
    _, pose = again(joints)
    error = turn_deg(pose[:, :22], motion.pose[:, :22])
    torso = [0, 3, 6, 9, 12, 13, 14, 15]
    assert error[:, torso].max() < 3
    assert error.max() < 12, "what is left open (twist) is shared otherwise"


@pytest.mark.parametrize("name", ["seth", "rich"])
def test_positions_of_real_motions_come_back(shared_data: Path, name: str) -> None:
    real = read_motion(shared_data / "talkshow" / f"{name}.npy").sliced(0, 16)
    joints = joints_of(replace(real, expression=np.zeros((16, 0)), expression_space="none"))
    solved, _ = again(joints)
    assert distance_mm(joints, solved, *JOINT_NAMES[:25]) < 0.1
    assert distance_mm(joints, solved) < 3, "fingers stay within the limits of their joints"


def test_the_rest_pose_is_zero() -> None:
    places = {name: np.tile(place, (2, 1)) for name, place in rest_points().items()}
    pose, translation = pose_from_joints(places)
    assert np.abs(pose).max() < 1e-3
    assert np.abs(translation).max() < 1e-6


def test_any_world_and_place(joints: Joints) -> None:
    turn, shift = matrix_from_axis_angle(np.array([0.4, 2.0, -1.1])), np.array([0.3, -2.0, 5.0])
    moved = {name: place @ turn.T + shift for name, place in joints.items()}
    solved, pose = again(moved)
    assert distance_mm(moved, solved) < 0.1
    np.testing.assert_allclose(pose[:, 1:], again(joints)[1][:, 1:], atol=1e-4)


def test_only_directions_count(joints: Joints) -> None:
    """Longer arms, the same pose."""
    longer = dict(joints)
    for side in ("left", "right"):
        first, second = (
            joints[f"{side}_{b}"] - joints[f"{side}_{a}"]
            for a, b in (("shoulder", "elbow"), ("elbow", "wrist"))
        )
        for name in JOINT_NAMES:
            if name == f"{side}_elbow":
                longer[name] = joints[name] + 0.3 * first
            elif name.startswith(side) and any(
                word in name for word in ("wrist", "index", "middle", "pinky", "ring", "thumb")
            ):
                longer[name] = joints[name] + 0.3 * first + 0.2 * second
    np.testing.assert_allclose(again(longer)[1], again(joints)[1], atol=1e-5)
    bigger = {name: 1.4 * place for name, place in joints.items()}
    np.testing.assert_allclose(again(bigger)[1], again(joints)[1], atol=1e-5)


def test_needed_points_are_enough(joints: Joints) -> None:
    few = {name: joints[name] for name in NEEDED}
    pose, _ = pose_from_joints(few)
    assert np.isfinite(pose).all()
    assert not pose[:, 16:].any()


@pytest.mark.parametrize(
    "absent", ["index", "foot", "eye", "head", "spine", "collar", "wrist", "knee", "neck", "pelvis"]
)
def test_what_is_missing_leaves_the_others(joints: Joints, absent: str) -> None:
    kept = {name: place for name, place in joints.items() if absent not in name}
    solved, pose = again(kept)
    assert np.isfinite(pose).all()
    assert distance_mm(joints, solved, *NEEDED[:2]) < 5
    if absent in ("index", "foot", "eye"):
        arms = ("left_elbow", "right_wrist", "left_middle3", "right_knee")
        assert distance_mm(joints, solved, *arms) < 0.2


def test_a_finger_without_its_tip_bends_on(joints: Joints) -> None:
    _, pose = again(joints)
    curled = np.linalg.norm(pose[:, [JOINT_NAMES.index(f"left_ring{k}") for k in (2, 3)]], axis=-1)
    np.testing.assert_allclose(curled[:, 1], 0.66 * curled[:, 0], atol=1e-4)


def test_gaps_of_a_point_are_interpolated(joints: Joints) -> None:
    holed = {name: place.copy() for name, place in joints.items()}
    holed["left_wrist"][10:13] = np.nan
    holed["right_elbow"][0:2] = np.inf
    solved, pose = again(holed)
    assert np.isfinite(pose).all()
    assert distance_mm(joints, solved, "left_wrist", "right_elbow") < 30


def test_frames_without_anybody_are_nan(joints: Joints) -> None:
    holed = {name: place.copy() for name, place in joints.items()}
    for place in holed.values():
        place[7:9] = np.nan
    pose, translation = pose_from_joints(holed)
    empty = np.isnan(pose).all(axis=(1, 2))
    assert np.flatnonzero(empty).tolist() == [7, 8]
    assert np.isnan(translation[7:9]).all()
    assert np.isfinite(pose[~empty]).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_bent_elbow_says_the_twist(side: str) -> None:
    angles = np.linspace(0.5, 2.2, 12)
    _, pose = again(arm_bent(angles, side))
    assert np.degrees(np.abs(pose[:, JOINT_NAMES.index(f"{side}_shoulder")])).max() < 1
    bend = pose[:, JOINT_NAMES.index(f"{side}_elbow"), 1]
    np.testing.assert_allclose(bend, -angles if side == "left" else angles, atol=0.03)


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_arm_that_gets_straight_keeps_its_twist(side: str) -> None:
    """The plane of the elbow flips when noise bends a straight arm to the other side."""
    bent = np.concatenate([np.linspace(1.2, 0, 20), np.zeros(20), np.linspace(0, 1.2, 20)])
    joints = arm_bent(bent, side)
    straight = np.array([1.0 if side == "left" else -1.0, 0, 0])
    elbow, wrist = f"{side}_elbow", f"{side}_wrist"
    joints = {name: joints[name] for name in (*NEEDED, "neck", f"{side}_collar", elbow, wrist)}
    shoulder = joints[f"{side}_shoulder"]
    joints[elbow] = shoulder + straight * 0.25
    joints[wrist] = joints[elbow] + 0.25 * np.stack(
        [straight[0] * np.cos(bent), 0 * bent, np.sin(bent)], axis=1
    )
    joints[wrist][20:40] += np.random.default_rng(1).normal(0, 0.002, (20, 3))
    pose, _ = pose_from_joints(joints)
    steps = turn_deg(pose[1:], pose[:-1])[
        :, [JOINT_NAMES.index(f"{side}_shoulder"), JOINT_NAMES.index(elbow)]
    ]
    assert steps.max() < 15


def test_twist_of_a_straight_arm_comes_from_its_elbow_points() -> None:
    twist = np.linspace(-1.0, 1.0, 15)
    places = {name: np.tile(place, (15, 1)) for name, place in rest_points().items()}
    axis = places["left_elbow"][0] - places["left_shoulder"][0]
    turn = matrix_from_axis_angle(axis / np.linalg.norm(axis) * twist[:, None])
    for name in ("left_elbow_tip", "left_elbow_pit"):
        places[name] = places["left_elbow"] + np.einsum(
            "fij,fj->fi", turn, places[name] - places["left_elbow"]
        )
    places["left_wrist"] = places["left_elbow"] + 0.27 * axis / np.linalg.norm(axis)
    for name in JOINT_NAMES[25:40]:
        del places[name]
    pose, _ = pose_from_joints(places)
    shoulder = pose[:, JOINT_NAMES.index("left_shoulder")] @ (axis / np.linalg.norm(axis))
    np.testing.assert_allclose(shoulder, twist, atol=0.02)


def test_the_forearm_never_jumps_when_the_hand_turns_all_around() -> None:
    places = {name: np.tile(rest_points()[name], (180, 1)) for name in JOINT_NAMES}
    turn = matrix_from_axis_angle(np.array([1.0, 0, 0]) * np.linspace(-np.pi, np.pi, 180)[:, None])
    for name in JOINT_NAMES[25:40]:
        places[name] = places["left_wrist"] + np.einsum(
            "fij,fj->fi", turn, places[name] - places["left_wrist"]
        )
    pose, _ = pose_from_joints(places)
    assert turn_deg(pose[1:, 18], pose[:-1, 18]).max() < 5
    assert 30 < np.degrees(np.abs(pose[:, 18, 0])).max() < 110


def test_bent_knees_and_feet(joints: Joints) -> None:
    """Knees bend one way only: shins to the back of a person who stands."""
    angles = np.linspace(0.3, 1.8, 10)
    pose = np.zeros((10, 55, 3))
    pose[:, [4, 5], 0] = angles[:, None]
    pose[:, [7, 8], 0] = 0.2
    still = np.zeros((10, 3))
    bent = joints_of(Motion(pose, still, still[:, :0], hands="absolute", expression_space="none"))
    solved = again(bent)[1]
    np.testing.assert_allclose(solved[:, [4, 5], 0], np.stack([angles, angles], axis=1), atol=0.05)
    assert np.abs(solved[:, [1, 2]]).max() < 0.05


def test_head_turns_by_points_on_the_skin() -> None:
    turn = matrix_from_axis_angle(np.array([0.2, 0.6, 0.1]))
    places = {name: np.tile(place, (2, 1)) for name, place in rest_points().items()}
    for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear"):
        places[name] = (places[name] - places["neck"]) @ turn.T + places["neck"]
    few = {
        name: places[name]
        for name in (*NEEDED, "neck", "nose", "left_ear", "right_ear", "left_eye", "right_eye")
    }
    pose, _ = pose_from_joints(few)
    total = matrix_from_axis_angle(pose[:, 12]) @ matrix_from_axis_angle(pose[:, 15])
    np.testing.assert_allclose(total, np.broadcast_to(turn, (2, 3, 3)), atol=1e-4)


def test_other_places_of_points_at_rest(joints: Joints) -> None:
    """A source whose spine points lie behind the back."""
    back = np.array([0.0, 0.0, -0.05])
    own = {name: rest_points()[name] + back for name in ("spine1", "spine2", "spine3")}
    places = {name: np.tile(place, (2, 1)) for name, place in (rest_points() | own).items()}
    pose, _ = pose_from_joints(places, own)
    assert np.abs(pose).max() < 1e-3
    assert np.abs(pose_from_joints(places)[0][:, [0, 3, 9]]).max() > 0.1


def test_messages(joints: Joints) -> None:
    with pytest.raises(AnchorError, match=r"lack left_hip, right_shoulder: a pose needs hips and shoulders"):
        pose_from_joints({name: joints[name] for name in ("right_hip", "left_shoulder")})
    with pytest.raises(AnchorError, match=r"'neck' have shape \(3, 3\): all points need \(frames, 3\)"):
        pose_from_joints({**{name: joints[name] for name in NEEDED}, "neck": np.zeros((3, 3))})
    nowhere = {name: np.full((4, 3), np.nan) for name in NEEDED}
    with pytest.raises(AnchorError, match="a pose needs hips and shoulders"):
        pose_from_joints(nowhere)
