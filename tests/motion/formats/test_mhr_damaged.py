"""Pose data and faces that are damaged or of another kind: one sentence, never another error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anchor_core.demo.gestures import make_motion
from anchor_core.errors import AnchorError
from anchor_core.motion import Motion
from anchor_core.motion.formats.mhr import motion_from_pose_data

from .test_mhr import FPS, faces, nose_px, pose_data

N_FRAMES = 6
Data = dict[str, Any]


@pytest.fixture(scope="module")
def motion() -> Motion:
    return replace(make_motion(2, N_FRAMES), expression=np.zeros((N_FRAMES, 52)))


@pytest.fixture
def data(motion: Motion) -> Data:
    return pose_data(motion, rig=True)


@pytest.fixture
def face(motion: Motion) -> Data:
    x, y = nose_px(motion)[0]
    found = faces(motion, [(x - 80, y - 80, x + 80, y + 80)])
    return found | {"frames": [[dict(one) for one in people] for people in found["frames"]]}


@pytest.mark.parametrize("with_face", [False, True])
@pytest.mark.parametrize("fps", [0, None, -25.0, float("nan"), float("inf")])
def test_a_frame_rate_is_needed(data: Data, face: Data, fps: Any, with_face: bool) -> None:
    with pytest.raises(AnchorError, match=r"give (fps|the frames per second)"):
        motion_from_pose_data(data, fps, face=face if with_face else None)


@pytest.mark.parametrize(
    "change",
    [
        {"frames": "abc"},
        {"frames": [1, 2]},
        {"frames": [[1], [2]]},
        {"frames": [[None], [None]]},
        {"frames": []},
        {"image_size": None},
        {"image_size": 7},
        {"image_size": (0, 0)},
        {"image_size": (1, 2, 3)},
        {"image_size": (float("inf"), 5)},
    ],
)
def test_data_of_another_kind_is_refused(data: Data, change: Data) -> None:
    with pytest.raises(AnchorError):
        motion_from_pose_data(data | change, FPS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pred_keypoints_3d", None),
        ("pred_keypoints_3d", "abc"),
        ("pred_keypoints_3d", {}),
        ("pred_keypoints_3d", [[1, 2], [3]]),
        ("pred_cam_t", None),
        ("pred_cam_t", 1j * np.ones(3)),
        ("focal_length", -5.0),
        ("focal_length", [1.0, 2.0]),
        ("pred_joint_coords", np.zeros((5, 3))),
    ],
)
def test_a_damaged_person_is_refused(data: Data, key: str, value: Any) -> None:
    data["frames"][1][0][key] = value
    with pytest.raises(AnchorError, match=r"frame 1 has shape|focal length of -5"):
        motion_from_pose_data(data, FPS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("key", ["pred_cam_t", "focal_length"])
def test_numbers_that_are_not_finite_are_interpolated(data: Data, key: str, value: float) -> None:
    whole = motion_from_pose_data(data, FPS)
    data["frames"][2][0][key] = np.full_like(data["frames"][2][0][key], value)
    read = motion_from_pose_data(data, FPS)
    assert np.flatnonzero(read.marks).tolist() == [2]
    np.testing.assert_allclose(read.translation, whole.translation, atol=0.02)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_focal_length_at_all_is_refused(data: Data, value: float) -> None:
    for (one,) in data["frames"]:
        one["focal_length"] = value
    with pytest.raises(AnchorError, match="focal length of nan px"):
        motion_from_pose_data(data, FPS)


@pytest.mark.parametrize(
    "damage",
    [
        lambda face: [],
        lambda face: {"frames": [1] * N_FRAMES},
        lambda face: {"frames": [None] * N_FRAMES},
        lambda face: {"frames": ["ab"] * N_FRAMES},
        lambda face: {"frames": [[3]] * N_FRAMES},
        lambda face: face | {"image_size": "ab"},
        lambda face: face | {"image_size": 5},
        lambda face: face | {"image_size": (1, 2, 3)},
        lambda face: {**face, "frames": [[{"blendshapes": {}}]] * N_FRAMES},
        lambda face: face["frames"][0][0].update(bbox_xyxy=None) or face,
        lambda face: face["frames"][0][0].update(bbox_xyxy="abcd") or face,
        lambda face: face["frames"][0][0].update(bbox_xyxy=[1, 2, 3]) or face,
        lambda face: face["frames"][0][0].update(blendshapes=[1]) or face,
        lambda face: face["frames"][0][0].update(blendshapes={}) or face,
    ],
)
def test_damaged_faces_are_refused(data: Data, face: Data, damage: Callable[[Data], Any]) -> None:
    with pytest.raises(AnchorError, match=r"face"):
        motion_from_pose_data(data, FPS, face=damage(face))


def test_the_faces_picture_size_may_be_an_array(data: Data, face: Data) -> None:
    plain = motion_from_pose_data(data, FPS, face=face)
    read = motion_from_pose_data(data, FPS, face=face | {"image_size": np.array(face["image_size"])})
    np.testing.assert_array_equal(read.expression, plain.expression)


def test_names_that_nobody_knows_are_left_out(data: Data, face: Data) -> None:
    plain = motion_from_pose_data(data, FPS, face=face)
    for (one,) in face["frames"]:
        one["blendshapes"] = one["blendshapes"] | {"somethingElse": 0.8, "_neutral": 0.9}
    read = motion_from_pose_data(data, FPS, face=face)
    np.testing.assert_array_equal(read.expression, plain.expression)
