"""Motion-X, from arrays made to the layout that the data set documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, Validity, read_motion

UPSIDE_DOWN = (np.pi, 0.0, 0.0)


def motionx(n_frames: int = 4) -> np.ndarray:
    """A standing person with open hands, y up."""
    frames = np.random.default_rng(2).normal(scale=0.05, size=(n_frames, 322)).astype(np.float32)
    fingers = frames[:, 66:156].reshape(n_frames, 2, 15, 3)
    fingers[:, 0, :12, 2] -= 0.5
    fingers[:, 1, :12, 2] += 0.5
    frames[:, 66:156] = fingers.reshape(n_frames, 90)
    frames[:, 312:] = np.arange(10)
    return frames


def write(folder: Path, frames: np.ndarray) -> Path:
    np.save(folder / "a.npy", frames)
    return folder / "a.npy"


def test_columns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = motionx()
    motion = read_motion(write(tmp_path, frames))
    np.testing.assert_array_equal(motion.pose[:, :22].reshape(4, 66), frames[:, :66])
    np.testing.assert_array_equal(motion.pose[:, 25:40].reshape(4, 45), frames[:, 66:111])
    np.testing.assert_array_equal(motion.pose[:, 40:].reshape(4, 45), frames[:, 111:156])
    np.testing.assert_array_equal(motion.pose[:, 22], frames[:, 156:159])
    assert not motion.pose[:, 23:25].any()
    np.testing.assert_array_equal(motion.expression, frames[:, 159:209])
    np.testing.assert_array_equal(motion.translation, frames[:, 309:312])
    np.testing.assert_array_equal(motion.betas, np.arange(10))
    assert (motion.fps, motion.world, motion.hands, motion.source) == (30.0, "yup", "absolute", "Motion-X")
    assert motion.valid == Validity(eyes=False)
    assert not caplog.records


def test_betas_of_the_first_whole_frame(tmp_path: Path) -> None:
    frames = motionx()
    frames[0] = np.nan
    frames[2:, 312:] = 7
    motion = read_motion(write(tmp_path, frames))
    np.testing.assert_array_equal(motion.betas, np.arange(10))
    np.testing.assert_array_equal(motion.marks, [True, False, False, False])


def test_a_clip_that_stands_on_its_head(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = motionx()
    frames[:, :3] += UPSIDE_DOWN
    path = write(tmp_path, frames)
    assert read_motion(path).world == "cv"
    assert 'read as world="cv"; give world="yup" to keep' in caplog.text
    assert read_motion(path, ReadOptions(world="yup")).world == "yup"


def test_transposed(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"an array of shape \(322, 4\) .*, transposed it would fit"):
        read_motion(write(tmp_path, motionx().T))


@pytest.mark.parametrize("dtype", [complex, bool])
def test_no_numbers(dtype: type, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"a\.npy: 'frames' is not an array of numbers"):
        read_motion(write(tmp_path, np.zeros((4, 322), dtype)))
