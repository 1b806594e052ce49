"""Expressions of one body on another: what the points of the face do is repeated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anchor_core.body import standin_body
from anchor_core.body.expressions import convert_expression, expression_map
from anchor_core.body.model import BodyModel
from anchor_core.body.pose import missing_from, pose_motion
from anchor_core.errors import AnchorError
from anchor_core.motion import Motion


@pytest.fixture(scope="module")
def licensed() -> BodyModel:
    """A body as SMPL-X has it: 60 coefficients, each a mixture of what faces do, on a larger head."""
    base = standin_body()
    count = base.expression_dirs.shape[1]
    mixture = torch.from_numpy(np.random.default_rng(1).normal(size=(count, 60)).astype(np.float32)) * 0.3
    grown = 1.1
    return replace(
        base,
        name="licensed",
        vertices_template=base.vertices_template * grown,
        joint_template=base.joint_template * grown,
        expression_dirs=base.expression_dirs @ mixture * grown,
        joint_expression_dirs=base.joint_expression_dirs @ mixture * grown,
        expression_space="smplx",
        expression_names=(),
        n_expression=60,
    )


def speaking(n_frames: int, space: str, expression: np.ndarray) -> Motion:
    pose = np.zeros((n_frames, 55, 3), np.float32)
    pose[:, 22, 0] = np.linspace(0, 0.2, n_frames)
    return Motion(pose, pose[:, 0], expression, world="yup", expression_space=space)


def points(body: BodyModel, motion: Motion) -> np.ndarray:
    """Where the inner points of the face go, in distances of the eyes, (F, 51, 3)."""
    posed = pose_motion(body, motion).landmarks[:, 17:].numpy()
    still = pose_motion(body, replace(motion, expression=motion.expression * 0)).landmarks[:, 17:].numpy()
    eyes = body.joint_template[23] - body.joint_template[24]
    return (posed - still) / float(eyes.norm())


def arkit(n_frames: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    return (rng.random((n_frames, 52)) * (rng.random((n_frames, 52)) < 0.2)).astype(np.float32)


def test_arkit_shapes_move_a_licensed_face_the_same_way(licensed: BodyModel) -> None:
    motion = speaking(12, "arkit52", arkit(12))
    converted = convert_expression(motion, standin_body(), licensed)
    assert converted.expression.shape == (12, 60)
    assert converted.expression_space == "smplx"
    wanted = points(standin_body(), motion)
    jawless = replace(converted, pose=motion.pose)
    assert np.abs(wanted).max() > 0.1
    got = points(licensed, converted) + (points_of_jaw(licensed, converted, jawless))
    assert np.abs(got - wanted).mean() < 0.05 * np.abs(wanted).mean()


def points_of_jaw(body: BodyModel, turned: Motion, still: Motion) -> np.ndarray:
    """What the added turn of the jaw does to the points."""
    posed, plain = (
        pose_motion(body, replace(motion, expression=motion.expression * 0)).landmarks[:, 17:].numpy()
        for motion in (turned, still)
    )
    return (posed - plain) / float((body.joint_template[23] - body.joint_template[24]).norm())


def test_licensed_coefficients_become_arkit_shapes_within_their_range(licensed: BodyModel) -> None:
    there = convert_expression(speaking(8, "arkit52", arkit(8)), standin_body(), licensed)
    back = convert_expression(there, licensed, standin_body())
    assert back.expression.shape == (8, 52)
    assert back.expression.min() >= 0
    assert back.expression.max() <= 1
    wanted = points(licensed, there)
    error = points(standin_body(), back) + points_of_jaw(standin_body(), back, replace(back, pose=there.pose))
    assert np.abs(error - wanted).mean() < 0.1 * np.abs(wanted).mean()


def test_an_opening_of_the_mouth_turns_the_jaw(licensed: BodyModel) -> None:
    names = standin_body().expression_names
    row = np.zeros((1, 52), np.float32)
    row[0, names.index("jawOpen")] = 1
    found = expression_map(standin_body(), replace(licensed, expression_dirs=licensed.expression_dirs * 1e-4))
    _, jaw = found.apply(row)
    assert jaw[0, 0] > 0.05
    assert np.abs(jaw[0, 1:]).max() < 0.3 * jaw[0, 0]


def test_nothing_is_done_where_the_spaces_agree_or_there_is_no_expression(licensed: BodyModel) -> None:
    motion = speaking(2, "arkit52", arkit(2))
    assert convert_expression(motion, standin_body(), standin_body()) is motion
    silent = speaking(2, "none", np.zeros((2, 0), np.float32))
    assert convert_expression(silent, standin_body(), licensed) is silent


def test_without_a_licensed_body_the_sentence_says_what_is_needed() -> None:
    motion = speaking(2, "smplx", np.ones((2, 10), np.float32))
    with pytest.raises(AnchorError, match="give your licensed SMPL-X file"):
        convert_expression(motion, standin_body(), standin_body())


def test_arkit_motion_moves_a_licensed_face_without_being_asked(licensed: BodyModel) -> None:
    motion = speaking(40, "arkit52", arkit(40))
    ready = convert_expression(motion, standin_body(), licensed)
    shown, wanted = (pose_motion(licensed, one).landmarks for one in (motion, ready))
    assert torch.allclose(shown, wanted, atol=1e-6)
    assert missing_from(licensed, motion) == []
    assert len(missing_from(standin_body(), ready)) == 1
