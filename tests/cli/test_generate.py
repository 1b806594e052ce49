"""The main job on the command line: a video with sound, the same for the same seed, or one sentence."""

from __future__ import annotations

import json
import os
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anchor_core.anchor.file import save_anchor
from anchor_core.cli.main import main
from anchor_core.motion.read import read_motion
from anchor_core.video.read import read_audio, read_frames, read_info

from ..anchor import models

SHORT = ["--frames", "6", "--steps", "2", "--window-size", "4", "--overlap", "1", "--guidance-scale", "1"]


def generate(*options: object) -> int:
    return main(["generate", *(str(option) for option in options), *SHORT])


def test_a_video_and_its_sheet(anchor_file: Path, motion_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "ada.mp4"
    assert generate("--anchor", anchor_file, "--motion", motion_file, "--out", out) == 0
    frames = list(read_frames(out))
    assert len(frames) == 6
    assert frames[0].shape == (48, 64, 3)
    assert sorted(os.listdir(tmp_path)) == ["ada.mp4", "ada.png"]


def test_settings_travel_in_the_file(anchor_file: Path, motion_file: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    out = tmp_path / "ada.mp4"
    generate("--anchor", anchor_file, "--motion", motion_file, "--out", out, "--seed", 11)
    with av.open(str(out)) as container:
        facts = json.loads(container.metadata["comment"])
    assert facts["anchor"] == "Ada"
    assert facts["settings"]["seed"] == 11
    assert facts["settings"]["window_size"] == 4
    assert (facts["preset"], facts["engine"]["attention"]) == ("default", "auto")


def test_the_same_seed_gives_the_same_frames(anchor_file: Path, motion_file: Path, tmp_path: Path) -> None:
    videos = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = tmp_path / f"{name}.mp4"
        generate("--anchor", anchor_file, "--motion", motion_file, "--seed", seed, "--out", out)
        videos[name] = np.stack(list(read_frames(out)))
    assert np.array_equal(videos["a"], videos["b"])
    assert not np.array_equal(videos["a"], videos["c"])


def test_real_motion_with_its_speech(anchor_file: Path, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "talkshow"
    out = tmp_path / "talk.mp4"
    options = ("--motion", folder / "french.npy", "--audio", folder / "french.wav", "--out", out)
    assert generate("--anchor", anchor_file, *options) == 0
    waveform, rate = read_audio(out)
    assert read_info(out).fps == 30
    assert abs(waveform.shape[-1] / rate - 6 / 30) < 1 / 30


def click_file(folder: Path, rate: int = 24000) -> Path:
    """Two seconds of silence with a click at 1 s."""
    samples = np.zeros(2 * rate, np.int16)
    samples[rate : rate + 480] = 20000
    with wave.open(str(folder / "click.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return folder / "click.wav"


def test_a_motion_with_speech_needs_no_audio(
    anchor_file: Path, motion_file: Path, tmp_path: Path, capsys: Any
) -> None:
    files, out = ("--anchor", anchor_file, "--motion", motion_file), tmp_path / "a.mp4"
    assert generate(*files, "--start", 30, "--out", out) == 0
    assert "6 frames at 25 fps, 0.24 s of picture, 0.24 s of sound" in capsys.readouterr().out
    assert np.abs(read_audio(out)[0]).max() > 0.1
    assert generate(*files, "--silent", "--out", out) == 0
    assert "0.24 s of picture, no sound" in capsys.readouterr().out


def test_the_offset_moves_the_sound(anchor_file: Path, motion_file: Path, tmp_path: Path) -> None:
    """A click at 1 s, 0.9 s earlier."""
    files = ("--anchor", anchor_file, "--motion", motion_file, "--audio", click_file(tmp_path))
    assert generate(*files, "--audio-offset", -0.9, "--out", tmp_path / "a.mp4") == 0
    heard, rate = read_audio(tmp_path / "a.mp4")
    assert np.flatnonzero(np.abs(heard[0]) > 0.3)[0] / rate == pytest.approx(0.1, abs=0.005)


def test_the_sound_starts_with_the_motion(anchor_file: Path, motion_file: Path, tmp_path: Path) -> None:
    """A click at 1 s is heard in a part of the motion that begins there, and not in one from the start."""
    fps = read_motion(motion_file).fps
    click_file(tmp_path)
    loudest = []
    for start in (0, round(fps)):
        out = tmp_path / f"{start}.mp4"
        files = ("--anchor", anchor_file, "--motion", motion_file, "--audio", tmp_path / "click.wav")
        assert generate(*files, "--start", start, "--out", out) == 0
        loudest.append(np.abs(read_audio(out)[0]).max())
    assert loudest[0] < 0.05 < 0.3 < loudest[1]


BAD = [
    (["--motion", "missing.npy"], "missing.npy"),
    (["--start", "100000"], "--start 100000 lies outside the motion's"),
    (["--frames", "0"], "at least one frame is needed"),
    (["--audio", "missing.wav"], "missing.wav"),
    (["--audio-offset", "90"], "The sound would begin 90 s after the first frame"),
    (["--silent", "--audio-offset", "1"], "--audio-offset is 1 and there is no sound to move; pass --audio"),
    (["--overlap", "4"], "overlap"),
    (["--schedule", "zigzag"], "zigzag"),
    (["--scheduler", "magic"], "magic"),
    (["--device", "abacus"], "--device abacus cannot be used here"),
    (["--device", "meta"], "--device meta cannot be used here"),
    (["--appearance", "missing.png"], "missing.png"),
    (["--vae", "missing.safetensors"], "missing.safetensors"),
    (["--out", "talk.mov"], "Videos are written as .mp4, not as 'talk.mov'"),
]


@pytest.mark.parametrize(("options", "words"), BAD, ids=[options[0] for options, _ in BAD])
def test_bad_input_is_one_sentence_and_no_file(
    options: list[str], words: str, anchor_file: Path, motion_file: Path, tmp_path: Path, capsys: Any
) -> None:
    files = ["--anchor", anchor_file, "--motion", motion_file, "--out", tmp_path / "x.mp4"]
    assert main(["generate", *map(str, files), *SHORT, *options]) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    assert words in message
    assert os.listdir(tmp_path) == []


def test_an_input_is_never_written_over(
    anchor_file: Path, motion_file: Path, tmp_path: Path, capsys: Any
) -> None:
    """The sheet beside me.mp4 is called me.png, as the picture may be."""
    picture = tmp_path / "me.png"
    Image.new("RGB", (8, 8)).save(picture)
    before = picture.read_bytes()
    files = ("--anchor", anchor_file, "--motion", motion_file, "--appearance", picture)
    assert generate(*files, "--out", tmp_path / "me.mp4") == 1
    assert "me.png is read and would be written over; choose another --out" in capsys.readouterr().err
    assert picture.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_known_before_the_work(
    anchor_file: Path, motion_file: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "x.mp4").mkdir()
    assert generate("--anchor", anchor_file, "--motion", motion_file, "--out", tmp_path / "x.mp4") == 1
    said = capsys.readouterr().err
    assert "x.mp4 cannot be written (a folder has this name): choose another file name." in said
    assert "reading" not in said


def test_bad_sound_is_known_before_the_work(
    anchor_file: Path, motion_file: Path, tmp_path: Path, capsys: Any
) -> None:
    with wave.open(str(tmp_path / "slow.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8)
        file.writeframes(bytes(64))
    files = ("--anchor", anchor_file, "--motion", motion_file, "--audio", tmp_path / "slow.wav")
    assert generate(*files, "--out", tmp_path / "x.mp4") == 1
    said = capsys.readouterr().err
    assert "The sample rate is 8" in said
    assert "rendering" not in said


MISSING = (("vae", "no VAE"), ("vision", "no vision tower"), ("reference", "no reference picture"))


def test_a_missing_part_is_named(motion_file: Path, tmp_path: Path, capsys: Any) -> None:
    for part, words in MISSING:
        path = tmp_path / f"without_{part}.safetensors"
        save_anchor(models.tiny_anchor(**{part: None}), path)
        assert generate("--anchor", path, "--motion", motion_file, "--out", tmp_path / "x.mp4") == 1
        said = capsys.readouterr().err
        assert words in said
        assert "rendering" not in said  # before the work, not after it
    assert not (tmp_path / "x.mp4").exists()


def test_ctrl_c_leaves_the_older_file_and_the_same_command_goes_on(
    anchor_file: Path, motion_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    out = tmp_path / "ada.mp4"
    shutil.copy(motion_file, out)
    before = out.read_bytes()

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    options = ("--anchor", anchor_file, "--motion", motion_file, "--out", out)
    with monkeypatch.context() as patch:
        patch.setattr("anchor_core.sgdm.vae.decode_chunks", stop)
        assert generate(*options) == 130
    assert "stopped; the same command goes on where it stopped" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["ada.mp4", "ada.render"]
    assert generate(*options) == 0
    assert "denoising  " not in capsys.readouterr().err
    assert out.read_bytes() != before
    assert sorted(os.listdir(tmp_path)) == ["ada.mp4", "ada.png"]


def test_the_state_is_kept_refused_and_forgotten(
    anchor_file: Path, motion_file: Path, tmp_path: Path, capsys: Any
) -> None:
    state = tmp_path / "elsewhere"
    options = (
        "--anchor",
        anchor_file,
        "--motion",
        motion_file,
        "--out",
        tmp_path / "a.mp4",
        "--state",
        state,
    )
    assert generate(*options, "--keep-state") == 0
    assert (state / "begin.json").is_file()
    assert generate(*options, "--seed", 9) == 1
    assert "elsewhere was begun with seed = 0 and now it is 9; go on with the same" in capsys.readouterr().err
    assert generate(*options, "--seed", 9, "--start-over") == 0
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", "a.png"]


def test_a_preset_is_of_both_passes_and_single_options_win(
    face_anchor_file: Path, motion_file: Path, tmp_path: Path
) -> None:
    av = pytest.importorskip("av")
    out = tmp_path / "a.mp4"
    options = ("--anchor", face_anchor_file, "--motion", motion_file, "--out", out, "--preset", "fast")
    assert generate(*options) == 0
    with av.open(str(out)) as container:
        facts = json.loads(container.metadata["comment"])
    assert facts["preset"] == "fast"
    assert facts["settings"]["far_keys"] == facts["face"]["settings"]["far_keys"] == 2
    assert facts["settings"]["steps"] == 2  # of SHORT


def test_a_dry_run_says_what_it_takes_and_makes_nothing(
    face_anchor_file: Path, motion_file: Path, tmp_path: Path, capsys: Any
) -> None:
    files = ("--anchor", face_anchor_file, "--motion", motion_file, "--out", tmp_path / "a.mp4")
    assert generate(*files, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "body: 6 frames of 144x128 pixels, windows of 4, float32" in said
    assert "face: 6 frames of 32x32 pixels" in said
    assert said.count("fits without savings") == 2
    assert os.listdir(tmp_path) == []


def test_too_little_memory_is_one_sentence(
    anchor_file: Path, motion_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 9 bytes.")

    monkeypatch.setattr("anchor_core.filming.film.film_to_file", fail)
    assert generate("--anchor", anchor_file, "--motion", motion_file, "--out", tmp_path / "a.mp4") == 1
    said = capsys.readouterr().err
    assert "error: the memory is too small for this; the same with --dry-run says what fits" in said


def test_kernels_are_those_of_the_engine() -> None:
    from anchor_core.cli.film_options import ATTENTION
    from anchor_core.sgdm.engine import ATTENTION_KERNELS

    assert ATTENTION == ATTENTION_KERNELS
