"""The videos that people bring: every container, depth and orientation gives the same upright frames."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import av
import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.video.read import read_frames, read_info, read_matte

# Tests are imported by path: their folders are no packages.
_spec = importlib.util.spec_from_file_location("odd_videos", Path(__file__).parent / "odd_videos.py")
odd = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(odd)


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "size"),
    [
        ("a.mp4", "libx264", "yuv420p", (64, 48)),
        ("a.mov", "prores_ks", "yuv422p10le", (64, 48)),
        ("a.mp4", "libx264", "yuv420p10le", (64, 48)),
        ("a.mkv", "ffv1", "bgr0", (65, 47)),
        ("a.webm", "libvpx-vp9", "yuv420p", (64, 48)),
        ("a.avi", "mpeg4", "yuv420p", (64, 48)),
        ("a.mkv", "libx265", "yuv420p10le", (64, 48)),
        ("a.avi", "mjpeg", "yuvj420p", (48, 64)),
    ],
)
def test_every_container_and_depth(
    tmp_path: Path, name: str, codec: str, pixels: str, size: tuple[int, int]
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    path = odd.write_odd(tmp_path / name, codec, pixels, size)
    frames = list(read_frames(path))
    assert read_info(path).size == size
    assert not read_info(path).has_sound
    assert [frame.shape for frame in frames] == [(size[1], size[0], 3)] * len(odd.LEVELS)
    np.testing.assert_allclose([odd.level_of(frame) for frame in frames], odd.LEVELS, atol=4)
    assert frames[3][:8, :8].min() > 225


# A phone stores the picture lying down; where the white corner must be seen after turning to the left.
_CORNERS = {
    90: (slice(-8, None), slice(0, 8)),
    -90: (slice(0, 8), slice(-8, None)),
    180: (slice(-8, None),) * 2,
}


@pytest.mark.parametrize("turned", [90, -90, 180])
def test_turned_phone_video_is_upright(tmp_path: Path, turned: int) -> None:
    if not hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write turned videos")
    path = odd.write_odd(tmp_path / "a.mp4", turned=turned)
    frame = next(read_frames(path))
    size = (64, 48) if turned == 180 else (48, 64)
    assert read_info(path).size == (frame.shape[1], frame.shape[0]) == size
    assert frame[_CORNERS[turned]].min() > 225
    assert frame[20:28, 20:28].max() < 60


def test_damage_in_the_middle_keeps_what_came_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = odd.write_odd(tmp_path / "a.mov", "prores_ks", "yuv422p10le")
    data = bytearray(path.read_bytes())
    first, last = len(data) * 45 // 100, len(data) * 60 // 100
    data[first:last] = np.random.default_rng(0).bytes(last - first)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "anchor"):
        frames = list(read_frames(path))
    assert 0 < len(frames) < len(odd.LEVELS)
    assert odd.levels_of(frames) == list(range(len(frames)))
    assert f"a.mov is damaged: {len(frames)} frames could be read" in caplog.text


def test_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(cover.encode(frame))
        container.mux(cover.encode())
    with pytest.raises(AnchorError, match=r"song\.m4a has no picture: choose a video file"):
        read_info(path)


def test_hdr_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p10le"
        stream.codec_context.color_trc = 18  # HLG, what phones record
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode())
    with caplog.at_level(logging.WARNING, "anchor"):
        list(read_frames(path))
    assert "is an HDR video" in caplog.text


def test_matte_of_a_picture(tmp_path: Path) -> None:
    from PIL import Image

    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_matte(tmp_path / "grey.png"), grey)
    rgba = np.dstack([np.full((3, 4, 3), 255, np.uint8), grey])
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_matte(tmp_path / "alpha.png"), grey)
