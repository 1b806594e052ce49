"""Skinning: rotations, and agreement with the published `smplx` package."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from anchor_core.body import load_body, pose_motion
from anchor_core.body.skinning import matrices_from_axis_angle
from anchor_core.files import ASSETS
from anchor_core.motion import Motion

needs_smplx = pytest.mark.skipif(
    importlib.util.find_spec("smplx") is None,
    reason="the smplx package is not installed: no cross-check with it",
)
N_FRAMES = 3


def test_no_rotation_is_stable_in_float32() -> None:
    vectors = torch.zeros(4, 3)
    vectors[1, 0], vectors[2, 1], vectors[3, 2] = 1e-30, 1e-8, 1e-4
    vectors.requires_grad_(True)
    matrices = matrices_from_axis_angle(vectors)
    assert torch.equal(matrices[0], torch.eye(3))
    assert torch.isfinite(matrices).all()
    exact = torch.linalg.matrix_exp(torch.tensor([[0.0, -1e-4, 0], [1e-4, 0, 0], [0, 0, 0]]).double())
    assert torch.allclose(matrices[3].double(), exact, atol=1e-10)


def test_rotations_are_orthogonal() -> None:
    matrices = matrices_from_axis_angle(
        torch.randn(200, 3, generator=torch.Generator().manual_seed(0)).double() * 3
    )
    assert torch.allclose(matrices @ matrices.mT, torch.eye(3).double().expand(200, 3, 3), atol=1e-12)


def random_motion(expression_space: str, **changes: Any) -> Motion:
    rng = np.random.default_rng(1)
    motion = Motion(
        pose=rng.normal(size=(N_FRAMES, 55, 3)) * 0.4,
        translation=rng.normal(size=(N_FRAMES, 3)),
        expression=rng.normal(size=(N_FRAMES, 10)),
        betas=rng.normal(size=10),
        world="yup",
        expression_space=expression_space,
    )
    return replace(motion, **changes)


def smplx_output(
    path: Path, motion: Motion, dtype: torch.dtype, **options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices, joints and iBUG landmarks of the published package."""
    import smplx

    options = {
        "use_pca": False,
        "num_betas": 10,
        "num_expression_coeffs": 10,
        "use_face_contour": True,
    } | options
    model = smplx.SMPLX(str(path), dtype=dtype, **options)
    pose = torch.as_tensor(motion.pose, dtype=dtype)
    hands = [pose[:, 25:40].flatten(1), pose[:, 40:].flatten(1)]
    if motion.hands_pca is not None:
        hands = [torch.as_tensor(hand, dtype=dtype) for hand in motion.hands_pca]
    with torch.no_grad():
        out = model(
            betas=torch.as_tensor(motion.betas, dtype=dtype)[None],
            expression=torch.as_tensor(motion.expression, dtype=dtype),
            transl=torch.as_tensor(motion.translation, dtype=dtype),
            global_orient=pose[:, 0],
            body_pose=pose[:, 1:22].flatten(1),
            jaw_pose=pose[:, 22],
            leye_pose=pose[:, 23],
            reye_pose=pose[:, 24],
            left_hand_pose=hands[0],
            right_hand_pose=hands[1],
        )
    return out.vertices, out.joints[:, :55], torch.cat([out.joints[:, 127:], out.joints[:, 76:127]], dim=1)


def assert_same(path: Path, motion: Motion, dtype: torch.dtype, tolerance: float, **options: Any) -> None:
    posed = pose_motion(load_body(path, dtype=dtype), motion)
    found = (posed.vertices, posed.joints, posed.landmarks)
    for ours, theirs in zip(found, smplx_output(path, motion, dtype, **options), strict=True):
        assert float((ours - theirs).abs().max()) < tolerance


@needs_smplx
@pytest.mark.parametrize(
    ("hands", "dtype", "tolerance"), [("relative", torch.float32, 1e-5), ("absolute", torch.float64, 1e-6)]
)
def test_standin_agrees_with_smplx(hands: str, dtype: torch.dtype, tolerance: float, tmp_path: Path) -> None:
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    shutil.copy(ASSETS / "standin.npz", path)
    motion = random_motion("arkit52", hands=hands, betas=np.array([1, -0.5, 0.3, 0, 2, 0, 0, 0, 0, 0]))
    options = {"num_betas": 300, "num_expression_coeffs": 100, "flat_hand_mean": hands == "absolute"}
    padded = replace(
        motion, betas=np.pad(motion.betas, (0, 290)), expression=np.pad(motion.expression, ((0, 0), (0, 90)))
    )
    posed = pose_motion(load_body(path, dtype=dtype), motion)
    vertices, joints, landmarks = smplx_output(path, padded, dtype, **options)
    assert float((posed.vertices - vertices).abs().max()) < tolerance
    assert float((posed.joints - joints).abs().max()) < tolerance
    assert float((posed.landmarks - landmarks).abs().max()) < tolerance


@needs_smplx
def test_full_features_agree_with_smplx(write_body: Callable[..., Path]) -> None:
    """Pose correctives, PCA hands and turning contour landmarks, on the smallest body that smplx takes."""
    path = write_body("SMPLX_RANDOM.npz", n_vertices=9930)
    assert_same(path, random_motion("smplx"), torch.float64, 1e-6)
    rng = np.random.default_rng(4)
    pca = random_motion("smplx", hands_pca=(rng.normal(size=(N_FRAMES, 12)), rng.normal(size=(N_FRAMES, 12))))
    assert_same(path, pca, torch.float64, 1e-6, use_pca=True, num_pca_comps=12)
