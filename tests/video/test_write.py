"""Videos: count, rate, colours, sound in sync and of the right length, tags, and whole files or none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.video.read import read_audio, read_frames, read_info
from anchor_core.video.write import write_video

ROOT = Path(__file__).resolve().parents[2]


def noise_frames(n: int, height: int = 48, width: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (n, height // 16 + 1, width // 16 + 1, 3), np.uint8)
    return coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width]


def tone(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[None], channels, 0).astype(np.float32)


@pytest.mark.parametrize("fps", [25, 30, 29.97, 12.5])
def test_frame_count_and_rate_survive(tmp_path: Path, fps: float) -> None:
    frames = noise_frames(11)
    assert write_video(tmp_path / "a.mp4", iter(frames), fps) == 11
    info = read_info(tmp_path / "a.mp4")
    assert info.n_frames == len(list(read_frames(tmp_path / "a.mp4"))) == 11
    assert info.fps == pytest.approx(fps, rel=1e-6)
    assert info.duration_s == pytest.approx(11 / fps, abs=0.5 / fps)
    assert info.size == (64, 48)


def test_colours_survive_and_red_stays_red(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    colours[0, 0] = (255, 0, 0)
    frame = colours.repeat(32, 0).repeat(32, 1)
    write_video(tmp_path / "a.mp4", [frame] * 3, 25)
    back = next(read_frames(tmp_path / "a.mp4")).astype(int)
    inner = (back - frame).reshape(8, 32, 8, 32, 3)[
        :, 8:24, :, 8:24
    ]  # half of the colour lies between the fields
    assert abs(inner.mean()) < 0.3
    assert np.abs(inner).mean() < 1.5
    red = back[4:28, 4:28].mean((0, 1))
    assert red[0] > 248
    assert max(red[1:]) < 8


def test_file_says_how_its_colours_are_meant(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", noise_frames(2), 25)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (int(context.colorspace), int(context.color_primaries), int(context.color_range)) == (1, 1, 1)


def test_browser_can_start_before_the_end_has_come(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", noise_frames(5), 25)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_odd_sides_get_one_more_line(tmp_path: Path) -> None:
    frames = noise_frames(3, 47, 63)
    write_video(tmp_path / "a.mp4", frames, 25)
    back = next(read_frames(tmp_path / "a.mp4"))
    assert back.shape == (48, 64, 3)
    assert np.abs(back[:47, :63].astype(int) - frames[0]).mean() < 12


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (22255, 1), (48000, 2)])
def test_sound_ends_with_the_picture(tmp_path: Path, rate: int, channels: int) -> None:
    fps, n_frames = 60, 45
    write_video(tmp_path / "a.mp4", noise_frames(n_frames), fps, audio=(tone(5, rate, channels), rate))
    wave, back_rate = read_audio(tmp_path / "a.mp4")
    assert wave.shape[0] == channels
    assert wave.shape[1] / back_rate == pytest.approx(n_frames / fps, abs=1 / fps)
    assert read_info(tmp_path / "a.mp4").duration_s == pytest.approx(n_frames / fps, abs=1 / fps)


@pytest.mark.parametrize("seconds", [0.5, 0.0])
def test_short_sound_goes_on_in_silence(seconds: float, tmp_path: Path) -> None:
    assert write_video(tmp_path / "a.mp4", noise_frames(50), 25, audio=(tone(seconds, 16000), 16000)) == 50
    wave, rate = read_audio(tmp_path / "a.mp4")
    assert wave.shape[1] / rate == pytest.approx(2, abs=0.001)
    assert np.abs(wave[:, round((seconds + 0.03) * rate) :]).max() < 0.01  # AAC rings for a block
    assert np.abs(wave).max() > 0.3 or not seconds


@pytest.mark.parametrize("rate", [8000, 16000, 22255, 32000, 96000])
def test_blocks_of_sound_are_shorter_than_frames(rate: int, tmp_path: Path) -> None:
    """A decoder that plays the last block of 1024 samples to its end stays within the last frame."""
    write_video(tmp_path / "a.mp4", noise_frames(30), 30, audio=(tone(1, rate), rate))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.audio[0].rate == 48000
        played = sum(frame.samples for frame in container.decode(audio=0))
    assert played / 48000 == pytest.approx(1, abs=1 / 30)


def test_sound_is_in_sync(tmp_path: Path) -> None:
    rate = 48000
    wave = np.zeros((1, 2 * rate), np.float32)
    wave[0, rate : rate + 24] = 0.9
    write_video(tmp_path / "a.mp4", noise_frames(50), 25, audio=(wave, rate))
    back, back_rate = read_audio(tmp_path / "a.mp4")
    assert np.abs(back[0]).argmax() / back_rate == pytest.approx(1.0, abs=0.002)
    # The same through a file, and cut by `start`.
    write_video(tmp_path / "b.mp4", noise_frames(50), 25, audio=tmp_path / "a.mp4")
    late, _ = read_audio(tmp_path / "b.mp4", start=0.75, duration=0.5)
    assert late.shape[1] == pytest.approx(0.5 * rate)
    assert np.abs(late[0]).argmax() / rate == pytest.approx(0.25, abs=0.002)


def test_foreign_decoder_agrees(tmp_path: Path) -> None:
    ffprobe = shutil.which("ffprobe")
    if ffprobe is None:
        pytest.skip("ffprobe is not installed")
    write_video(
        tmp_path / "a.mp4", noise_frames(30), 30, audio=(tone(2, 44100), 44100), metadata={"comment": "{}"}
    )
    command = [
        ffprobe,
        "-v",
        "error",
        "-count_frames",
        "-of",
        "json",
        "-show_streams",
        str(tmp_path / "a.mp4"),
    ]
    streams = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"]
    picture, sound = streams
    assert int(picture["nb_read_frames"]) == 30
    assert picture["color_space"] == picture["color_primaries"] == picture["color_transfer"] == "bt709"
    assert float(sound["duration"]) == pytest.approx(1, abs=1 / 30)


def test_tags_come_back(tmp_path: Path) -> None:
    settings = {"seed": 7, "name": "Sethé", "steps": 20}
    write_video(tmp_path / "a.mp4", noise_frames(2), 25, metadata={"comment": json.dumps(settings)})
    assert json.loads(read_info(tmp_path / "a.mp4").tags["comment"]) == settings


def test_frames_are_not_kept(tmp_path: Path) -> None:
    """x264 looks ahead by some ten frames; a thousand frames of a generator must not be alive at once."""
    alive = 0
    most = 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= self.base is None

    def frames():  # type: ignore[no-untyped-def]
        nonlocal alive, most
        for _ in range(200):
            frame = np.zeros((16, 16, 3), np.uint8).view(Counted).copy()
            alive += 1
            most = max(most, alive)
            yield frame

    write_video(tmp_path / "a.mp4", frames(), 25)
    assert most < 10


def test_interrupt_leaves_no_half_file(tmp_path: Path) -> None:
    def frames():  # type: ignore[no-untyped-def]
        yield from noise_frames(20)
        raise KeyboardInterrupt

    (tmp_path / "a.mp4").write_bytes(b"the old one")
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "a.mp4", frames(), 25)
    assert os.listdir(tmp_path) == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"the old one"


def test_interrupt_before_the_first_frame_was_written(tmp_path: Path) -> None:
    def frames():  # type: ignore[no-untyped-def]
        yield noise_frames(1)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "a.mp4", frames(), 25, audio=(tone(1, 16000), 16000))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames"),
        ([np.zeros((8, 8, 3), np.float32)], r"Frame 0 .*float32.*uint8"),
        ([np.zeros((8, 8, 4), np.uint8)], r"\(H, W, 3\)"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 16, 3), np.uint8)], "Frame 1 is 16 x 8 .* one size"),
    ],
)
def test_bad_frames(tmp_path: Path, frames: list[np.ndarray], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        write_video(tmp_path / "a.mp4", frames, 25)
    assert not os.listdir(tmp_path)


def test_bad_arguments(tmp_path: Path) -> None:
    frames = noise_frames(1)
    with pytest.raises(AnchorError, match=r"written as \.mp4"):
        write_video(tmp_path / "a.gif", frames, 25)
    with pytest.raises(AnchorError, match="fps is 0"):
        write_video(tmp_path / "a.mp4", frames, 0)
    with pytest.raises(AnchorError, match="fps is nan"):
        write_video(tmp_path / "a.mp4", frames, float("nan"))
    with pytest.raises(AnchorError, match="1 or 2 channels"):
        write_video(tmp_path / "a.mp4", frames, 25, audio=(np.zeros((3, 100)), 16000))
    with pytest.raises(AnchorError, match="not finite"):
        write_video(tmp_path / "a.mp4", frames, 25, audio=(np.full((1, 100), np.nan), 16000))
    with pytest.raises(AnchorError, match="no file"):
        write_video(tmp_path / "a.mp4", frames, 25, audio=tmp_path / "missing.wav")
    assert not os.listdir(tmp_path)


def test_import_is_light() -> None:
    code = "import sys; import anchor_core.video.sheet; print({'av', 'PIL', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
