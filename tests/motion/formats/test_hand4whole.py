"""Hand4Whole's smplx_param.json: one, a list, by name, a folder; layout as its demo writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, Validity, read_motion

_WIDTHS = {"root_pose": 3, "body_pose": 63, "lhand_pose": 45, "rhand_pose": 45, "jaw_pose": 3}
_WIDTHS |= {"shape": 10, "expr": 10}
AT_25 = ReadOptions(fps=25)


def frame(seed: int, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    values = {key: rng.normal(scale=0.2, size=width).round(6).tolist() for key, width in _WIDTHS.items()}
    values["root_pose"][0] += 3.1
    return {key: value for key, value in (values | changes).items() if value is not None}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_list_of_frames(tmp_path: Path) -> None:
    frames = [frame(i) for i in range(3)]
    motion = read_motion(write(tmp_path / "anything", frames), AT_25)
    flat = motion.pose.reshape(3, -1)
    for key, first in (
        ("root_pose", 0),
        ("body_pose", 3),
        ("jaw_pose", 66),
        ("lhand_pose", 75),
        ("rhand_pose", 120),
    ):
        wanted = [one[key] for one in frames]
        np.testing.assert_allclose(flat[:, first : first + _WIDTHS[key]], wanted, rtol=1e-6)
    np.testing.assert_allclose(motion.expression, [one["expr"] for one in frames], rtol=1e-6)
    np.testing.assert_allclose(motion.betas, np.median([one["shape"] for one in frames], axis=0), rtol=1e-6)
    assert not motion.pose[:, 23:25].any()
    assert not motion.translation.any()
    assert (motion.fps, motion.world, motion.hands, motion.camera) == (25.0, "cv", "relative", None)
    assert motion.valid == Validity(eyes=False, translation=False)


def test_one_frame_and_frames_by_name(tmp_path: Path) -> None:
    assert len(read_motion(write(tmp_path / "one.json", frame(0)), AT_25)) == 1
    by_name = {f"frame{i}": frame(i) for i in (10, 9, 1)}
    motion = read_motion(write(tmp_path / "a.json", by_name), AT_25)
    np.testing.assert_allclose(motion.expression, [frame(i)["expr"] for i in (1, 9, 10)], rtol=1e-6)


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for i in (1, 2, 10):
        write(tmp_path / f"smplx_param_{i}.json", frame(i))
    (tmp_path / "render.jpg").write_bytes(b"x")
    motion = read_motion(tmp_path, AT_25)
    np.testing.assert_allclose(motion.expression, [frame(i)["expr"] for i in (1, 2, 10)], rtol=1e-6)


def test_frames_without_a_person_are_filled(tmp_path: Path) -> None:
    motion = read_motion(write(tmp_path / "a.json", [frame(0), None, frame(2), frame(3)]), AT_25)
    assert motion.marks.tolist() == [False, True, False, False]
    np.testing.assert_allclose(
        motion.expression[1], (motion.expression[0] + motion.expression[2]) / 2, atol=1e-6
    )


def test_fps_is_asked(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"a\.json: .* does not say its frames per second: give fps"):
        read_motion(write(tmp_path / "a.json", [frame(0)]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([frame(0), frame(1, rhand_pose=None, expr=None)], "Frame 1 lacks rhand_pose, expr"),
        ([frame(0, jaw_pose=[0.0] * 4)], r"'jaw_pose' has shape \(4,\): it needs 3 numbers per frame"),
        ([frame(0, body_pose="T-pose")], "'body_pose' is not an array of numbers"),
        ([frame(0, expr=[])], "'expr' is empty"),
        ([frame(0), {"people": []}], "holds a list of 2, which is no motion"),
        ([], "holds a list of 0, which is no motion"),
    ],
)
def test_bad_frames(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=rf"a\.json.*{message}"):
        read_motion(write(tmp_path / "a.json", content), AT_25)
    with pytest.raises(AnchorError, match="There is no person '1'"):
        read_motion(write(tmp_path / "b.json", [frame(0)]), ReadOptions(fps=25, person="1"))
