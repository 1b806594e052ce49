"""SHOW's pickles of several people."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, read_motion

_WIDTHS = {"expression": 100, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3, "global_orient": 3, "transl": 3}
_WIDTHS |= {"body_pose_axis": 63, "left_hand_pose": 12, "right_hand_pose": 12}


def person(seed: int, n_frames: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {key: rng.normal(scale=0.2, size=(n_frames, width)) for key, width in _WIDTHS.items()}
    found["global_orient"][:, 0] += np.pi
    return found


def write(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def test_one_of_several_people(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pkl", [person(0), person(1, 5)])
    for number, n_frames in enumerate((3, 5)):
        motion = read_motion(path, ReadOptions(person=str(number)))
        np.testing.assert_allclose(motion.expression, person(number, n_frames)["expression"], rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "asked", "message"),
    [
        ([person(0), person(1)], None, r"The file holds 2 people \(0, 1\): choose one"),
        ([person(0), person(1)], "2", "There is no person '2': the file holds 0, 1"),
        ([person(0)], "seth", "There is no person 'seth': the file holds 0"),
    ],
)
def test_who_is_asked(content: Any, asked: str | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=rf"a\.pkl: {message}"):
        read_motion(write(tmp_path / "a.pkl", content), ReadOptions(person=asked))


def test_a_list_with_something_else_is_no_motion(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"a\.pkl holds a list of 2, which is no motion"):
        read_motion(write(tmp_path / "a.pkl", [person(0), {"expression": 1}]))
