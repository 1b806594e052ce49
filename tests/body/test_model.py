"""Reading of SMPL-X files: widths, limits, damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.body import load_body, pose_motion, standin_body
from anchor_core.errors import AnchorError
from anchor_core.files import ASSETS
from anchor_core.motion import Motion

WriteBody = Callable[..., Path]


def test_standin() -> None:
    body = standin_body()
    assert body is standin_body()
    assert body.expression_space == "arkit52"
    assert len(body.expression_names) == 52
    assert body.hand_components is None
    assert body.pose_dirs is None
    assert body.faces.min() == 0
    assert body.faces.max() < body.n_vertices
    assert torch.allclose(body.skin_weights.sum(1), torch.ones(body.n_vertices))
    assert (ASSETS / "standin.npz").stat().st_size < 2e6


def test_small_and_full_files(write_body: WriteBody) -> None:
    small, full = load_body(write_body()), load_body(write_body("b.npz", n_dirs=400))
    assert (small.n_betas, small.n_expression) == (10, 10)
    assert (full.n_betas, full.n_expression) == (300, 100)
    assert small.expression_space == full.expression_space == "smplx"
    assert full.expression_dirs.shape == (3 * full.n_vertices, 100)
    assert small.hand_components is not None


def test_float64_and_object_members(write_body: WriteBody) -> None:
    extra = np.array([{"pelvis": 0}], dtype=object)
    body = load_body(write_body(joint2num=extra), dtype=torch.float64)
    assert body.dtype == body.skin_weights.dtype == torch.float64


def test_directions_at_the_end_that_are_zero_are_dropped(write_body: WriteBody) -> None:
    dirs = np.zeros((60, 3, 400))
    dirs[0, 0, 2] = dirs[0, 0, 304] = 1
    body = load_body(write_body(shapedirs=dirs, posedirs=np.zeros((60, 3, 486))))
    assert body.shape_dirs.shape[1] == 3
    assert body.expression_dirs.shape[1] == 5
    assert body.pose_dirs is None


def test_body_of_one_shape(write_body: WriteBody) -> None:
    body = load_body(write_body(shapedirs=np.zeros((60, 3, 20), np.float32)))
    assert body.shape_dirs.shape == body.expression_dirs.shape == (180, 0)
    still = Motion(np.zeros((1, 55, 3)), np.zeros((1, 3)), np.zeros((1, 0)))
    assert pose_motion(body, still).vertices.isfinite().all()


def bad(index: int, value: float, dtype: str = "f8") -> np.ndarray:
    array = np.zeros(51, dtype)
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": None, "posedirs": None}, r"lacks posedirs, weights: give the \.npz of an SMPL-X model"),
        ({"n_dirs": 16}, "'shapedirs' has 16 directions and an SMPL-X model has 20 or 400"),
        ({"n_dirs": 310}, "'shapedirs' has 310 directions"),
        (
            {"weights": np.zeros((60, 24))},
            r"'weights' has shape \(60, 24\) and an SMPL-X model has \(60, 55\)",
        ),
        ({"v_template": np.zeros(3)}, r"'v_template' has shape \(3,\)"),
        ({"f": np.full((4, 3), 60)}, r"'f' points outside of the mesh \(0 to 59\)"),
        ({"f": np.zeros((0, 3), int)}, "points outside of the mesh"),
        ({"lmk_faces_idx": bad(3, -1)}, "'lmk_faces_idx' points outside of the mesh"),
        ({"hands_meanl": np.array(["a"] * 45)}, "'hands_meanl' holds <U1"),
        ({"hands_componentsr": np.zeros((6, 45))}, r"'hands_componentsr' has shape \(6, 45\)"),
        ({"J_regressor": np.full((55, 60), np.nan)}, "'J_regressor' holds numbers that are not finite"),
        ({"kintree_table": np.full((2, 55), 54)}, "does not name each parent before its children"),
        ({"weights": np.array([{}], dtype=object)}, "Python objects under 'weights'"),
        ({"expression_names": np.array("smile")}, "'expression_names' is not a list of names"),
        ({"expression_names": np.arange(10)}, "'expression_names' is not a list of names"),
    ],
)
def test_bad_file_is_refused_in_one_sentence(
    changes: dict[str, Any], message: str, write_body: WriteBody
) -> None:
    with pytest.raises(AnchorError, match=rf"body\.npz.*{message}"):
        load_body(write_body(**changes))


def test_missing_truncated_and_foreign_file(write_body: WriteBody, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"There is no body model .*: check the path, or use the stand-in"):
        load_body(tmp_path / "none.npz")
    whole = write_body()
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:50_000])
    (tmp_path / "text.npz").write_text("hello")
    for name in ("cut", "text"):
        with pytest.raises(AnchorError, match=rf"{name}\.npz is not a whole \.npz archive"):
            load_body(tmp_path / f"{name}.npz")
