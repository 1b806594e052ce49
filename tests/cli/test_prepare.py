"""`prepare` from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anchor_core.cli.main import main

from ..dataset.conftest import ada  # noqa: F401  the filmed presenter


def test_a_dataset_from_the_shell(ada, tmp_path: Path, capsys) -> None:  # noqa: F811
    out = tmp_path / "out"
    words = ["prepare", str(ada.video), "--motion", str(ada.motion_file), "--out", str(out)]
    sizes = ["--size", "64", "--head-size", "64", "--accept-misfit", "--names", "ada", "--seed", "3"]
    assert main([*words, *sizes]) == 0
    said = capsys.readouterr().out
    assert "ada: 20 frames of ada" in said
    assert "18 frames to train on and 2 held out, 64 pixels, 25 fps" in said
    assert json.loads((out / "card.json").read_text())["people"] == ["ada"]


def test_the_real_clip_is_not_the_one_of_its_motion(shared_data: Path, tmp_path: Path, capsys) -> None:
    show = shared_data / "show"
    words = [
        "prepare",
        str(show / "half.mp4"),
        "--motion",
        str(show / "all.pkl"),
        "--out",
        str(tmp_path / "x"),
    ]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "half.mp4 has 210 frames (7.00 s at 30 fps) and the motion all.pkl has 300 (10.00 s" in said
    assert "--trim" in said


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--motion", "a.npz", "b.npz"], "--motion names 2 for 1 videos: give one for each"),
        (["--names", "a", "b"], "--names names 2 for 1 videos"),
        (["--camera", "none.json"], "--camera none.json cannot be read"),
        (["--size", "100"], "size is 100 pixels"),
    ],
)
def test_options_that_do_not_fit(more: list[str], message: str, tmp_path: Path, capsys) -> None:
    assert main(["prepare", "a.mp4", "--out", str(tmp_path / "x"), *more]) == 1
    assert message in capsys.readouterr().err
