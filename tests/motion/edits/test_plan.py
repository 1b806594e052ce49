"""All edits at once: neutral ones change nothing, each setting has its effect, ranges are checked."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, read_motion
from anchor_core.motion.edits.plan import Edits, apply_edits

from .motions import make_motion, tone, turn_between

SETTINGS: dict[str, Any] = {
    "fps": 25,
    "smoothing": "one_euro",
    "mirror": True,
    "root": "freeze",
    "lower_body": "sit",
    "curl": 0.5,
    "gestures": 1.3,
    "hands_gain": 0.5,
    "mouth": 1.4,
    "sound_offset_s": 0.2,
}


def differs(first: Motion, second: Motion) -> bool:
    if len(first) != len(second) or first.sound is None or second.sound is None:
        return True
    arrays = ((m.pose, m.translation, m.expression, m.sound.waveform) for m in (first, second))  # type: ignore[union-attr]
    return not all(np.array_equal(before, after) for before, after in zip(*arrays, strict=True))


def test_neutral_edits_give_the_motion_itself() -> None:
    motion = make_motion()
    assert apply_edits(motion, Edits()) is motion


@pytest.mark.parametrize("name", list(SETTINGS))
def test_each_setting_changes_something(name: str) -> None:
    motion = make_motion(sound=tone(2.0))
    result = apply_edits(motion, Edits(**{name: SETTINGS[name]}))
    assert differs(motion, result)
    assert result.duration_s == pytest.approx(motion.duration_s)


def test_every_setting_is_tried() -> None:
    known = {field.name for field in fields(Edits)}
    assert known == {*SETTINGS, "window", "root_rotation", "root_translation"}


def test_all_at_once_keep_the_time() -> None:
    motion = make_motion(90, sound=tone(3.0))
    result = apply_edits(motion, Edits(**SETTINGS))
    assert len(result) == 75
    assert result.sound is not None
    assert result.sound.duration_s == pytest.approx(3.0)


def test_the_root_is_set_after_the_mirror() -> None:
    edits = Edits(mirror=True, root="set", root_translation=(0.5, 0.0, 0.0))
    np.testing.assert_allclose(apply_edits(make_motion(), edits).translation[:, 0], 0.5)


def test_a_calm_source_stays_calm_at_another_rate() -> None:
    motion = make_motion(120)
    noise = np.random.default_rng(1).normal(size=motion.pose.shape).astype(np.float32)
    noisy = replace(motion, pose=motion.pose + 0.02 * noise)
    result = apply_edits(noisy, Edits(fps=15, smoothing="savgol"))
    assert (
        turn_between(result.pose, motion.pose[::2]).mean()
        < 0.7 * turn_between(noisy.pose, motion.pose).mean()
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fps": 0}, "fps is 0: give the frames per second"),
        ({"smoothing": "gauss"}, "smoothing is 'gauss'"),
        ({"window": 4}, "window is 4"),
        ({"root": "set"}, "root is 'set' and no rotation"),
        ({"lower_body": "lie"}, "lower_body is 'lie'"),
        ({"curl": 2}, "curl is 2: give a number from -1 to 1"),
        ({"gestures": 9}, "gestures is 9: give a number from 0 to 3"),
        ({"hands_gain": -1}, "hands_gain is -1"),
        ({"mouth": np.nan}, "mouth is nan"),
        ({"sound_offset_s": 1e9}, "sound_offset_s is 1000000000.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        Edits(**settings)


@pytest.mark.parametrize("name", ["talkshow/seth.npy", "show/all.pkl"])
def test_real_motion_survives_all_edits(shared_data: Path, name: str) -> None:
    motion = read_motion(shared_data / name)
    settings = SETTINGS | {"curl": 0} if motion.hands_pca is not None else SETTINGS
    result = apply_edits(motion, Edits(**settings))
    assert len(result) == 250
    assert np.isfinite(result.pose).all()
    steps = turn_between(result.pose[1:], result.pose[:-1])
    assert steps.max() < 1.0  # radians from frame to frame: nothing flips
