"""Multi-HMR's humans of each frame, as pickle, file of torch and JSON."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, Validity, read_motion
from anchor_core.motion.formats.frames import PELVIS

AT_25 = ReadOptions(fps=25)


def human(seed: int, x: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    rotations = torch.from_numpy(rng.normal(scale=0.2, size=(53, 3))).float()
    rotations[0, 0] += 3.1
    rotations[22:52, 2] += 0.3
    return {
        "scores": torch.tensor(0.9),
        "loc": torch.tensor([400.0, 300.0]),
        "transl": torch.tensor([[x, -0.6, 4.0]]),
        "transl_pelvis": torch.tensor([[x, 0.1, 4.0]]),
        "rotvec": rotations,
        "expression": torch.from_numpy(rng.normal(size=10)).half(),
        "shape": torch.from_numpy(rng.normal(size=10)),
        "verts_smplx": torch.zeros(5, 3),
    }


def as_json(one: dict[str, Any]) -> dict[str, Any]:
    return {key: value.tolist() for key, value in one.items()}


def write(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def check(path: Path, humans: list[dict[str, Any]]) -> None:
    motion = read_motion(path, AT_25)
    rotations = np.stack([one["rotvec"] for one in humans])
    np.testing.assert_allclose(motion.pose[:, :22], rotations[:, :22], rtol=1e-6)
    np.testing.assert_allclose(motion.pose[:, 25:], rotations[:, 22:52], rtol=1e-6)
    np.testing.assert_allclose(motion.pose[:, 22], rotations[:, 52], rtol=1e-6)
    assert not motion.pose[:, 23:25].any()
    pelvis = np.stack([one["transl_pelvis"][0] for one in humans])
    np.testing.assert_allclose(motion.translation + np.array(PELVIS, np.float32), pelvis, atol=1e-6)
    np.testing.assert_allclose(motion.expression, [one["expression"].numpy() for one in humans])
    assert motion.betas is not None
    assert (motion.world, motion.hands, motion.camera) == ("cv", "absolute", None)
    assert motion.valid == Validity(eyes=False)


def test_every_way_to_keep_them(tmp_path: Path) -> None:
    humans = [human(i) for i in range(3)]
    check(write(tmp_path / "a", [[one] for one in humans]), humans)
    check(write(tmp_path / "b", humans), humans)
    check(write(tmp_path / "c", {f"{i}.jpg": [humans[k]] for k, i in ((2, 10), (0, 1), (1, 9))}), humans)
    check(write(tmp_path / "d", [{"humans": [one]} for one in humans]), humans)
    torch.save([[one] for one in humans], tmp_path / "e")
    check(tmp_path / "e", humans)
    (tmp_path / "f").write_text(json.dumps([[as_json(one)] for one in humans]))
    check(tmp_path / "f", humans)
    (tmp_path / "folder").mkdir()
    for i, one in enumerate(humans):
        write(tmp_path / "folder" / f"{i + 8}.pkl", [one])
    check(tmp_path / "folder", humans)


def test_one_of_several_people_is_followed_where_the_order_changes(tmp_path: Path) -> None:
    left, right = ([human(10 * k + i, x) for i in range(4)] for k, x in enumerate((-0.5, 0.5)))
    frames = [[left[0], right[0]], [right[1], left[1]], [right[2]], [left[3], right[3]]]
    path = write(tmp_path / "a.pkl", frames)
    with pytest.raises(AnchorError, match=r"a\.pkl: The file holds 2 people \(0, 1\): choose one"):
        read_motion(path, AT_25)
    motion = read_motion(path, ReadOptions(fps=25, person="1"))
    np.testing.assert_allclose(motion.expression, [one["expression"].numpy() for one in right])
    assert read_motion(path, ReadOptions(fps=25, person="0")).marks.tolist() == [False, False, True, False]


def test_frames_without_anybody_are_filled(tmp_path: Path) -> None:
    motion = read_motion(write(tmp_path / "a.pkl", [[human(0)], [], None, [human(3)]]), AT_25)
    assert motion.marks.tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rotvec": torch.zeros(52, 3)}, r"'rotvec' has shape \(52, 3\): it needs 159 numbers per frame"),
        ({"transl_pelvis": None}, "'transl_pelvis' is not an array of numbers"),
        ({"transl_pelvis": torch.zeros(2)}, "A human has no 'transl_pelvis' of 3 numbers"),
        ({"expression": "smile"}, "'expression' is not an array of numbers"),
    ],
)
def test_bad_humans(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=rf"a\.pkl: .*{message}"):
        read_motion(write(tmp_path / "a.pkl", [[human(0) | changes]]), AT_25)


@pytest.mark.parametrize("content", [[], [[]], [[1]], [{"rot": 1}], {"a": 1}, [[{}]], None])
def test_something_else(content: Any, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"a\.pkl holds .* no motion"):
        read_motion(write(tmp_path / "a.pkl", content), AT_25)
