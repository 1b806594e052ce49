"""What the motion nodes make of what a graph brings, without a host."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

from .stand_in_host import PACK


def _module(name: str) -> Any:
    return sys.modules[f"{PACK}.nodes.{name}"]


@pytest.fixture
def error(nodes: Any) -> type[Exception]:
    """The pack's own error type: under the host the core has another name."""
    found: type[Exception] = sys.modules[f"{PACK}.anchor_core.errors"].AnchorError
    return found


def motion_of(n_frames: int, fps: float = 25.0) -> Any:
    kind = sys.modules[f"{PACK}.anchor_core.motion.motion"].Motion
    rows = np.zeros((n_frames, 55, 3), np.float32)
    return kind(rows, rows[:, 0], np.zeros((n_frames, 52)), fps=fps, expression_space="arkit52")


def audio_of(seconds: float, channels: int = 1, rate: int = 8000) -> dict[str, Any]:
    wave = torch.arange(round(seconds * rate)).float()[None, None].repeat(1, channels, 1) / 1e6
    return {"waveform": wave, "sample_rate": rate}


@pytest.mark.parametrize("seconds", [0.5, 2.0, 60.0])
def test_the_hosts_audio_becomes_as_long_as_the_motion(nodes: Any, seconds: float) -> None:
    shared = _module("_motion")
    motion = shared.with_audio(motion_of(50), audio_of(seconds))
    assert motion.sound.duration_s == pytest.approx(2.0)
    back = shared.audio_of(motion)
    assert back["waveform"].shape == (1, 1, 16000)
    assert back["sample_rate"] == 8000
    assert float(back["waveform"][0, 0, 100]) == pytest.approx(1e-4)


def test_surround_sound_keeps_two_channels_and_none_stays_none(nodes: Any) -> None:
    shared = _module("_motion")
    assert shared.with_audio(motion_of(5), audio_of(1, 6)).sound.waveform.shape[0] == 2
    assert shared.with_audio(motion_of(5), None).sound is None
    assert shared.audio_of(motion_of(5)) is None


def test_audio_without_sound_is_refused(nodes: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="audio holds no sound"):
        _module("_motion").with_audio(motion_of(5), {"waveform": None, "sample_rate": 8000})


def test_neutral_widgets_leave_a_motion_as_it_is(nodes: Any) -> None:
    node = _module("edit_smplx_motion").EditSMPLXMotion
    widgets = {widget.id: widget.default for widget in node.define_schema().inputs if widget.id != "motion"}
    motion = motion_of(10)
    assert node.execute(motion, **widgets)[0] is motion
    assert node.execute(motion, **{**widgets, "fps": 50.0})[0].fps == 50


def test_parts_are_cut_repeated_and_joined(nodes: Any) -> None:
    trim, join = _module("trim_smplx_motion").TrimSMPLXMotion, _module("join_smplx_motions").JoinSMPLXMotions
    part, count = trim.execute(motion_of(100), 1.0, 2.0, 1, 0.4)
    assert len(part) == count == 50
    looped, count = trim.execute(part, 0.0, 0.0, 3, 0.4)
    assert len(looped) == count == 3 * 40
    joined, count = join.execute(part, part, 0.4, None, part)
    assert len(joined) == count == 150 - 2 * 10


def test_what_a_file_does_not_say_is_asked_for_as_the_library_knows_it(nodes: Any) -> None:
    options = _module("load_smplx_motion")._options
    plain = options(0)
    assert (plain.sample, plain.fps, plain.person, plain.world, plain.skeleton) == (None,) * 5
    asked = options(2, fps=25.0, person=" 1 ", world="zup", hands="absolute", angles="degrees", max_gap_s=1.0)
    assert (asked.sample, asked.fps, asked.person, asked.world) == (2, 25.0, "1", "zup")
    assert (asked.hands, asked.angles, asked.max_gap_s) == ("absolute", "degrees", 1.0)


def test_a_folder_of_smplerx_and_a_bvh_are_offered(nodes: Any, base: Any) -> None:
    (base / "input" / "walk" / "smplx").mkdir(parents=True)
    (base / "input" / "walk.bvh").write_text("HIERARCHY")
    folders = _module("_folders")
    assert {"walk", "walk.bvh"} <= set(folders.motion_names())
    assert folders.motion_path("walk").is_dir()


def test_poses_of_the_host_need_a_rate(nodes: Any, error: type[Exception]) -> None:
    node = _module("smplx_motion_from_pose").SMPLXMotionFromPose
    with pytest.raises(error, match="fps"):
        node.execute({"frames": [[]], "image_size": (480, 640)}, 0.0, -1, 0.5)
