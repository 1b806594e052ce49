"""`preview` and `timeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anchor_core.cli.main import main
from anchor_core.files import ASSETS
from anchor_core.motion.file import load_motion
from anchor_core.video.read import read_frames, read_info
from anchor_core.video.write import write_video

FEW = ["--frames", "6", "--size", "64"]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 seconds at 5 fps, each frame brighter than the one before, with a tone."""
    path = tmp_path_factory.mktemp("video") / "source.mp4"
    tone = (np.sin(np.arange(8 * 8000) * 0.3)[None] / 2).astype(np.float32)
    write_video(path, [np.full((64, 64, 3), 6 * i, np.uint8) for i in range(40)], 5.0, audio=(tone, 8000))
    return path


def test_preview_writes_frames_and_says_so(motion_file: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "small.mp4"
    assert main(["preview", "--motion", str(motion_file), *FEW, "--out", str(out)]) == 0
    assert read_info(out).n_frames == 6
    assert read_info(out).size == (64, 64)
    assert f"{out}: 6 frames at 25 fps" in capsys.readouterr().out


def test_preview_lies_over_the_part_of_the_video(motion_file: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "over.mp4"
    cut = ["--start", "50", *FEW, "--video", str(video), "--video-start", "1", "--no-captions"]
    assert main(["preview", "--motion", str(motion_file), *cut, "--out", str(out)]) == 0
    fps = load_motion(motion_file).fps
    levels = [frame[1, 1].mean() / 6 for frame in read_frames(out)]
    assert levels == pytest.approx([np.floor((1 + (50 + i) / fps) * 5 + 0.5) for i in range(6)], abs=0.6)


def test_start_counts_the_frames_of_the_file(motion_file: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "over.mp4"
    cut = ["--start", "50", *FEW, "--resample", "10", "--video", str(video), "--no-captions"]
    assert main(["preview", "--motion", str(motion_file), *cut, "--out", str(out)]) == 0
    assert next(read_frames(out))[1, 1].mean() / 6 == pytest.approx(10, abs=0.6)


def test_a_silent_motion_gets_the_sound_of_its_video(video: Path, tmp_path: Path, shared_data: Path) -> None:
    motion = shared_data / "talkshow" / "french.npy"
    loud, silent = tmp_path / "loud.mp4", tmp_path / "silent.mp4"
    options = ["preview", "--motion", str(motion), *FEW, "--video", str(video), "--out"]
    assert main([*options, str(loud)]) == 0
    assert main([*options, str(silent), "--silent"]) == 0
    assert (read_info(loud).has_sound, read_info(silent).has_sound) == (True, False)


def test_preview_shows_the_anchors_performance(motion_file: Path, anchor_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "ada.mp4"
    options = ["--motion", str(motion_file), "--anchor", str(anchor_file), *FEW, "--out", str(out)]
    assert main(["preview", *options]) == 0
    assert read_info(out).n_frames == 6


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--opacity", "2"], "The mesh's opacity is 2: it needs to be from 0 to 1."),
        (["--size", "0"], "both sides need whole pixels"),
        (["--stride", "26"], "choose a stride up to 25"),
        (["--stride", "0"], "The stride is 0"),
        (["--out", "small.avi"], "Videos are written as .mp4"),
    ],
)
def test_bad_options_are_one_sentence(
    motion_file: Path, video: Path, tmp_path: Path, capsys: Any, options: list[str], sentence: str
) -> None:
    out = ["--out", str(tmp_path / "a.mp4")]
    assert main(["preview", "--motion", str(motion_file), "--video", str(video), *out, *options]) == 1
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_video_is_not_written_over(motion_file: Path, video: Path, capsys: Any) -> None:
    before = video.read_bytes()
    assert main(["preview", "--motion", str(motion_file), "--video", str(video), "--out", str(video)]) == 1
    assert "is read and would be written over" in capsys.readouterr().err
    assert video.read_bytes() == before


def test_timeline_draws_a_picture(motion_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "time.png"
    assert main(["timeline", "--motion", str(motion_file), "--width", "640", "--out", str(out)]) == 0
    assert Image.open(out).width == 640


def test_timeline_refuses_other_suffixes(tmp_path: Path, capsys: Any) -> None:
    motion = str(ASSETS / "demo_motion.npz")
    assert main(["timeline", "--motion", motion, "--out", str(tmp_path / "time.gif")]) == 1
    assert "timelines are drawn as .png, change the name" in capsys.readouterr().err
