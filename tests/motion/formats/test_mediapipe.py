"""ARKit's coefficients as expression, jaw and gaze: each movement once."""

from __future__ import annotations

import numpy as np
import pytest

from anchor_core.body import pose_motion, standin_body
from anchor_core.errors import AnchorError
from anchor_core.motion import Motion
from anchor_core.motion.formats.mediapipe import face_from_arkit

NAMES = standin_body().expression_names
MEDIAPIPE = ("_neutral", *(name for name in NAMES if name != "tongueOut"))
EYES = (36, 45)  # corners of the eyes among the landmarks: they do not move with the jaw


def face(**values: float) -> dict[str, float]:
    return {name: 0.0 for name in MEDIAPIPE} | {"_neutral": 0.7} | values


def posed(expression: np.ndarray, jaw: np.ndarray):
    pose = np.zeros((len(expression), 55, 3))
    pose[:, 22] = jaw
    return pose_motion(
        standin_body(),
        Motion(pose, np.zeros((len(pose), 3)), expression, world="yup", expression_space="arkit52"),
    )


def test_columns_are_the_stand_ins() -> None:
    expression, jaw, eyes = face_from_arkit([face(mouthSmileLeft=0.4), face(cheekPuff=2.0)])
    assert (expression.shape, jaw.shape, eyes.shape) == ((2, 52), (2, 3), (2, 2, 3))
    assert expression[0, NAMES.index("mouthSmileLeft")] == 0.4
    assert expression[1, NAMES.index("cheekPuff")] == 1.0
    assert np.count_nonzero(expression) == 2
    assert not jaw.any()
    assert not eyes.any()


def test_the_mouth_opens_once_and_as_far_as_the_shape_opens_it() -> None:
    expression, jaw, _ = face_from_arkit([face(), face(jawOpen=1.0)])
    assert not expression.any()
    opened = posed(expression, jaw).landmarks.numpy()
    shape = np.zeros((2, 52))
    shape[1, NAMES.index("jawOpen")] = 1
    wanted = posed(shape, np.zeros((2, 3))).landmarks.numpy()
    lip = 57  # middle of the lower lip
    move, by_shape = opened[1, lip] - opened[0, lip], wanted[1, lip] - wanted[0, lip]
    assert move[1] < -0.01, "downwards"
    assert 0.7 < np.linalg.norm(move) / np.linalg.norm(by_shape) < 1.4


@pytest.mark.parametrize(
    ("name", "eye", "axis", "sign"),
    [
        ("eyeLookDownLeft", 0, 0, 1),
        ("eyeLookUpRight", 1, 0, -1),
        ("eyeLookOutLeft", 0, 1, 1),
        ("eyeLookInRight", 1, 1, 1),
        ("eyeLookOutRight", 1, 1, -1),
    ],
)
def test_gaze_turns_the_eye_as_the_shape_does(name: str, eye: int, axis: int, sign: int) -> None:
    expression, _, eyes = face_from_arkit([face(**{name: 1.0})])
    assert not expression.any()
    assert sign * eyes[0, eye, axis] > 0.1
    assert np.count_nonzero(eyes) == 1
    body = standin_body()
    ball = (body.skin_weights[:, 23 + eye] > 0.5).numpy()
    offset = body.expression_dirs.numpy().reshape(-1, 3, body.expression_dirs.shape[1])[ball][
        :, :, NAMES.index(name)
    ]
    places = body.vertices_template.numpy()[ball] - body.joint_template[23 + eye].numpy()
    front = places[:, 2] > 0.012
    turned = np.cross(eyes[0, eye], places[front].mean(0))
    assert 0.7 < turned @ offset[front].mean(0) / (offset[front].mean(0) ** 2).sum() < 1.4


def test_frames_without_a_face_are_nan() -> None:
    expression, jaw, eyes = face_from_arkit([face(), None, face(jawOpen=float("nan"))])
    assert np.isnan(expression[1]).all()
    assert np.isnan(jaw[1, 0])
    assert np.isnan(eyes[1, :, :2]).all()
    assert np.isnan(jaw[2, 0])


def test_messages() -> None:
    with pytest.raises(AnchorError, match=r"frame 1 holds a, b: it needs ARKit's coefficients by name"):
        face_from_arkit([face(), {"a": 1.0, "b": 0.0}])
    with pytest.raises(AnchorError, match="'jawOpen' is 'wide': it needs a number from 0 to 1"):
        face_from_arkit([{**face(), "jawOpen": "wide"}])
