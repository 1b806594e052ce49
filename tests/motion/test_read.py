"""Opening of motion files by content: SHOW, TalkSHOW, our own; and one sentence for everything else."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, Validity, read_motion


def show_parameters(n_frames: int = 3, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(5)

    def rows(*shape: int) -> np.ndarray:
        return rng.normal(scale=0.2, size=(n_frames, *shape)).astype(np.float32)

    parameters = {
        "width": 1280,
        "height": 720,
        "center": [640.0, 360.0],
        "camera_transl": np.array([-0.27, -0.71, 6.2], np.float32),
        "focal_length": np.float32(5000),
        "expression": rows(100),
        "jaw_pose": rows(3),
        "leye_pose": rows(3),
        "reye_pose": rows(3),
        "global_orient": rows(1, 3) + np.array([np.pi, 0, 0], np.float32),
        "transl": rows(3),
        "body_pose_axis": rows(63),
        "left_hand_pose": rows(12),
        "right_hand_pose": rows(12),
        "betas": rng.normal(size=(1, 300)),
        "losses_to_log": {"loss": torch.ones(2)},
    }
    return {key: value for key, value in (parameters | changes).items() if value is not None}


def nested_lists(depth: int) -> list[Any]:
    """Two to the power of `depth` numbers in a file of a few bytes."""
    value: list[Any] = [0.0]
    for _ in range(depth):
        value = [value, value]
    return value


def write_show(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def test_show_pickle(tmp_path: Path) -> None:
    parameters = show_parameters()
    motion = read_motion(write_show(tmp_path / "anything.txt", parameters))
    np.testing.assert_array_equal(motion.pose[:, 0], parameters["global_orient"][:, 0])
    np.testing.assert_array_equal(motion.pose[:, 1:22].reshape(3, 63), parameters["body_pose_axis"])
    np.testing.assert_array_equal(motion.pose[:, 22], parameters["jaw_pose"])
    np.testing.assert_array_equal(motion.pose[:, 24], parameters["reye_pose"])
    assert not motion.pose[:, 25:].any()
    assert motion.hands_pca is not None
    np.testing.assert_array_equal(motion.hands_pca[1], parameters["right_hand_pose"])
    assert motion.camera is not None
    assert motion.camera.focal_px == (5000.0, 5000.0)
    assert motion.camera.size == (1280, 720)
    assert (motion.fps, motion.world, motion.hands, motion.source) == (30.0, "cv", "relative", "SHOW")


def test_show_list_of_persons_and_shaped_body(tmp_path: Path) -> None:
    parameters = show_parameters(1)
    body = parameters.pop("body_pose_axis").reshape(1, 21, 3)
    motion = read_motion(write_show(tmp_path / "a", [parameters | {"body_pose": body}]))
    np.testing.assert_array_equal(motion.pose[:, 1:22], body)


def test_show_full_hands_and_tensors(tmp_path: Path) -> None:
    hands = {
        key: torch.full((3, 45), value) for key, value in (("left_hand_pose", 0.1), ("right_hand_pose", 0.2))
    }
    motion = read_motion(write_show(tmp_path / "a", show_parameters(**hands)))
    assert motion.hands_pca is None
    np.testing.assert_allclose(motion.pose[:, 25:40], 0.1)
    np.testing.assert_allclose(motion.pose[:, 40:], 0.2)


def test_show_without_camera_and_betas(tmp_path: Path) -> None:
    motion = read_motion(write_show(tmp_path / "a", show_parameters(focal_length=None, betas=None)))
    assert motion.camera is None
    assert motion.betas is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jaw_pose": None, "transl": None}, "it lacks transl, jaw_pose"),
        ({"jaw_pose": np.zeros((3, 4))}, "'jaw_pose' has 4 numbers per frame: it needs 3"),
        ({"transl": np.zeros((2, 3))}, "'transl' has 2 frames and the others have 3"),
        ({"left_hand_pose": np.zeros((3, 6))}, "hands have 6 and 12 numbers"),
        ({"expression": "smile"}, "'expression' is not an array of numbers"),
        ({"center": [1.0]}, "camera's 'center' is"),
        ({"width": "wide"}, "'width' is not an array of numbers"),
        ({"width": 10**400}, "'width' is not an array of numbers"),
        ({"transl": np.ones((3, 3), complex)}, "'transl' is not an array of numbers"),
        ({"transl": nested_lists(60)}, "'transl' is not an array of numbers"),
        ({"jaw_pose": np.full((3, 3), np.nan)}, "None of the 3 frames is whole, .* in pose: export"),
    ],
)
def test_bad_show_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=rf"a\.pkl: .*{message}"):
        read_motion(write_show(tmp_path / "a.pkl", show_parameters(**changes)))


def test_show_without_frames(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="has no frames: it needs at least one"):
        read_motion(write_show(tmp_path / "a.pkl", show_parameters(0)))


@pytest.mark.parametrize("content", [[], [1, 2], "text", 5])
def test_pickle_of_something_else(content: Any, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"a\.pkl holds .*, which is no motion: give one of our own"):
        read_motion(write_show(tmp_path / "a.pkl", content))


class Payload:
    """Pickles as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def test_hostile_pickle_does_not_run(tmp_path: Path) -> None:
    path = write_show(tmp_path / "a.pkl", show_parameters(extra=Payload(f"touch {tmp_path / 'ran'}")))
    with pytest.raises(AnchorError, match=f"'{os.name}.system'"):
        read_motion(path)
    assert not (tmp_path / "ran").exists()


def talkshow(n_frames: int) -> np.ndarray:
    """Each column holds its own number, in percent."""
    return np.tile(np.arange(265, dtype=np.float32) / 100, (n_frames, 1))


def test_talkshow_columns(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", talkshow(2))
    motion = read_motion(tmp_path / "a.npy")
    frame, expression = (np.round(100 * rows[1].reshape(-1)) for rows in (motion.pose, motion.expression))
    np.testing.assert_array_equal(frame[:3], [9, 10, 11])  # root
    np.testing.assert_array_equal(frame[3:66], np.arange(12, 75))  # body
    np.testing.assert_array_equal(frame[66:75], np.arange(9))  # jaw, left eye, right eye
    np.testing.assert_array_equal(frame[75:], np.arange(75, 165))  # hands
    np.testing.assert_array_equal(expression, np.arange(165, 265))
    assert (motion.fps, motion.source, motion.camera) == (30.0, "TalkSHOW", None)
    assert motion.valid == Validity(eyes=False, lower=False, translation=False)


def test_talkshow_variants_need_a_choice(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([talkshow(2), talkshow(2) + 0.01]))
    with pytest.raises(AnchorError, match="holds 2 variants of the motion: choose one, sample=0 to 1"):
        read_motion(tmp_path / "a.npy")
    with pytest.raises(AnchorError, match="There is no sample 2: the file holds 0 to 1"):
        read_motion(tmp_path / "a.npy", ReadOptions(sample=2))
    motion = read_motion(tmp_path / "a.npy", ReadOptions(sample=1))
    assert motion.expression[0, 0] == pytest.approx(1.66)


def test_talkshow_of_one_variant_needs_no_choice(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", talkshow(2)[None])
    assert len(read_motion(tmp_path / "a.npy")) == 2


@pytest.mark.parametrize("name", ["a.npy", "a.pkl"])
def test_a_sample_of_a_single_motion_is_refused(name: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", talkshow(2))
    write_show(tmp_path / "a.pkl", show_parameters())
    assert len(read_motion(tmp_path / name, ReadOptions(sample=0))) in (2, 3)
    with pytest.raises(AnchorError, match=r"There is no sample 3: .* one motion, number 0"):
        read_motion(tmp_path / name, ReadOptions(sample=3))


def test_talkshow_without_variants(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((0, 5, 265)))
    with pytest.raises(AnchorError, match=r"a\.npy: The motion has no frames"):
        read_motion(tmp_path / "a.npy")


def test_talkshow_bad_number(tmp_path: Path) -> None:
    frames = talkshow(5)
    frames[3, 200] = np.inf
    np.save(tmp_path / "a.npy", frames)
    motion = read_motion(tmp_path / "a.npy")
    np.testing.assert_allclose(motion.expression, talkshow(5)[:, 165:], rtol=1e-6)
    np.testing.assert_array_equal(motion.marks, [False, False, False, True, False])
    with pytest.raises(
        AnchorError, match=r"a\.npy: Frames 3 to 3 have no expression .* give a larger max_gap_s"
    ):
        read_motion(tmp_path / "a.npy", ReadOptions(max_gap_s=0))


@pytest.mark.parametrize("shape", [(3, 264), (265,), (2, 2, 2, 265), (3, 323)])
def test_npy_of_another_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(
        AnchorError,
        match=r"holds an array of shape .* \(per frame TalkSHOW has 265 and Motion-X has 322 numbers",
    ):
        read_motion(tmp_path / "a.npy")


@pytest.mark.parametrize("n_frames", [0, 1])
def test_talkshow_of_no_and_of_one_frame(n_frames: int, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", talkshow(n_frames))
    if n_frames:
        assert len(read_motion(tmp_path / "a.npy")) == 1
    else:
        with pytest.raises(AnchorError, match="has no frames"):
            read_motion(tmp_path / "a.npy")


def test_npy_of_objects(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([Payload(f"touch {tmp_path / 'ran'}")], dtype=object))
    with pytest.raises(AnchorError, match=r"is not a whole \.npy file of numbers .*Object arrays"):
        read_motion(tmp_path / "a.npy")
    assert not (tmp_path / "ran").exists()


def test_archive_of_something_else(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", poses=np.zeros((2, 165)), transl=np.zeros((2, 3)))
    with pytest.raises(AnchorError, match=r"a\.npz holds poses, transl, which is no motion: give"):
        read_motion(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"hello world", b"xyz", b"\x89PNG\r\n\x1a\n", b"\x00" * 50])
def test_foreign_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(AnchorError, match=r"a\.pkl is not a motion file: give one of our own \.npz, SHOW"):
        read_motion(tmp_path / "a.pkl")


def test_empty_missing_and_folder(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"")
    with pytest.raises(AnchorError, match=r"a\.pkl is empty"):
        read_motion(tmp_path / "a.pkl")
    with pytest.raises(AnchorError, match=r"There is no motion file .*b\.npz: check the path"):
        read_motion(tmp_path / "b.npz")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AnchorError, match="folder"):
        read_motion(tmp_path / "folder")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have a name")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(AnchorError, match="cannot be read"):
        read_motion(tmp_path / "pipe.npy")


@pytest.mark.parametrize("keep", [0.3, 0.9])
@pytest.mark.parametrize("kind", ["npz", "npy", "pkl"])
def test_truncated_file(kind: str, keep: float, tmp_path: Path) -> None:
    whole = tmp_path / f"whole.{kind}"
    if kind == "npz":
        np.savez(whole, header=np.array("{}"), pose=np.zeros((9, 55, 3)))
    elif kind == "npy":
        np.save(whole, talkshow(9))
    else:
        write_show(whole, show_parameters())
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(AnchorError, match=rf"whole\.{kind} is not a whole .*: copy or download it again"):
        read_motion(whole)


def test_real_show_motion(shared_data: Path, tmp_path: Path) -> None:
    shutil.copy(shared_data / "show" / "all.pkl", tmp_path / "renamed.dat")
    motion = read_motion(tmp_path / "renamed.dat")
    assert len(motion) == 300
    assert motion.camera is not None
    assert motion.camera.center_px == (640.0, 360.0)
    np.testing.assert_allclose(np.linalg.norm(motion.pose[:, 0], axis=1), 3.1, atol=0.2)


@pytest.mark.parametrize(("name", "n_frames"), [("seth", 300), ("french", 288), ("rich", 1800)])
def test_real_talkshow_motion(name: str, n_frames: int, shared_data: Path) -> None:
    motion = read_motion(shared_data / "talkshow" / f"{name}.npy")
    assert len(motion) == n_frames
    np.testing.assert_allclose(
        motion.pose[:, 0], np.tile([3.0747, -0.0158, -0.0152], (n_frames, 1)), atol=1e-3
    )
