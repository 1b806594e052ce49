"""`check-motion`, the retargeting options, and `convert --trained-on`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anchor_core.anchor.file import load_anchor, read_card, save_anchor
from anchor_core.body import standin_body
from anchor_core.cli.main import main
from anchor_core.motion import default_camera, load_motion, save_motion
from anchor_core.motion.ranges import measure_ranges


@pytest.fixture(scope="module")
def trained_anchor(anchor_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small anchor with the ranges of the motion that ships."""
    from anchor_core.cli.options import DEMO_MOTION

    anchor = load_anchor(anchor_file)
    motion = load_motion(DEMO_MOTION)
    anchor.card = replace(
        anchor.card, ranges=measure_ranges([motion], standin_body(), default_camera(*anchor.card.resolution))
    )
    path = tmp_path_factory.mktemp("trained") / "ada.safetensors"
    save_anchor(anchor, path)
    return path


@pytest.fixture
def far_file(motion_file: Path, tmp_path: Path) -> Path:
    """The motion that ships, with an arm thrown up in frames 12 to 40."""
    motion = load_motion(motion_file)
    pose = motion.pose.copy()
    pose[12:41, 17, 2] += 1.4
    save_motion(replace(motion, pose=pose), tmp_path / "far.npz")
    return tmp_path / "far.npz"


def test_what_the_anchor_knows_is_near(trained_anchor: Path, motion_file: Path, capsys: Any) -> None:
    assert main(["check-motion", "--anchor", str(trained_anchor), "--motion", str(motion_file)]) == 0
    said = capsys.readouterr().out
    assert f"96 of 96 frames are near what {read_card(trained_anchor).name} was trained on." in said
    assert "is much" not in said


def test_frames_are_named_and_drawn(
    trained_anchor: Path, far_file: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "report.png"
    command = ["check-motion", "--anchor", str(trained_anchor), "--motion", str(far_file), "--out", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "67 of 96 frames are near" in said
    assert "Right shoulder: up to" in said
    assert "frames 12-40." in said
    assert Image.open(out).width == 960


def test_an_anchor_that_knows_nothing(anchor_file: Path, motion_file: Path, capsys: Any) -> None:
    assert main(["check-motion", "--anchor", str(anchor_file), "--motion", str(motion_file)]) == 0
    assert "does not say what motion it was trained on" in capsys.readouterr().out


def test_the_report_is_a_png(trained_anchor: Path, motion_file: Path, tmp_path: Path, capsys: Any) -> None:
    command = ["check-motion", "--anchor", str(trained_anchor), "--motion", str(motion_file)]
    assert main([*command, "--out", str(tmp_path / "report.pdf")]) == 1
    assert "report.pdf is no .png" in capsys.readouterr().err


def test_generate_warns_with_the_frames(
    trained_anchor: Path, far_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = ["generate", "--anchor", str(trained_anchor), "--motion", str(far_file), "--frames", "20"]
    assert main([*command, "--steps", "1", "--out", str(tmp_path / "ada.mp4")]) == 0
    assert "right shoulder by up to" in caplog.text
    assert "(frames 12-19)" in caplog.text


def test_the_switch_is_checked_too(
    trained_anchor: Path, motion_file: Path, tmp_path: Path, capsys: Any
) -> None:
    """A motion that keeps its own camera, from one side."""
    motion = load_motion(motion_file)
    aside = replace(default_camera(64, 64), center_px=(60.0, 32.0))
    save_motion(replace(motion, camera=aside), tmp_path / "aside.npz")
    command = ["check-motion", "--anchor", str(trained_anchor), "--motion", str(tmp_path / "aside.npz")]
    assert main([*command, "--no-retarget"]) == 0
    assert "Place of the head: up to" in capsys.readouterr().out
    assert main(command) == 0
    assert "96 of 96 frames are near" in capsys.readouterr().out


def test_convert_learns_from_the_training(
    anchor_file: Path, motion_file: Path, tmp_path: Path, capsys: Any
) -> None:
    motion = load_motion(motion_file)
    video = tmp_path / "video.npz"
    save_motion(replace(motion, camera=default_camera(640, 480), betas=np.ones(2, np.float32)), video)
    out = tmp_path / "learned.safetensors"
    command = ["convert", str(anchor_file), "--trained-on", str(video), "--out", str(out)]
    assert main(command) == 0
    card = read_card(out)
    assert card.betas == (1.0, 1.0)
    assert card.ranges is not None
    assert card.ranges.n_frames == 96
    crop = ["--training-crop", "80", "0", "480", "480"]
    assert main([*command, *crop]) == 0
    camera = read_card(out).camera
    assert camera is not None
    scale = camera["size"][0] / 480
    assert camera["center_px"][0] == pytest.approx((default_camera(640, 480).center_px[0] - 80) * scale)
    assert main(["info", str(out)]) == 0
    assert '"ranges": "measured on 96 frames; head ' in capsys.readouterr().out


def test_the_choices_are_those_of_the_library() -> None:
    from anchor_core.cli.retargeting import _ROOTS
    from anchor_core.motion.place import ROOTS

    assert _ROOTS == ROOTS
