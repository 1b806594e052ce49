"""How the options change what a file says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, default_camera
from anchor_core.motion.finish import finish
from anchor_core.motion.formats.parts import Parts


def parts(n_frames: int = 3, **changes: Any) -> Parts:
    """A standing person, upright with y down."""
    pose = np.zeros((n_frames, 55, 3), np.float32)
    pose[:, 0, 0] = np.pi
    fields = {
        "source": "a test",
        "pose": pose,
        "translation": np.zeros((n_frames, 3)),
        "expression": np.zeros((n_frames, 10)),
        "fps": 30.0,
        "world": "cv",
        "hands": "relative",
        "camera": default_camera(512),
    }
    return Parts(**(fields | changes))


def test_as_the_file_says() -> None:
    motion = finish(parts(), ReadOptions())
    assert (motion.fps, motion.world, motion.hands, motion.source) == (30.0, "cv", "relative", "a test")
    assert motion.camera is not None
    assert motion.interpolated is None


def test_the_user_knows_better(caplog: pytest.LogCaptureFixture) -> None:
    motion = finish(parts(), ReadOptions(fps=25, world="zup", hands="absolute"))
    assert (motion.fps, motion.world, motion.hands) == (25.0, "zup", "absolute")
    assert motion.camera is None  # it looks along z of the "cv" world
    assert not caplog.records


def test_frames_per_second_are_asked_for() -> None:
    with pytest.raises(AnchorError, match="does not say its frames per second: give fps, that of the video"):
        finish(parts(fps=None), ReadOptions())
    assert finish(parts(fps=None), ReadOptions(fps=50)).fps == 50


@pytest.mark.parametrize("fps", [0, -30, 1e6, np.nan])
def test_frames_per_second_that_cannot_be(fps: float) -> None:
    with pytest.raises(AnchorError, match="frames per second, which cannot be: give fps"):
        finish(parts(fps=fps), ReadOptions())


def test_no_frames() -> None:
    with pytest.raises(AnchorError, match="has no frames: it needs at least one"):
        finish(parts(0), ReadOptions())


def test_betas_that_are_no_numbers_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert finish(parts(betas=np.array([1.0, np.nan])), ReadOptions()).betas is None
    assert "betas" in caplog.text


def test_filled_frames_are_marked() -> None:
    broken = parts(5)
    broken.pose[2] = np.nan
    np.testing.assert_array_equal(finish(broken, ReadOptions()).marks, [False, False, True, False, False])


def test_rows_that_do_not_agree() -> None:
    with pytest.raises(AnchorError, match=r"translation has shape \(2, 3\): it needs \(3, 3\)"):
        finish(parts(translation=np.full((2, 3), np.nan)), ReadOptions())
