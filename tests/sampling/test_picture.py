"""The picture of the plan shows each window and who counts where."""

from __future__ import annotations

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.sampling.picture import plan_picture
from anchor_core.sampling.windows import SCHEDULES, WEIGHTINGS


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_plan_has_a_picture(schedule: str, weighting: str) -> None:
    picture = plan_picture(20, 8, 2, schedule, weighting, width=400)
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (400, 3)
    assert picture.std() > 10


@pytest.mark.parametrize("n_frames", [1, 7, 16, 17, 5000])
def test_any_length_fits(n_frames: int) -> None:
    assert plan_picture(n_frames).shape[1] == 1280


def test_moving_windows_are_drawn_for_several_steps() -> None:
    static = plan_picture(48, width=640)
    uniform = plan_picture(48, schedule="uniform", width=640)
    assert uniform.shape[0] > 2 * static.shape[0]
    assert plan_picture(48, schedule="uniform", steps=2, width=640).shape[0] < uniform.shape[0]


def test_the_strip_shows_the_seam() -> None:
    """Below the bars, a frame inside one window has one colour, a shared one has two."""
    picture = plan_picture(28, width=40 + 40 + 28 * 40).astype(int)
    strip = picture[174:206]  # from 168 to 212, without its smoothed edges

    def colors(frame: int) -> int:
        column = strip[:, 40 + frame * 40 + 20]
        return len(np.unique(column, axis=0))

    assert colors(3) == 1
    assert colors(13) >= 2
    assert colors(20) == 1


def test_bad_plans_are_refused() -> None:
    with pytest.raises(AnchorError, match="overlap 16 is not smaller"):
        plan_picture(20, 16, 16)


@pytest.mark.parametrize(("n_frames", "window_size", "overlap"), [(10**9, 16, 4), (9000, 2000, 1999)])
def test_a_plan_that_has_no_end_is_not_drawn(n_frames: int, window_size: int, overlap: int) -> None:
    with pytest.raises(
        AnchorError, match=f"the plan of {n_frames} frames .* is too large to draw: draw fewer"
    ):
        plan_picture(n_frames, window_size, overlap)
