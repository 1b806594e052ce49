"""Reading: ranges, foreign and missing files, portrait pictures."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from anchor_core.errors import AnchorError
from anchor_core.video.read import (
    describe_video,
    open_sound,
    read_audio,
    read_frames,
    read_info,
    read_picture,
)
from anchor_core.video.write import write_video


@pytest.fixture
def stereo_wav(tmp_path: Path) -> Path:
    samples = np.random.default_rng(0).integers(-9000, 9000, (3000, 2)).astype("<i2")
    with wave.open(str(tmp_path / "a.wav"), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(samples.tobytes())
    np.save(tmp_path / "samples.npy", samples)
    return tmp_path / "a.wav"


def test_wav_is_read_exactly(stereo_wav: Path) -> None:
    waveform, rate = read_audio(stereo_wav)
    expected = np.load(stereo_wav.parent / "samples.npy").T / 32768
    assert rate == 8000
    np.testing.assert_allclose(waveform, expected, atol=1e-6)


def test_part_of_a_sound(stereo_wav: Path) -> None:
    whole, _ = read_audio(stereo_wav)
    part, _ = read_audio(stereo_wav, start=0.1, duration=0.2)
    np.testing.assert_array_equal(part, whole[:, 800:2400])
    tail, _ = read_audio(stereo_wav, start=0.3)
    np.testing.assert_array_equal(tail, whole[:, 2400:])
    beyond, _ = read_audio(stereo_wav, start=9)
    assert beyond.shape == (2, 0)


def test_other_rate_keeps_the_duration(stereo_wav: Path) -> None:
    sound = open_sound(stereo_wav).at_rate(48000)
    total = sum(chunk.shape[1] for chunk in sound.chunks)
    assert total == pytest.approx(3000 * 6, abs=64)


def test_range_of_frames(tmp_path: Path) -> None:
    levels = np.arange(10, dtype=np.uint8) * 20 + 30
    write_video(tmp_path / "a.mp4", (np.full((32, 32, 3), level, np.uint8) for level in levels), 25)
    means = [frame.mean() for frame in read_frames(tmp_path / "a.mp4", 3, 6)]
    np.testing.assert_allclose(means, levels[3:6], atol=2)


def test_picture_is_upright_rgb(tmp_path: Path) -> None:
    pixels = np.zeros((6, 4, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, 10
    Image.fromarray(pixels).save(tmp_path / "a.png")
    back = read_picture(tmp_path / "a.png")
    assert back.shape == (6, 4, 3)
    assert back[0, 0].tolist() == [200, 0, 0]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    Image.fromarray(pixels[..., :3]).save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (4, 6, 3)


def test_real_frames_and_grey(shared_data: Path) -> None:
    assert read_picture(shared_data / "appearance" / "body.png").shape[2] == 3


def test_messages(tmp_path: Path, stereo_wav: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "a.png").write_bytes(b"no picture")
    write_video(tmp_path / "silent.mp4", [np.zeros((16, 16, 3), np.uint8)], 25)
    for call in (read_audio, read_info, lambda p: next(read_frames(p))):
        with pytest.raises(AnchorError, match="There is no file"):
            call(tmp_path / "missing.mp4")
        with pytest.raises(AnchorError, match=r"a\.mp4 is not a readable video or sound file"):
            call(tmp_path / "a.mp4")
        with pytest.raises(AnchorError, match="not a readable video"):
            call(tmp_path / "empty.mp4")
    with pytest.raises(AnchorError, match="has no sound"):
        read_audio(tmp_path / "silent.mp4")
    with pytest.raises(AnchorError, match="has no picture"):
        next(read_frames(stereo_wav))
    with pytest.raises(AnchorError, match="not a readable picture"):
        read_picture(tmp_path / "a.png")
    with pytest.raises(AnchorError, match="There is no file"):
        read_picture(tmp_path / "b.png")


def test_cut_off_video_gives_a_sentence(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    write_video(tmp_path / "a.mp4", frames, 25)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 300])
    with pytest.raises(AnchorError, match=r"cut\.mp4"):
        list(read_frames(tmp_path / "cut.mp4"))


def test_half_a_video_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    write_video(tmp_path / "a.mp4", frames, 25)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    assert 0 < len(list(read_frames(tmp_path / "half.mp4"))) < 20
    assert "of 20 frames could be read" in caplog.text


def test_grey_of_16_bits_keeps_its_levels(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 3), 30_000, np.uint16)).save(tmp_path / "grey.png")
    assert (read_picture(tmp_path / "grey.png") == 117).all()


def test_picture_of_floats_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 3), 0.5, np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(AnchorError, match="not a readable picture"):
        read_picture(tmp_path / "float.tif")


def test_postscript_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nquit\n"
    )
    with pytest.raises(AnchorError, match=r"a\.png is not a readable picture: choose a PNG or JPEG file"):
        read_picture(tmp_path / "a.png")


def test_picture_with_too_many_pixels(tmp_path: Path) -> None:
    Image.new("1", (9_000, 9_000)).save(tmp_path / "huge.png")
    with pytest.raises(AnchorError, match=r"huge\.png has 9000 x 9000 pixels and the limit is 80 million"):
        read_picture(tmp_path / "huge.png")


def test_lengths_of_picture_and_sound(tmp_path: Path) -> None:
    frames = [np.zeros((16, 16, 3), np.uint8)] * 30
    write_video(tmp_path / "loud.mp4", frames, 29.97, audio=(np.zeros((1, 100), np.float32), 16000))
    write_video(tmp_path / "silent.mp4", frames, 25)
    info = read_info(tmp_path / "loud.mp4")
    assert info.picture_s == pytest.approx(30 / 29.97, abs=1e-4)
    assert info.sound_s == pytest.approx(30 / 29.97, abs=0.001)
    assert describe_video(tmp_path / "loud.mp4") == (
        "30 frames at 29.97 fps, 1.00 s of picture, 1.00 s of sound"
    )
    assert describe_video(tmp_path / "silent.mp4") == "30 frames at 25 fps, 1.20 s of picture, no sound"


def test_a_stream_that_changes_its_kind_stays_one_sound(tmp_path: Path) -> None:
    """Streams of raw AAC may be put one behind the other, whatever they hold."""
    parts = [adts(tmp_path / "a.aac", 44100, 1), adts(tmp_path / "b.aac", 22050, 2)]
    (tmp_path / "both.aac").write_bytes(b"".join(parts))
    waveform, rate = read_audio(tmp_path / "both.aac")
    assert (len(waveform), rate) == (1, 44100)
    assert waveform.shape[1] / rate == pytest.approx(2, abs=0.2)
    tail = waveform[0, -rate // 2 : -rate // 4]
    crossings = np.count_nonzero(np.diff(np.sign(tail)))
    assert crossings == pytest.approx(2 * 440 * 0.25, abs=8)


def adts(path: Path, rate: int, channels: int) -> bytes:
    """A second of a tone of 440 Hz as raw AAC."""
    samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    layout = "mono" if channels == 1 else "stereo"
    with av.open(str(path), "w", format="adts") as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(
            np.repeat(samples[None], channels, 0).astype(np.float32), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        container.mux([*stream.encode(frame), *stream.encode()])
    return path.read_bytes()
