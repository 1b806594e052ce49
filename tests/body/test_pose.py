"""A motion on a body: worlds, hands, expressions, lengths, chunks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anchor_core.body import load_body, missing_from, pose_motion, standin_body
from anchor_core.errors import AnchorError
from anchor_core.motion import Motion
from anchor_core.motion.rotations import axis_angle_from_matrix, matrix_from_axis_angle

WriteBody = Callable[..., Path]


def make_motion(n_frames: int = 3, **changes: object) -> Motion:
    rng = np.random.default_rng(9)
    motion = Motion(
        pose=rng.normal(size=(n_frames, 55, 3)) * 0.2,
        translation=rng.normal(size=(n_frames, 3)),
        expression=np.zeros((n_frames, 0)),
        expression_space="none",
        world="yup",
    )
    return replace(motion, **changes)  # type: ignore[arg-type]


def test_shapes_and_rest_pose() -> None:
    body = standin_body()
    motion = Motion(np.zeros((2, 55, 3)), np.zeros((2, 3)), np.zeros((2, 0)), world="yup", hands="absolute")
    posed = pose_motion(body, motion)
    assert posed.vertices.shape == (2, body.n_vertices, 3)
    assert posed.vertices.dtype == torch.float32
    assert posed.joints.shape == (2, 55, 3)
    assert posed.landmarks.shape == (2, 68, 3)
    assert torch.allclose(posed.vertices[0], body.vertices_template, atol=1e-6)
    assert torch.allclose(posed.joints[0], body.joint_template, atol=1e-6)


def test_landmarks_lie_on_the_face() -> None:
    motion = Motion(np.zeros((1, 55, 3)), np.zeros((1, 3)), np.zeros((1, 0)), world="yup")
    posed = pose_motion(standin_body(), motion)
    landmarks, joints = posed.landmarks[0], posed.joints[0]
    left_eye, right_eye = landmarks[42:48].mean(0), landmarks[36:42].mean(0)
    assert float((left_eye - joints[23])[:2].norm()) < 0.012
    assert float((right_eye - joints[24])[:2].norm()) < 0.012
    nose, chin, brow = landmarks[30], landmarks[8], landmarks[21]
    assert nose[2] > left_eye[2]
    assert brow[1] > left_eye[1] > nose[1] > landmarks[48][1] > chin[1]
    assert landmarks[54][0] > landmarks[48][0]  # the corner of iBUG 54 is on the person's left


@pytest.mark.parametrize(
    ("world", "turn"),
    [("cv", np.diag([1.0, -1, -1])), ("zup", np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))],
)
def test_worlds_differ_by_an_exact_turn(world: str, turn: np.ndarray) -> None:
    """The same person described in another world: x_world = turn x_yup; needs the pelvis of the body."""
    body = standin_body(torch.float64)
    base = make_motion()
    pelvis = body.joint_template[0].numpy()
    pose = base.pose.astype(np.float64)
    pose[:, 0] = axis_angle_from_matrix(turn @ matrix_from_axis_angle(base.pose[:, 0]))
    translation = (base.translation + pelvis) @ turn.T - pelvis
    other = replace(base, pose=pose, translation=translation, world=world)
    expected, found = pose_motion(body, base), pose_motion(body, other)
    for name in ("vertices", "joints", "landmarks"):
        assert torch.allclose(getattr(found, name), getattr(expected, name), atol=1e-6)


def test_chunks_agree_with_the_whole() -> None:
    body, motion = standin_body(), make_motion(70)
    whole = pose_motion(body, motion)
    for start, stop in ((0, 3), (30, 68), (69, None), (-2, None)):
        part = pose_motion(body, motion, start, stop)
        assert torch.allclose(part.vertices, whole.vertices[start:stop], atol=1e-6)
        assert torch.allclose(part.landmarks, whole.landmarks[start:stop], atol=1e-6)


def test_empty_range_is_refused() -> None:
    with pytest.raises(AnchorError, match="Frames 3 to 3 of 3 hold no frame"):
        pose_motion(standin_body(), make_motion(), 5)


def test_betas_of_any_length(write_body: WriteBody) -> None:
    body = load_body(write_body())
    none = pose_motion(body, make_motion()).vertices
    zeros = pose_motion(body, make_motion(betas=np.zeros(300))).vertices
    short = pose_motion(body, make_motion(betas=np.array([0.5]))).vertices
    long = pose_motion(body, make_motion(betas=np.array([0.5, *np.zeros(9), *np.ones(290)]))).vertices
    assert torch.equal(none, zeros)
    assert torch.allclose(short, long, atol=1e-6)
    assert not torch.allclose(short, none, atol=1e-3)


def test_hands_relative_add_the_mean(write_body: WriteBody) -> None:
    body = load_body(write_body())
    relative = make_motion()
    pose = relative.pose.copy()
    pose[:, 25:] += body.hand_mean.numpy()
    absolute = replace(relative, pose=pose, hands="absolute")
    assert torch.allclose(
        pose_motion(body, relative).vertices, pose_motion(body, absolute).vertices, atol=1e-5
    )


def test_pca_hands_are_decoded_by_a_body_that_has_them(write_body: WriteBody) -> None:
    body = load_body(write_body())
    assert body.hand_components is not None
    left, right = np.full((3, 4), 0.3), np.full((3, 4), -0.2)
    pose = make_motion().pose.copy()
    pose[:, 25:40] = (left @ body.hand_components[0, :4].numpy()).reshape(3, 15, 3)
    pose[:, 40:] = (right @ body.hand_components[1, :4].numpy()).reshape(3, 15, 3)
    coded, plain = make_motion(hands_pca=(left, right)), make_motion(pose=pose)
    assert not missing_from(body, coded)
    assert torch.allclose(pose_motion(body, coded).vertices, pose_motion(body, plain).vertices, atol=1e-5)


def test_what_the_standin_cannot_show_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    motion = make_motion(
        40,
        hands_pca=(np.ones((40, 12)), np.ones((40, 12))),
        expression=np.ones((40, 5)),
        expression_space="smplx",
    )
    body = standin_body()
    assert len(missing_from(body, motion)) == 2
    with caplog.at_level(logging.WARNING, "anchor"):
        posed = pose_motion(body, motion)
        pose_motion(body, motion, 20)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "The fingers stay relaxed",
        "The face shows jaw and eyes only",
    ]
    still = np.concatenate([motion.pose[:, :25], np.zeros((40, 30, 3))], axis=1)
    relaxed = make_motion(40, pose=still)
    plain = replace(relaxed, translation=motion.translation)
    expected = pose_motion(body, plain).vertices
    hands = replace(motion, pose=still)
    assert torch.allclose(pose_motion(body, hands).vertices, expected, atol=1e-6)
    assert posed.vertices.shape[0] == 40


def test_expression_of_the_same_space_moves_the_face() -> None:
    body = standin_body()
    expression = np.zeros((1, 60))
    expression[0, body.expression_names.index("jawOpen")] = 1
    still = Motion(
        np.zeros((1, 55, 3)), np.zeros((1, 3)), np.zeros((1, 60)), expression_space="arkit52", world="yup"
    )
    moved = replace(still, expression=expression)
    before, after = pose_motion(body, still).landmarks[0], pose_motion(body, moved).landmarks[0]
    assert float(before[8, 1] - after[8, 1]) > 0.01  # the chin falls
    assert torch.allclose(before[36:48], after[36:48], atol=2e-3)
    assert not missing_from(body, moved)


def test_the_visible_contour_is_used_in_every_world(write_body: WriteBody) -> None:
    """Row of the contour table by the turn of the head: the same in "cv" and "yup"."""
    body = load_body(write_body(), dtype=torch.float64)
    rows = set()
    for degrees in (-80, -20, 0, 20, 80):
        yup = make_motion(1, pose=np.zeros((1, 55, 3)))
        yup.pose[0, 15] = 0
        yup.pose[0, 12, 1] = np.radians(degrees)
        cv = replace(yup, pose=yup.pose.copy(), world="cv")
        cv.pose[0, 0, 0] = np.pi
        a, b = pose_motion(body, yup), pose_motion(body, cv)
        offset = a.joints[0, 0] - b.joints[0, 0]
        assert torch.allclose(a.landmarks, b.landmarks + offset, atol=1e-5)
        rows.add(round(float(a.landmarks[0, 0, 0]), 4))
    assert len(rows) == 5


def test_body_frozen_by_no_rotation_in_float32() -> None:
    motion = Motion(
        np.full((1, 55, 3), 1e-25), np.zeros((1, 3)), np.zeros((1, 0)), world="yup", hands="absolute"
    )
    assert torch.allclose(
        pose_motion(standin_body(), motion).vertices[0], standin_body().vertices_template, atol=1e-6
    )
