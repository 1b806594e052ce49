"""AMASS, from files made to the layout that the archive documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, Validity, read_motion

UPRIGHT = (np.pi / 2, 0.0, 0.0)  # turns y up into z up
MANO_CURL = 0.48  # radians per finger joint, in the mean pose of MANO


def poses(n_frames: int, width: int) -> np.ndarray:
    """A standing person with open hands, z up; the hands are the last 90 numbers."""
    result = np.random.default_rng(4).normal(scale=0.05, size=(n_frames, width))
    result[:, :3] += UPRIGHT
    fingers = result[:, -90:].reshape(n_frames, 2, 15, 3)
    fingers[:, 0, :12, 2] -= MANO_CURL
    fingers[:, 1, :12, 2] += MANO_CURL
    return result


def smplx(n_frames: int = 5, **changes: Any) -> dict[str, Any]:
    """The arrays of a *_stageii.npz."""
    angles = poses(n_frames, 165)
    arrays = {
        "gender": "female",
        "surface_model_type": "smplx",
        "mocap_frame_rate": 120.0,
        "mocap_time_length": n_frames / 120,
        "markers_latent": np.zeros((53, 3)),
        "latent_labels": np.array(["C7", None], dtype=object),
        "trans": np.arange(3 * n_frames).reshape(n_frames, 3) / 100,
        "poses": angles,
        "betas": np.linspace(-1, 1, 16),
        "num_betas": 16,
        "root_orient": angles[:, :3],
        "pose_body": angles[:, 3:66],
        "pose_jaw": angles[:, 66:69],
        "pose_eye": angles[:, 69:75],
        "pose_hand": angles[:, 75:],
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def smplh(n_frames: int = 5, **changes: Any) -> dict[str, Any]:
    """The arrays of a *_poses.npz."""
    arrays = {
        "trans": np.ones((n_frames, 3)),
        "gender": np.array(b"male"),
        "mocap_framerate": np.float64(60),
        "betas": np.ones(16),
        "dmpls": np.zeros((n_frames, 8)),
        "poses": poses(n_frames, 156),
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def write(folder: Path, arrays: dict[str, Any]) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


@pytest.mark.parametrize("without", [(), ("poses",), ("root_orient", "pose_body")])
def test_smplx(without: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = smplx(**dict.fromkeys(without))
    motion = read_motion(write(tmp_path, arrays))
    np.testing.assert_array_equal(motion.pose.reshape(5, 165), poses(5, 165).astype(np.float32))
    np.testing.assert_array_equal(motion.translation, arrays["trans"].astype(np.float32))
    np.testing.assert_array_equal(motion.betas, arrays["betas"].astype(np.float32))
    assert (motion.fps, motion.world, motion.hands, motion.gender) == (120.0, "zup", "absolute", "female")
    assert (motion.source, motion.expression_space) == ("AMASS SMPL-X", "none")
    assert motion.expression.shape == (5, 0)
    assert motion.valid == Validity(expression=False)
    assert not caplog.records


def test_smplh(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    motion, angles = read_motion(write(tmp_path, smplh())), poses(5, 156).astype(np.float32)
    np.testing.assert_array_equal(motion.pose[:, :22].reshape(5, 66), angles[:, :66])
    assert not motion.pose[:, 22:25].any()
    np.testing.assert_array_equal(motion.pose[:, 25:].reshape(5, 90), angles[:, 66:])
    assert motion.betas is None  # those of another body
    assert (motion.fps, motion.world, motion.hands, motion.gender) == (60.0, "zup", "absolute", "male")
    assert motion.source == "AMASS SMPL+H"
    assert motion.valid == Validity(jaw=False, eyes=False, expression=False)
    assert not caplog.records


def test_hands_that_the_markers_did_not_show(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    angles = poses(5, 156)
    angles[:, 66:] = angles[0, 66:]
    motion = read_motion(write(tmp_path, smplh(poses=angles)))
    assert motion.valid == Validity(jaw=False, eyes=False, hands=False, expression=False)
    assert not caplog.records


def test_the_frame_rate_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, smplx(mocap_frame_rate=None))
    with pytest.raises(AnchorError, match=r"AMASS SMPL-X .* does not say its frames per second: give fps"):
        read_motion(path)
    assert read_motion(path, ReadOptions(fps=100)).fps == 100


def test_the_user_knows_the_frame_rate_better(tmp_path: Path) -> None:
    path = write(tmp_path, smplx(mocap_frame_rate=np.nan))
    with pytest.raises(AnchorError, match="'mocap_frame_rate' is not one finite number"):
        read_motion(path)
    assert read_motion(path, ReadOptions(fps=100)).fps == 100


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            smplx(poses=np.zeros((5, 72))),
            r"'poses' has 72 numbers per frame: AMASS has 165 \(SMPL-X\) or 156",
        ),
        (smplx(poses=None, pose_body=np.zeros((5, 60))), "'pose_body' has 60 numbers per frame: it needs 63"),
        (smplx(poses=None, pose_hand=np.zeros((5, 45))), "'pose_hand' has 45 numbers per frame: it needs 90"),
        (smplx(trans=np.zeros((4, 3))), "'trans' has 4 frames and the others have 5"),
        (smplx(poses=None, trans=None), "holds .*, which is no motion"),
        (smplx(0), "has no frames"),
        (smplx(poses=np.zeros((5, 165), complex)), "'poses' is not an array of numbers: it holds complex128"),
    ],
)
def test_bad_files_are_refused(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=rf"a\.npz.* {message}"):
        read_motion(write(tmp_path, arrays))


def test_an_unknown_gender_is_neutral(tmp_path: Path) -> None:
    assert read_motion(write(tmp_path, smplx(gender="unknown"))).gender == "neutral"
    assert read_motion(write(tmp_path, smplx(gender=None))).gender == "neutral"
