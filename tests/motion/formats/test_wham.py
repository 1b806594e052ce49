"""WHAM's wham_output.pkl: SMPL bodies by tracker number, in a file of joblib."""

from __future__ import annotations

import collections
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, Validity, read_motion

AT_25 = ReadOptions(fps=25)


def person(seed: int = 0, n_frames: int = 4, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    pose, pose_world = rng.normal(scale=0.2, size=(2, n_frames, 72)).astype(np.float32)
    pose[:, 0] += 3.1
    found = {
        "pose": pose,
        "trans": rng.normal(size=(n_frames, 3)).astype(np.float32) + np.array([0, 0, 5]),
        "pose_world": pose_world,
        "trans_world": rng.normal(size=(n_frames, 3)).astype(np.float32),
        "betas": rng.normal(size=(n_frames, 10)).astype(np.float32),
        "verts": np.zeros((n_frames, 6890, 3), np.float32),
        "frame_ids": np.arange(n_frames),
    } | changes
    return {key: value for key, value in found.items() if value is not None}


def people(**by_number: dict[str, Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = collections.defaultdict(dict)
    return found | {np.int64(key.removeprefix("id")): value for key, value in by_number.items()}


@pytest.mark.parametrize("pack", [bytes, zlib.compress])
@pytest.mark.parametrize(("world", "ending"), [(None, ""), ("yup", "_world")])
def test_both_worlds(pack: Any, world: str | None, ending: str, as_joblib: Any, tmp_path: Path) -> None:
    one = person()
    (tmp_path / "a").write_bytes(pack(as_joblib(people(id7=one))))
    motion = read_motion(tmp_path / "a", ReadOptions(fps=25, world=world))
    np.testing.assert_array_equal(motion.pose[:, :22].reshape(4, 66), one["pose" + ending][:, :66])
    np.testing.assert_allclose(motion.translation, one["trans" + ending], rtol=1e-6)
    assert not motion.pose[:, 22:].any()
    assert (motion.world, motion.hands, motion.expression_space) == (world or "cv", "relative", "none")
    assert (motion.betas, motion.camera) == (None, None)
    assert motion.valid == Validity(jaw=False, eyes=False, hands=False, expression=False)


def test_one_of_several_people(as_joblib: Any, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(as_joblib(people(id2=person(2), id11=person(11, 3))))
    with pytest.raises(AnchorError, match=r"a\.pkl: The file holds 2 people \(2, 11\): choose one"):
        read_motion(tmp_path / "a.pkl", AT_25)
    with pytest.raises(AnchorError, match="There is no person '1': the file holds 2, 11"):
        read_motion(tmp_path / "a.pkl", ReadOptions(fps=25, person="1"))
    motion = read_motion(tmp_path / "a.pkl", ReadOptions(fps=25, person="11"))
    np.testing.assert_array_equal(motion.pose[:, 1:22].reshape(3, 63), person(11, 3)["pose"][:, 3:66])


def test_a_plain_pickle_of_one_person(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(person(verts=None, frame_ids=None)))
    assert len(read_motion(tmp_path / "a.pkl", AT_25)) == 4


def test_frames_that_the_tracker_lost_are_filled(as_joblib: Any, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(as_joblib(people(id0=person(frame_ids=np.array([8, 9, 12, 13])))))
    assert read_motion(tmp_path / "a.pkl", AT_25).marks.tolist() == [False, False, True, True, False, False]
    (tmp_path / "b.pkl").write_bytes(as_joblib(people(id0=person(frame_ids=np.array([8, 9, 30, 31])))))
    with pytest.raises(AnchorError, match=r"b\.pkl: Frames 2 to 21 .*max_gap_s"):
        read_motion(tmp_path / "b.pkl", AT_25)


def test_fps_is_asked(as_joblib: Any, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(as_joblib(people(id0=person())))
    with pytest.raises(AnchorError, match=r"a\.pkl: .* does not say its frames per second: give fps"):
        read_motion(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pose": np.zeros((4, 165))}, r"'pose' has shape \(4, 165\): it needs 72 numbers per frame"),
        ({"trans": np.zeros((3, 3))}, "Frame 0 holds 4 of pose, 3 of trans"),
        ({"trans": None}, 'The person has no pose and trans: give world="yup"'),
        ({"frame_ids": np.arange(3)}, "not as many as the frames"),
        ({"frame_ids": np.array([3, 2, 1, 0])}, "do not rise"),
        ({"frame_ids": np.full(4, np.nan)}, "'frame_ids' are not the numbers of frames"),
        ({"pose": np.zeros((0, 72)), "trans": np.zeros((0, 3)), "frame_ids": None}, "has no frames"),
    ],
)
def test_bad_people(changes: dict[str, Any], message: str, as_joblib: Any, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(as_joblib(people(id0=person(**changes))))
    with pytest.raises(AnchorError, match=rf"a\.pkl: .*{message}"):
        read_motion(tmp_path / "a.pkl", AT_25)
