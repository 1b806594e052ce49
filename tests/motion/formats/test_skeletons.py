"""Names of skeletons: which joint drives which joint of SMPL-X."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion.formats.skeletons import NAMINGS, map_joints, plain_name
from anchor_core.motion.rest import JOINT_NAMES

SKELETONS = {
    "MIXAMO": (
        "Hips, Spine, Spine1, Spine2, Neck, Head, HeadTop_End, LeftShoulder, LeftArm, LeftForeArm, "
        "LeftHand, LeftHandThumb1, LeftHandThumb2, LeftHandThumb3, LeftHandThumb4, LeftHandIndex1, "
        "LeftHandPinky3, RightShoulder, RightArm, RightForeArm, RightHand, LeftUpLeg, LeftLeg, LeftFoot, "
        "LeftToeBase, LeftToe_End, RightUpLeg, RightLeg, RightFoot"
    ),
    "CMU": (
        "Hips, LHipJoint, LeftUpLeg, LeftLeg, LeftFoot, LeftToeBase, RHipJoint, RightUpLeg, RightLeg, "
        "RightFoot, RightToeBase, LowerBack, Spine, Spine1, Neck, Neck1, Head, LeftShoulder, LeftArm, "
        "LeftForeArm, LeftHand, LeftFingerBase, LeftHandIndex1, LThumb, RightShoulder, RightArm, "
        "RightForeArm, RightHand"
    ),
    "XSENS": (
        "Pelvis, L5, L3, T12, T8, Neck, Head, RightShoulder, RightUpperArm, RightForeArm, RightHand, "
        "LeftShoulder, LeftUpperArm, LeftForeArm, LeftHand, RightUpperLeg, RightLowerLeg, RightFoot, "
        "RightToe, LeftUpperLeg, LeftLowerLeg, LeftFoot, LeftToe, LeftCarpus, LeftFirstMC, LeftFirstPP, "
        "LeftFirstDP, LeftSecondMC, LeftSecondPP"
    ),
    "BIOVISION": (
        "Hips, Chest, Chest2, Chest3, Chest4, Neck, Head, LeftCollar, LeftShoulder, LeftElbow, LeftWrist, "
        "RightCollar, RightShoulder, RightElbow, RightWrist, LeftHip, LeftKnee, LeftAnkle, LeftToe, "
        "RightHip, RightKnee, RightAnkle"
    ),
    "ROKOKO": (
        "Hips, Spine, Spine1, Spine2, Spine3, Spine4, Neck, Head, LeftShoulder, LeftArm, LeftForeArm, "
        "LeftHand, LeftFinger1Metacarpal, LeftFinger2Metacarpal, LeftFinger2Proximal, RightShoulder, "
        "RightArm, RightForeArm, RightHand, LeftThigh, LeftShin, LeftFoot, LeftToe, RightThigh, "
        "RightShin, RightFoot"
    ),
    "DAZ": (
        "hip, abdomen, chest, neck, head, leftEye, rightEye, rCollar, rShldr, rForeArm, rHand, rThumb1, "
        "rMid1, lCollar, lShldr, lForeArm, lHand, rButtock, rThigh, rShin, rFoot, lButtock, lThigh, "
        "lShin, lFoot"
    ),
    "UNREAL": (
        "root, pelvis, spine_01, spine_02, spine_03, neck_01, head, clavicle_l, upperarm_l, lowerarm_l, "
        "hand_l, index_01_l, upperarm_twist_01_l, clavicle_r, upperarm_r, lowerarm_r, hand_r, thigh_l, "
        "calf_l, foot_l, ball_l, thigh_r, calf_r"
    ),
    "MHR": (
        "body_world, root, l_upleg, l_lowleg, l_foot, l_talocrural, l_ball, r_upleg, r_lowleg, c_spine0, "
        "c_spine1, c_spine2, c_spine3, c_neck, c_head, r_clavicle, r_uparm, r_lowarm, r_wrist_twist, "
        "r_wrist, r_pinky0, r_pinky1, r_thumb1, l_clavicle, l_uparm, l_lowarm, l_wrist"
    ),
    "BIPED": (
        "Bip01 Pelvis, Bip01 Spine, Bip01 Spine1, Bip01 Neck, Bip01 Head, Bip01 L Clavicle, "
        "Bip01 L UpperArm, Bip01 L Forearm, Bip01 L Hand, Bip01 L Finger0, Bip01 L Finger11, "
        "Bip01 R Clavicle, Bip01 R UpperArm, Bip01 R Forearm, Bip01 R Hand, Bip01 L Thigh, Bip01 L Calf, "
        "Bip01 R Thigh"
    ),
    "SMPL": (
        "Pelvis, L_Hip, L_Knee, L_Ankle, L_Foot, R_Hip, Spine1, Spine2, Spine3, Neck, Head, L_Collar, "
        "L_Shoulder, L_Elbow, R_Collar, R_Shoulder, R_Elbow"
    ),
}
NAMES = {key: text.split(", ") for key, text in SKELETONS.items()}


@pytest.mark.parametrize(
    ("names", "skeleton", "some"),
    [
        (
            [f"mixamorig:{name}" for name in NAMES["MIXAMO"]],
            "Mixamo",
            {"spine2": 2, "left_thumb3": 13, "left_pinky3": 16},
        ),
        ([f"mixamorig1_{name}" for name in NAMES["MIXAMO"]], "Mixamo", {"left_ankle": 23, "left_foot": 24}),
        ([f"Jane:{name}" for name in NAMES["MIXAMO"]], "MotionBuilder (HumanIK)", {"left_collar": 7}),
        ([f"Character1_{name}" for name in NAMES["MIXAMO"]], "MotionBuilder (HumanIK)", {"right_knee": 27}),
        (NAMES["CMU"], "CMU", {"spine1": 11, "spine2": 12, "spine3": 13, "left_hip": 2, "head": 16}),
        (NAMES["XSENS"], "Xsens MVN", {"spine1": 1, "spine2": 3, "left_thumb2": 25, "left_index1": 28}),
        (NAMES["BIOVISION"], "Biovision, Xsens MVN BVH", {"left_collar": 7, "left_wrist": 10}),
        (NAMES["ROKOKO"], "Rokoko", {"left_hip": 19, "spine3": 5, "left_thumb1": 12, "left_index1": 14}),
        (NAMES["DAZ"], "Poser, DAZ", {"left_shoulder": 14, "right_middle1": 12, "spine1": 1, "spine3": 2}),
        (NAMES["UNREAL"], "Unreal", {"pelvis": 1, "left_shoulder": 8, "left_index1": 11, "right_knee": 22}),
        (NAMES["MHR"], "MHR", {"pelvis": 1, "right_wrist": 19, "right_pinky1": 21, "spine2": 11}),
        (NAMES["BIPED"], "3ds Max Biped", {"left_thumb1": 9, "left_index2": 10, "left_hip": 15}),
        (NAMES["SMPL"], "SMPL", {"left_hip": 1, "spine3": 8, "left_elbow": 13}),
        (list(JOINT_NAMES), "SMPL-X", {name: number for number, name in enumerate(JOINT_NAMES)}),
    ],
)
def test_known_skeletons(names: list[str], skeleton: str, some: dict[str, int]) -> None:
    found, joints = map_joints(names)
    assert found == skeleton
    by_name = {JOINT_NAMES[joint]: number for joint, number in joints.items()}
    assert some.items() <= by_name.items()
    assert len(set(joints.values())) == len(joints)


def test_the_single_finger_chain_of_cmu_is_no_index_finger() -> None:
    assert "left_index1" not in {JOINT_NAMES[joint] for joint in map_joints(NAMES["CMU"])[1]}


def test_every_naming_is_complete() -> None:
    for naming in NAMINGS:
        assert len(naming.limbs.split()) == 8
        assert all(len(finger.split()) == 3 for finger in naming.fingers)
        assert len(naming.fingers) in (0, 5)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("mixamorig:LeftArm", "leftarm"),
        ("Bip01 L Thigh", "lthigh"),
        ("A|b:upper_arm.L", "upperarml"),
        ("Hips", "hips"),
    ],
)
def test_plain_names(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_unknown_skeleton_lists_its_joints() -> None:
    with pytest.raises(
        AnchorError,
        match=r"nothing in it is pelvis, right_shoulder, .*not understood: Torso, Wing; give skeleton,",
    ):
        map_joints(["Torso", "LeftArm", "LeftForeArm", "Wing"])


def mapping(folder: Path, content: object) -> Path:
    path = folder / "robot.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


GOOD = {"a": "pelvis", "b": "left_shoulder", "c": "right_shoulder", "d": "left_elbow", "e": "right_elbow"}


def test_mapping_of_the_user(tmp_path: Path) -> None:
    name, joints = map_joints(["a", "b", "x", "c", "d", "e"], mapping(tmp_path, GOOD))
    assert name == "robot"
    assert joints == {0: 0, 16: 1, 17: 3, 18: 4, 19: 5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "skeleton robot.json is not JSON"),
        ([1], "needs one JSON object"),
        ({"a": 1}, "needs one JSON object"),
        ({"a": "belly"}, "names joints that SMPL-X does not have, belly: its joints are pelvis, left_hip"),
        (GOOD | {"z": "head"}, "names joints that the file does not have, z: the file has a, b, c, d, e"),
        ({"a": "pelvis"}, "lacks left_shoulder, right_shoulder, left_elbow, right_elbow: complete it"),
    ],
)
def test_wrong_mapping(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        map_joints(["a", "b", "c", "d", "e"], mapping(tmp_path, content))


def test_missing_mapping(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="cannot be read"):
        map_joints(["a"], tmp_path / "none.json")
