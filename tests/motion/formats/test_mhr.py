"""SAM 3D Body's pose data, made to its layout from a motion of the stand-in."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.body import pose_motion, standin_body
from anchor_core.demo.gestures import make_motion
from anchor_core.errors import AnchorError
from anchor_core.motion import Motion
from anchor_core.motion.formats.mhr import KEYPOINTS, RIG_JOINTS, RIG_REST, motion_from_pose_data
from anchor_core.motion.rest import JOINT_NAMES, rest_points
from anchor_core.motion.rotations import matrix_from_axis_angle

N_FRAMES, FPS = 24, 25.0
SIZE = (720, 1280)  # height, width
FOCAL_PX, PLACE = 1400.0, np.array([0.2, 0.4, 3.0])
TO_CV = np.diag([1.0, -1.0, -1.0])
TORSO = [0, 3, 6, 9, 12, 15]
Frames = list[list[dict[str, Any]]]


@pytest.fixture(scope="module")
def motion() -> Motion:
    return replace(make_motion(2, N_FRAMES), expression=np.zeros((N_FRAMES, 52)))


def points_of(motion: Motion) -> dict[str, np.ndarray]:
    """Joints, and points that stay with a joint, in the cv world."""
    joints = pose_motion(standin_body(), motion).joints.double().numpy() @ TO_CV
    points = dict(zip(JOINT_NAMES, np.moveaxis(joints, 1, 0), strict=True))
    turns = matrix_from_axis_angle(motion.pose)
    world = [turns[:, 0]]
    for joint, parent in enumerate(standin_body().parents[1:], start=1):
        world.append(world[parent] @ turns[:, joint])
    rest = rest_points()
    for name, place in rest.items():
        if name not in points:
            carrier = next(joint for joint in _carriers(name))
            points[name] = points[carrier] + world[JOINT_NAMES.index(carrier)] @ (place - rest[carrier])
    return points


def _carriers(name: str) -> list[str]:
    side = name.split("_")[0]
    by_word = {
        "ear": "head",
        "nose": "head",
        "head_top": "head",
        "heel": f"{side}_ankle",
        "toe": f"{side}_ankle",
    }
    if "tip" in name and "elbow" not in name:
        return [name.replace("_tip", "3")]
    if "elbow" in name:
        return [f"{side}_shoulder"]
    return [joint for word, joint in by_word.items() if word in name]


def pose_data(motion: Motion, *, rig: bool = False, tensors: bool = False) -> dict[str, Any]:
    """MHR_POSE_DATA of one person; the points of the rig's torso are made from its own rest."""
    points = points_of(motion)
    keypoints = np.zeros((motion.n_frames, 70, 3))
    for name, i in KEYPOINTS.items():
        keypoints[:, i] = points[name]
    joints = np.zeros((motion.n_frames, 127, 3))
    for name, i in RIG_JOINTS.items():
        joints[:, i] = points[name]
    frames: Frames = []
    root = points["pelvis"]
    for f in range(motion.n_frames):
        person = {
            "pred_keypoints_3d": keypoints[f] - root[f],
            "pred_cam_t": root[f] + PLACE,
            "focal_length": np.float32(FOCAL_PX),
            "bbox": np.array([0, 0, 100, 100]),
        }
        if rig:
            person["pred_joint_coords"] = joints[f] - root[f]
        if tensors:
            person = {
                key: torch.as_tensor(np.asarray(value)).half()
                if key == "bbox"
                else torch.as_tensor(np.asarray(value))
                for key, value in person.items()
            }
        frames.append([person])
    return {"frames": frames, "image_size": SIZE, "faces": np.zeros((1, 3))}


def standing_rig() -> dict[str, Any]:
    """Everything at rest: the torso as the rig has it, the other points as the stand-in has them."""
    still = Motion(
        np.zeros((3, 55, 3)), np.zeros((3, 3)), np.zeros((3, 0)), world="yup", expression_space="none"
    )
    data = pose_data(replace(still, hands="absolute", world="cv"), rig=True)
    for (person,) in data["frames"]:
        person["pred_joint_coords"][[RIG_JOINTS[name] for name in RIG_REST]] = list(RIG_REST.values())
    return data


def faces(motion: Motion, boxes: list[tuple[float, ...]], **values: float) -> dict[str, Any]:
    names = [name for name in standin_body().expression_names if name != "tongueOut"]
    one = [
        {"bbox_xyxy": np.array(box), "blendshapes": dict.fromkeys(names, 0.1 * i) | values}
        for i, box in enumerate(boxes)
    ]
    return {"frames": [one] * motion.n_frames, "image_size": SIZE}


def nose_px(motion: Motion) -> np.ndarray:
    nose = points_of(motion)["nose"] + PLACE
    return nose[:, :2] / nose[:, 2:] * FOCAL_PX + np.array(SIZE[::-1]) / 2


@pytest.mark.parametrize("tensors", [False, True])
def test_pose_of_keypoints(motion: Motion, tensors: bool) -> None:
    read = motion_from_pose_data(pose_data(motion, tensors=tensors), FPS)
    joints = points_of(replace(read, expression=np.zeros((N_FRAMES, 0)), expression_space="none"))
    wanted = points_of(motion)
    for name in ("left_elbow", "right_wrist", "left_index3", "right_pinky2", "left_knee"):
        error = (joints[name] - joints["pelvis"]) - (wanted[name] - wanted["pelvis"])
        assert np.abs(error).max() < 0.06, "the spine's bend is not in the keypoints"
    assert (read.world, read.hands, read.fps, read.expression_space) == ("cv", "absolute", FPS, "none")
    assert read.source == "SAM 3D Body"
    assert (read.valid.hands, read.valid.translation, read.valid.jaw, read.valid.expression) == (
        True,
        True,
        False,
        False,
    )


def test_the_camera_projects_the_pelvis_where_the_source_says(motion: Motion) -> None:
    read = motion_from_pose_data(pose_data(motion), FPS)
    camera, source = read.camera, points_of(motion)["pelvis"] + PLACE
    assert camera is not None
    assert camera.size == (1280, 720)
    pelvis = points_of(read)["pelvis"]
    shift = np.array(camera.translation)
    pixel = camera.center_px + np.array(camera.focal_px) * (pelvis[:, :2] - shift[:2]) / (
        pelvis[:, 2:] + shift[2]
    )
    wanted = source[:, :2] / source[:, 2:] * FOCAL_PX + np.array(SIZE[::-1]) / 2
    np.testing.assert_allclose(
        pixel, wanted, atol=2
    )  # px: the hips say it, the bend of the spine is not known
    np.testing.assert_allclose(pelvis[:, 2], source[:, 2], atol=0.01)


def test_a_changing_focal_length_changes_the_depth(motion: Motion) -> None:
    data = pose_data(motion)
    data["frames"][3][0]["focal_length"] = np.array([2 * FOCAL_PX])
    read, plain = (motion_from_pose_data(one, FPS) for one in (data, pose_data(motion)))
    assert read.camera == plain.camera
    pelvis, wanted = (points_of(one)["pelvis"] for one in (read, plain))
    np.testing.assert_allclose(pelvis[3], wanted[3] * [1, 1, 0.5], atol=1e-4)
    np.testing.assert_allclose(pelvis[4], wanted[4], atol=1e-5)


def test_the_rig_at_rest_is_the_rest_pose() -> None:
    """Its torso lies elsewhere in the body: that is no bend of ours."""
    read = motion_from_pose_data(standing_rig(), FPS)
    assert np.degrees(np.abs(read.pose[:, TORSO])).max() < 1
    assert np.degrees(np.abs(read.pose[:, 13:15])).max() < 1


def test_frames_without_anybody_are_interpolated_or_refused(motion: Motion) -> None:
    data = pose_data(motion)
    data["frames"][5:8] = [[], [], []]
    read = motion_from_pose_data(data, FPS)
    assert np.flatnonzero(read.marks).tolist() == [5, 6, 7]
    with pytest.raises(AnchorError, match="5"):
        motion_from_pose_data(data, FPS, max_gap_s=0.05)


def test_which_person(motion: Motion) -> None:
    data = pose_data(motion)
    far = [{**one, "pred_cam_t": one["pred_cam_t"] + np.array([1.0, 0, 0])} for (one,) in data["frames"]]
    data["frames"] = [[one, other] for (one,), other in zip(data["frames"], far, strict=True)]
    with pytest.raises(AnchorError, match=r"holds 2 people \(0, 1\): choose one"):
        motion_from_pose_data(data, FPS)
    first, second = (motion_from_pose_data(data, FPS, person=i) for i in (0, 1))
    np.testing.assert_allclose(second.translation - first.translation, [[1, 0, 0]] * N_FRAMES, atol=1e-5)
    with pytest.raises(AnchorError, match="There is no person '2'"):
        motion_from_pose_data(data, FPS, person=2)


def test_the_face_at_the_nose_is_taken(motion: Motion) -> None:
    x, y = nose_px(motion)[0]
    boxes = [(x + 200, y - 50, x + 300, y + 50), (x - 50, y - 50, x + 50, y + 50)]
    read = motion_from_pose_data(pose_data(motion), FPS, face=faces(motion, boxes, jawOpen=0.5))
    names = standin_body().expression_names
    assert read.expression_space == "arkit52"
    np.testing.assert_allclose(read.expression[:, names.index("mouthSmileLeft")], 0.1, atol=1e-6)
    np.testing.assert_allclose(read.pose[:, 22], [[0.2, 0, 0]] * N_FRAMES, atol=1e-6)
    assert not read.expression[:, names.index("jawOpen")].any()
    assert (read.valid.jaw, read.valid.expression) == (True, True)


def test_a_lost_face_is_interpolated_or_comes_to_rest(
    motion: Motion, caplog: pytest.LogCaptureFixture
) -> None:
    x, y = nose_px(motion)[0]
    data = faces(motion, [(x - 80, y - 80, x + 80, y + 80)], jawOpen=1.0)
    data["frames"] = [[] if 3 <= f < 5 or 8 <= f < 24 else found for f, found in enumerate(data["frames"])]
    with caplog.at_level(logging.WARNING, "anchor"):
        read = motion_from_pose_data(pose_data(motion), FPS, face=data, max_gap_s=0.4)
    jaw = read.pose[:, 22, 0]
    np.testing.assert_allclose(jaw[:8], 0.4, atol=1e-6)
    assert np.all(np.diff(jaw[7:]) <= 0)
    assert not jaw[15:].any()
    assert "The face is lost in 16 of 24 frames and at rest there, first in frame 8" in caplog.text
    assert not read.marks.any(), "the body was seen all the time"


def test_messages(motion: Motion) -> None:
    for wrong in ({}, {"frames": 3}, None):
        with pytest.raises(AnchorError, match="holds no frames with people: connect the pose data"):
            motion_from_pose_data(wrong, FPS)  # type: ignore[arg-type]
    with pytest.raises(AnchorError, match="has nobody in its 2 frames"):
        motion_from_pose_data({"frames": [[], []], "image_size": SIZE}, FPS)
    data = pose_data(motion)
    with pytest.raises(AnchorError, match="does not say its image_size"):
        motion_from_pose_data({"frames": data["frames"]}, FPS)
    with pytest.raises(AnchorError, match="face data has 2 frames and the pose data 24"):
        motion_from_pose_data(data, FPS, face={"frames": [[], []]})
    data["frames"][2][0]["pred_keypoints_3d"] = np.zeros((17, 3))
    with pytest.raises(AnchorError, match=r"'pred_keypoints_3d' of frame 2 has shape \(17, 3\)"):
        motion_from_pose_data(data, FPS)
    with pytest.raises(AnchorError, match="focal length of 0"):
        motion_from_pose_data(pose_data_with_focal(motion, 0.0), FPS)


def pose_data_with_focal(motion: Motion, focal_px: float) -> dict[str, Any]:
    data = pose_data(motion)
    data["frames"][0][0]["focal_length"] = focal_px
    return data
