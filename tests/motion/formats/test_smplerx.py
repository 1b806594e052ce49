"""SMPLer-X's folder with smplx/, meta/ and img/, and one .npz of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, ReadOptions, Validity, read_motion
from anchor_core.motion.formats.frames import PELVIS

AT_25 = ReadOptions(fps=25)
_SHAPES = {
    "global_orient": (1, 3),
    "body_pose": (21, 3),
    "left_hand_pose": (15, 3),
    "right_hand_pose": (15, 3),
}
_SHAPES |= {"jaw_pose": (1, 3), "betas": (1, 10), "expression": (1, 10), "transl": (1, 3)}


def arrays(seed: int, x: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {key: rng.normal(scale=0.2, size=shape).astype(np.float32) for key, shape in _SHAPES.items()}
    found["global_orient"][0, 0] += 3.1
    found["transl"] = np.array([[x, 0.3, 41.0]], np.float32)
    return found | {"leye_pose": np.zeros((1, 3)), "reye_pose": np.zeros((1, 3))}


def camera(seed: int) -> dict[str, Any]:
    focal = 12000.0 + 100 * seed
    return {"focal": [focal, focal], "princpt": [600.0 + 5 * seed, 350.0 - seed], "bbox": [1, 2, 3, 4]}


def write(folder: Path, frame: int, number: int, seed: int, **changes: Any) -> dict[str, np.ndarray]:
    """One result as SMPLer-X names it; camera=None leaves its meta file out."""
    for part in ("smplx", "meta"):
        (folder / part).mkdir(exist_ok=True)
    found = arrays(seed, changes.pop("x", 0.0))
    lens = changes.pop("camera", camera(seed))
    np.savez(folder / "smplx" / f"{frame:05}_{number}.npz", **(found | changes))
    if lens is not None:
        (folder / "meta" / f"{frame:05}_{number}.json").write_text(json.dumps(lens))
    return found


def write_clip(folder: Path, n_frames: int = 3, **changes: Any) -> list[dict[str, np.ndarray]]:
    return [write(folder, 1 + i, 0, i, **changes) for i in range(n_frames)]


def check_pose(motion: Motion, frames: list[dict[str, np.ndarray]]) -> None:
    joints = {"global_orient": (0, 1), "body_pose": (1, 22), "jaw_pose": (22, 23)}
    joints |= {"left_hand_pose": (25, 40), "right_hand_pose": (40, 55)}
    for key, (first, last) in joints.items():
        np.testing.assert_array_equal(motion.pose[:, first:last], [frame[key] for frame in frames])
    np.testing.assert_array_equal(motion.expression, [frame["expression"][0] for frame in frames])
    assert (motion.world, motion.hands, motion.fps) == ("cv", "relative", 25.0)


@pytest.mark.parametrize("inside", ["", "smplx"])
def test_the_folder_and_the_folder_inside(inside: str, tmp_path: Path) -> None:
    frames = write_clip(tmp_path)
    motion = read_motion(tmp_path / inside, AT_25)
    check_pose(motion, frames)
    np.testing.assert_allclose(
        motion.betas, np.median([frame["betas"][0] for frame in frames], axis=0), rtol=1e-6
    )
    assert motion.valid == Validity(eyes=False)
    assert motion.camera is None  # nothing says how large the picture is


def test_one_camera_shows_the_pelvis_where_each_frames_camera_does(tmp_path: Path) -> None:
    frames = write_clip(tmp_path, x=0.4)
    (tmp_path / "img").mkdir()
    Image.new("RGB", (1280, 720)).save(tmp_path / "img" / "000001.jpg")
    motion = read_motion(tmp_path, AT_25)
    assert motion.camera is not None
    assert (motion.camera.size, motion.camera.center_px) == ((1280, 720), (640.0, 360.0))
    for i, frame in enumerate(frames):
        before, after = frame["transl"][0] + PELVIS, motion.translation[i] + PELVIS
        wanted = camera(i)["princpt"] + camera(i)["focal"][0] * before[:2] / before[2]
        found = motion.camera.center_px + motion.camera.focal_px[0] * after[:2] / after[2]
        np.testing.assert_allclose(found, wanted, atol=0.01)
        np.testing.assert_allclose(
            camera(i)["focal"][0] / before[2], motion.camera.focal_px[0] / after[2], rtol=1e-5
        )


def test_without_cameras_the_place_is_not_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(tmp_path, camera=None)
    with caplog.at_level(logging.WARNING, logger="anchor"):
        motion = read_motion(tmp_path, AT_25)
    assert not motion.valid.translation
    assert "cameras of 3 frames are not there (00001_0.json" in caplog.text


def test_one_npz(tmp_path: Path) -> None:
    frames = write_clip(tmp_path, 1)
    motion = read_motion(tmp_path / "smplx" / "00001_0.npz", AT_25)
    check_pose(motion, frames)
    assert motion.valid == Validity(eyes=False, translation=False)


def test_one_npz_of_many_frames(tmp_path: Path) -> None:
    frames = [arrays(i) for i in range(4)]
    merged = {key: np.stack([frame[key] for frame in frames]) for key in frames[0]}
    flat = {key: value.reshape(4, -1) for key, value in merged.items()}
    for name, content in (("a.npz", merged), ("b.npz", flat), ("c.npz", flat | {"fps": np.array(25)})):
        np.savez(tmp_path / name, **content)
        check_pose(read_motion(tmp_path / name, None if name == "c.npz" else AT_25), frames)


def test_frames_without_a_detection_are_filled(tmp_path: Path) -> None:
    for frame in (3, 4, 6):
        write(tmp_path, frame, 0, frame)
    assert read_motion(tmp_path, AT_25).marks.tolist() == [False, False, True, False]


def test_people_are_followed_though_their_numbers_change(tmp_path: Path) -> None:
    still = camera(0)
    left = [write(tmp_path, i, i % 2, i, x=-1.0, camera=still) for i in range(4)]
    for i in range(4):
        write(tmp_path, i, 1 - i % 2, 10 + i, x=1.0, camera=still)
    with pytest.raises(AnchorError, match=r"The file holds 2 people \(0, 1\): choose one"):
        read_motion(tmp_path, AT_25)
    check_pose(read_motion(tmp_path, ReadOptions(fps=25, person="0")), left)


def test_fps_is_asked(tmp_path: Path) -> None:
    write_clip(tmp_path)
    with pytest.raises(AnchorError, match="does not say its frames per second: give fps"):
        read_motion(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"body_pose": np.zeros((22, 3))}, r"'body_pose' has shape \(22, 3\): it needs 63 numbers per frame"),
        ({"jaw_pose": np.zeros((2, 3))}, "Frame 0 holds .* 2 of jaw_pose"),
        ({"transl": np.array("far")}, "'transl' is not an array of numbers"),
        ({"camera": {"focal": [1.0, 1.0]}}, r"00001_0\.json does not hold a camera with focal and princpt"),
        ({"camera": {"focal": [0, 0], "princpt": [1, 1]}}, r"00001_0\.json holds the camera \[0, 0\]"),
        ({"jaw_pose": np.array([{}], dtype=object)}, r"00001_0\.npz holds Python objects under 'jaw_pose'"),
    ],
)
def test_bad_results(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, 1, 0, 1, **changes)
    with pytest.raises(AnchorError, match=message):
        read_motion(tmp_path, AT_25)


def test_a_folder_of_other_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "clip_01.npz", poses=np.zeros((2, 165)))
    with pytest.raises(
        AnchorError, match=r"clip_01\.npz is not a result of SMPLer-X, it lacks global_orient"
    ):
        read_motion(tmp_path, AT_25)
