"""GVHMR's hmr4d_results.pt: what the camera sees, and the motion in the world."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, Validity, read_motion


def parameters(seed: int, turn: float, n_frames: int = 4) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    widths = {"body_pose": 63, "betas": 10, "global_orient": 3, "transl": 3}
    found = {
        key: torch.from_numpy(rng.normal(scale=0.2, size=(n_frames, n))).float() for key, n in widths.items()
    }
    found["global_orient"][:, 0] += turn
    found["transl"][:, 2] += 4
    return found


def results(**changes: Any) -> dict[str, Any]:
    lens = torch.tensor([[1468.6, 0.0, 640.0], [0.0, 1468.6, 360.0], [0.0, 0.0, 1.0]])
    content = {
        "smpl_params_incam": parameters(0, 3.1),
        "smpl_params_global": parameters(1, 0.0),
        "K_fullimg": lens.repeat(4, 1, 1),
        "net_outputs": {"model_output": {"pred_cam": torch.zeros(1, 4, 3)}},
    } | changes
    return {key: value for key, value in content.items() if value is not None}


def write(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("options", "key", "world"),
    [({}, "smpl_params_incam", "cv"), ({"world": "yup"}, "smpl_params_global", "yup")],
)
def test_both_worlds(options: dict[str, Any], key: str, world: str, tmp_path: Path) -> None:
    content = results()
    motion = read_motion(write(tmp_path / "a", content), ReadOptions(**options))
    wanted = content[key]
    np.testing.assert_array_equal(motion.pose[:, 0], wanted["global_orient"])
    np.testing.assert_array_equal(motion.pose[:, 1:22].reshape(4, 63), wanted["body_pose"])
    np.testing.assert_array_equal(motion.translation, wanted["transl"])
    np.testing.assert_allclose(motion.betas, np.median(wanted["betas"], axis=0), rtol=1e-6)
    assert not motion.pose[:, 22:].any()
    assert motion.expression.shape == (4, 0)
    assert (motion.fps, motion.world, motion.hands, motion.expression_space) == (
        30.0,
        world,
        "relative",
        "none",
    )
    assert motion.valid == Validity(jaw=False, eyes=False, hands=False, expression=False)
    assert (motion.camera is None) == (world == "yup")


def test_the_camera(tmp_path: Path) -> None:
    camera = read_motion(write(tmp_path / "a.pt", results())).camera
    assert camera is not None
    assert camera.size == (1280, 720)
    assert camera.center_px == (640.0, 360.0)
    assert camera.translation == (0.0, 0.0, 0.0)
    np.testing.assert_allclose(camera.focal_px, 1468.6, rtol=1e-6)


def test_a_pickle_of_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(results()))
    assert read_motion(tmp_path / "a.pkl").source == "GVHMR"


def test_a_camera_that_zooms_is_made_to_stand_still(tmp_path: Path) -> None:
    content = results()
    content["K_fullimg"][3, [0, 1], [0, 1]] *= 2
    motion = read_motion(write(tmp_path / "a.pt", content))
    assert motion.camera is not None
    far = content["smpl_params_incam"]["transl"][:, 2] + 0.012
    np.testing.assert_allclose(motion.translation[:3, 2] + 0.012, far[:3], rtol=1e-5)
    np.testing.assert_allclose(motion.translation[3, 2] + 0.012, far[3] / 2, rtol=1e-5)


@pytest.mark.parametrize("lens", [None, torch.zeros(4, 3, 3), torch.full((4, 3, 3), torch.nan)])
def test_without_a_usable_camera(lens: Any, tmp_path: Path) -> None:
    motion = read_motion(write(tmp_path / "a.pt", results(K_fullimg=lens)))
    assert motion.camera is None
    assert motion.valid.translation


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"smpl_params_incam": {}}, {}, "Frame 0 lacks global_orient, body_pose"),
        ({"smpl_params_global": None}, {"world": "yup"}, "has no smpl_params_global: leave world out"),
        ({"smpl_params_incam": None}, {}, 'has no smpl_params_incam: give world="yup"'),
        (
            {"smpl_params_incam": parameters(0, 0) | {"transl": torch.zeros(3, 3)}},
            {},
            "4 of body_pose, 3 of transl",
        ),
        (
            {"smpl_params_incam": parameters(0, 0) | {"body_pose": torch.zeros(4, 69)}},
            {},
            "'body_pose' has shape",
        ),
        ({"K_fullimg": torch.eye(3).repeat(3, 1, 1)}, {}, "There are 3 cameras and 4 frames"),
        ({}, {"person": "2"}, "There is no person '2'"),
    ],
)
def test_bad_results(changes: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=rf"a\.pt: .*{message}"):
        read_motion(write(tmp_path / "a.pt", results(**changes)), ReadOptions(**options))
