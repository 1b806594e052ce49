"""EMAGE and BEAT2, from files made to the layout that the data set documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, Validity, read_motion


def emage(n_frames: int = 4, **changes: Any) -> dict[str, Any]:
    """A talking person, y up."""
    rng = np.random.default_rng(3)
    arrays = {
        "betas": rng.normal(size=300),
        "poses": rng.normal(scale=0.1, size=(n_frames, 165)),
        "expressions": rng.normal(size=(n_frames, 100)),
        "trans": rng.normal(size=(n_frames, 3)),
        "model": "smplx2020",
        "gender": "neutral",
        "mocap_frame_rate": 30,
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def write(folder: Path, **changes: Any) -> Path:
    np.savez(folder / "a.npz", **emage(**changes))
    return folder / "a.npz"


def test_layout(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    motion, arrays = read_motion(write(tmp_path)), emage()
    poses = arrays["poses"].astype(np.float32)
    np.testing.assert_array_equal(motion.pose[:, 0], poses[:, :3])
    np.testing.assert_array_equal(motion.pose[:, 1:22].reshape(4, 63), poses[:, 3:66])
    np.testing.assert_array_equal(motion.pose[:, 22], poses[:, 66:69])
    np.testing.assert_array_equal(motion.pose[:, 25:40].reshape(4, 45), poses[:, 75:120])
    np.testing.assert_array_equal(motion.pose[:, 40:].reshape(4, 45), poses[:, 120:])
    np.testing.assert_array_equal(motion.expression, arrays["expressions"].astype(np.float32))
    np.testing.assert_array_equal(motion.translation, arrays["trans"].astype(np.float32))
    assert motion.betas is not None
    assert motion.betas.shape == (300,)
    assert (motion.fps, motion.world, motion.hands, motion.gender) == (30.0, "yup", "relative", "neutral")
    assert (motion.source, motion.expression_space, motion.camera) == ("EMAGE/BEAT2", "smplx", None)
    assert motion.valid == Validity()
    assert not caplog.records


def test_eyes_that_were_not_measured(tmp_path: Path) -> None:
    poses = emage()["poses"]
    poses[:, 69:75] = 0
    assert read_motion(write(tmp_path, poses=poses)).valid == Validity(eyes=False)


def test_without_translation(tmp_path: Path) -> None:
    motion = read_motion(write(tmp_path, trans=None))
    assert not motion.translation.any()
    assert motion.valid == Validity(translation=False)


@pytest.mark.parametrize("betas", [np.ones((1, 300)), np.ones((4, 300)), np.ones(300)])
def test_betas_of_each_frame(betas: np.ndarray, tmp_path: Path) -> None:
    motion = read_motion(write(tmp_path, betas=betas))
    np.testing.assert_array_equal(motion.betas, np.ones(300))


def test_the_frame_rate_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, mocap_frame_rate=None)
    with pytest.raises(
        AnchorError, match=r"a\.npz: .*EMAGE/BEAT2 .* does not say its frames per second: give fps"
    ):
        read_motion(path)
    assert read_motion(path, ReadOptions(fps=25)).fps == 25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"poses": np.zeros((4, 156))}, "'poses' has 156 numbers per frame: it needs 165"),
        ({"poses": np.zeros(165)}, r"'poses' has shape \(165,\): it needs one row of angles for each frame"),
        ({"expressions": np.zeros((3, 100))}, "'expressions' has 3 frames and the others have 4"),
        ({"trans": np.zeros((4, 2))}, "'trans' has 2 numbers per frame: it needs 3"),
        ({"trans": np.array(["x"] * 4)}, "'trans' is not an array of numbers"),
        ({"mocap_frame_rate": 0}, "The file says 0 frames per second, which cannot be: give fps"),
        ({"mocap_frame_rate": np.array([30, 25])}, "'mocap_frame_rate' is not one finite number"),
        ({"n_frames": 0}, "has no frames"),
        ({"poses": np.array([{}] * 4)}, "holds Python objects under 'poses', which are not read for safety"),
    ],
)
def test_bad_files_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=rf"a\.npz.*{message}"):
        read_motion(write(tmp_path, **changes))
