"""Previews: frames, sizes, captions, the overlay on a video, and the written file."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anchor_core.body import BodyModel, PosedBody, pose_motion
from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, default_camera
from anchor_core.motion.soundtrack import Soundtrack
from anchor_core.render.mesh import to_bytes
from anchor_core.render.motion import render_motion
from anchor_core.render.preview import (
    Footage,
    footage_of,
    open_footage,
    preview_frames,
    quick_stride,
    with_camera,
    write_preview,
)
from anchor_core.video.read import read_audio, read_frames, read_info
from anchor_core.video.write import write_video

SIZE = 96


@pytest.fixture(scope="module")
def filmed(motion: Motion) -> Motion:
    """20 frames at 10 fps with a camera of 192 x 128; the body crosses the picture."""
    repeated = motion.per_frame(lambda rows: np.repeat(rows, 4, axis=0), fps=10.0)
    place = repeated.translation.copy()
    place[:, 0] += np.linspace(-0.3, 0.3, 20)
    return replace(repeated, translation=place, camera=default_camera(192, 128))


def _grey(n_frames: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """Frames whose level tells their number."""
    return [np.full((height, width, 3), 5 * index, np.uint8) for index in range(n_frames)]


def _long(motion: Motion, n_frames: int) -> Motion:
    return motion.per_frame(lambda rows: np.resize(rows, (n_frames, *rows.shape[1:])))


def test_the_frames_are_those_of_the_mesh_render(body: BodyModel, filmed: Motion) -> None:
    frames = list(preview_frames(filmed, body, size=None, captions=False))
    expected = to_bytes(render_motion(filmed, body, antialias=False).image)
    assert len(frames) == 20
    assert np.abs(np.stack(frames).astype(int) - expected).mean() < 0.1


@pytest.mark.parametrize(("size", "shape"), [(96, (64, 96, 3)), (None, (128, 192, 3)), (50, (34, 50, 3))])
def test_size_is_the_longer_side(
    body: BodyModel, filmed: Motion, size: int | None, shape: tuple[int, int, int]
) -> None:
    frame = next(preview_frames(filmed, body, size=size))
    assert (frame.shape, frame.dtype) == (shape, np.uint8)


def test_stride_leaves_frames_out(body: BodyModel, filmed: Motion) -> None:
    every = list(preview_frames(filmed, body, size=SIZE, captions=False))
    third = list(preview_frames(filmed, body, size=SIZE, captions=False, stride=3))
    assert len(third) == 7
    differing = [np.abs(every[3 * i].astype(int) - frame).mean() for i, frame in enumerate(third)]
    assert max(differing) < 0.1


def test_a_motion_without_camera_sits_in_front_of_the_default_one(body: BodyModel, motion: Motion) -> None:
    lying = replace(motion, translation=motion.translation + 7, world="zup")
    frame = next(preview_frames(lying, body, size=SIZE, captions=False))
    covered = frame.any(axis=2)
    assert covered[:, 40:56].mean() > 0.7
    assert with_camera(lying).camera == default_camera()


def test_a_motion_with_a_camera_stays_where_it_is(filmed: Motion) -> None:
    assert with_camera(filmed) is filmed


def test_captions_tell_interpolated_frames(body: BodyModel, filmed: Motion) -> None:
    marks = np.zeros(20, bool)
    marks[4:8] = True
    marked = replace(filmed, interpolated=marks)
    plain = preview_frames(filmed, body, size=192, stride=2)
    noted = preview_frames(marked, body, size=192, stride=2)
    changed = [bool((a != b).any()) for a, b in zip(plain, noted, strict=True)]
    assert changed == [False, False, True, True, *[False] * 6]


def test_captions_stay_in_their_corner(body: BodyModel, filmed: Motion) -> None:
    with_text = next(preview_frames(filmed, body, size=192))
    without = next(preview_frames(filmed, body, size=192, captions=False))
    rows, columns = (with_text != without).any(axis=2).nonzero()
    assert rows.min() > 110
    assert columns.max() < 110


def test_the_overlay_fits_the_video_of_the_same_camera(body: BodyModel, filmed: Motion) -> None:
    # The video is the motion itself at half the rate, twice the size, from one second earlier on.
    large = replace(filmed, camera=filmed.camera and filmed.camera.resized(384, 256))
    video = list(preview_frames(large, body, size=None, stride=2, captions=False))
    later = filmed.sliced(10, 20)
    footage = Footage(video, fps=5.0, start_s=1.0, opacity=1.0)
    over = list(preview_frames(later, body, size=192, background=footage, captions=False))
    alone = list(preview_frames(later, body, size=192, captions=False))
    assert max(_beside(a, b) for a, b in zip(over[::2], alone[::2], strict=True)) < 0.01
    mislaid = Footage(video, fps=5.0, start_s=0.0, opacity=1.0)
    wrong = next(preview_frames(later, body, size=192, background=mislaid, captions=False))
    assert _beside(wrong, alone[0]) > 0.05


def _beside(over: np.ndarray, alone: np.ndarray) -> float:
    """How much of the video's person shows beside the mesh, as a part of the mesh's area."""
    mesh = alone.any(axis=2)
    return ((over.max(axis=2) > 100) & ~mesh).sum() / mesh.sum()


@pytest.mark.parametrize(
    ("video_fps", "start_s", "expected"),
    [
        (10.0, 0.0, [0, 1, 2, 3, 4, 5]),
        (25.0, 0.0, [0, 3, 5, 8, 10, 13]),
        (4.0, 0.0, [0, 0, 1, 1, 2, 2]),
        (10.0, 0.32, [3, 4, 5, 6, 7, 8]),
        (10.0, -0.2, [0, 0, 0, 1, 2, 3]),  # black before the video begins, and its first frame is black
    ],
)
def test_the_frame_nearest_in_time_is_behind(
    body: BodyModel, filmed: Motion, video_fps: float, start_s: float, expected: list[int]
) -> None:
    footage = Footage(_grey(30), video_fps, start_s)
    frames = preview_frames(filmed.sliced(0, 6), body, size=SIZE, background=footage, captions=False)
    assert [frame[0, 0, 0] // 5 for frame in frames] == expected


def test_stride_keeps_the_times_of_the_video(body: BodyModel, filmed: Motion) -> None:
    footage = Footage(_grey(40), 20.0)
    frames = preview_frames(filmed, body, size=SIZE, background=footage, captions=False, stride=5)
    assert [frame[0, 0, 0] // 5 for frame in frames] == [0, 10, 20, 30]


def test_opacity_mixes_mesh_and_video(body: BodyModel, filmed: Motion) -> None:
    white = [np.full((64, 96, 3), 255, np.uint8)] * 30
    short = filmed.sliced(0, 1)

    def drawn(opacity: float) -> np.ndarray:
        footage = Footage(white, 10.0, opacity=opacity)
        return next(preview_frames(short, body, size=SIZE, background=footage, captions=False)).astype(int)

    mesh = next(preview_frames(short, body, size=SIZE, captions=False)).astype(int)
    inside = mesh.any(axis=2)
    assert (drawn(0.0) == 255).all()
    assert (drawn(1.0)[inside] == mesh[inside]).all()
    assert np.abs(drawn(0.25)[inside] - (0.25 * mesh[inside] + 0.75 * 255)).max() <= 1
    assert (drawn(0.25)[~inside] == 255).all()


def test_a_video_that_ends_early_is_said_once(
    body: BodyModel, filmed: Motion, caplog: pytest.LogCaptureFixture
) -> None:
    footage = Footage([np.full((64, 96, 3), 200, np.uint8)] * 3, 10.0)
    frames = list(preview_frames(filmed, body, size=SIZE, background=footage, captions=False))
    assert [int(frame[0, 0, 0]) for frame in frames[:4]] == [200, 200, 200, 0]
    assert [r.message for r in caplog.records if "video" in r.message] == [
        "The video ends at 0.30 s, before the motion: the mesh goes on on black."
    ]


def test_the_overlay_has_the_shape_of_the_video(
    body: BodyModel, filmed: Motion, caplog: pytest.LogCaptureFixture
) -> None:
    frames = preview_frames(filmed, body, size=SIZE, background=Footage(_grey(30, 96, 48), 10.0))
    assert next(frames).shape == (96, 48, 3)
    assert "saw 192 x 128 pixels and the video has 48 x 96" in caplog.text


def test_an_overlay_without_a_camera_is_said(
    body: BodyModel, motion: Motion, caplog: pytest.LogCaptureFixture
) -> None:
    next(preview_frames(motion, body, size=SIZE, background=Footage(_grey(9, 96, 96), 30.0)))
    assert "The motion has no camera: the mesh stands in front of the default one" in caplog.text


def test_frames_in_memory_are_footage(body: BodyModel, filmed: Motion) -> None:
    images = torch.full((30, 64, 96, 3), 0.5)
    frame = next(preview_frames(filmed, body, size=SIZE, background=footage_of(images, 10.0)))
    assert (frame[0, 0] == 128).all()


def test_footage_is_read_while_it_is_shown(body: BodyModel, filmed: Motion) -> None:
    taken = itertools.count()

    def frames() -> Iterator[np.ndarray]:
        while True:
            next(taken)
            yield np.zeros((64, 96, 3), np.uint8)

    shown = preview_frames(filmed, body, size=SIZE, background=Footage(frames(), 10.0))
    for _ in range(3):
        next(shown)
    assert next(taken) == 3


def test_threads_end_when_nobody_looks_on(body: BodyModel, filmed: Motion) -> None:
    shown = preview_frames(_long(filmed, 400), body, size=SIZE)
    next(shown)
    assert any(thread.name.startswith("preview") for thread in threading.enumerate())
    shown.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("preview") for thread in threading.enumerate())


def test_progress_counts_and_may_stop(body: BodyModel, filmed: Motion) -> None:
    seen = []

    def report(done: int, total: int, frame: np.ndarray) -> None:
        seen.append((done, total, frame.shape))
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(preview_frames(filmed, body, size=SIZE, progress=report))
    assert seen == [(i, 20, (64, 96, 3)) for i in range(1, 11)]


def test_only_a_few_frames_are_posed_ahead(
    body: BodyModel, motion: Motion, monkeypatch: pytest.MonkeyPatch
) -> None:
    posed = []

    def counted(_body: BodyModel, _motion: Motion, start: int, stop: int) -> PosedBody:
        posed.append(stop)
        return pose_motion(_body, _motion, start, stop)

    monkeypatch.setattr("anchor_core.render.preview.pose_motion", counted)
    shown = preview_frames(_long(motion, 400), body, size=48)
    for index in range(30):
        next(shown)
        assert max(posed) <= index + 40
    shown.close()  # type: ignore[attr-defined]


def test_the_written_preview_has_the_sound_and_the_length(
    body: BodyModel, filmed: Motion, tmp_path: Path
) -> None:
    tone = np.sin(np.arange(2 * 16000) * 0.2, dtype=np.float32)[None] * 0.5
    loud = replace(filmed, sound=Soundtrack(tone, 16000))
    assert write_preview(tmp_path / "a.mp4", loud, body, size=SIZE, stride=2) == 10
    info = read_info(tmp_path / "a.mp4")
    assert (info.n_frames, info.fps, info.size) == (10, 5.0, (96, 64))
    waveform, rate = read_audio(tmp_path / "a.mp4")
    assert waveform.shape[1] / rate == pytest.approx(2.0, abs=0.05)
    assert np.abs(waveform).max() > 0.3


def test_a_video_file_lies_behind(body: BodyModel, filmed: Motion, tmp_path: Path) -> None:
    write_video(tmp_path / "source.mp4", [np.full((64, 96, 3), 120, np.uint8)] * 20, 10.0)
    footage = open_footage(tmp_path / "source.mp4")
    assert footage.fps == 10
    write_preview(tmp_path / "over.mp4", filmed, body, size=SIZE, background=footage, captions=False)
    first = next(read_frames(tmp_path / "over.mp4"))
    assert abs(int(first[2, 2].mean()) - 120) < 6


@pytest.mark.parametrize(
    ("n_frames", "fps", "stride"), [(5, 30, 1), (600, 30, 1), (601, 30, 2), (18000, 30, 15), (9999, 1, 1)]
)
def test_long_motions_are_thinned(motion: Motion, n_frames: int, fps: float, stride: int) -> None:
    assert quick_stride(replace(_long(motion, n_frames), fps=fps)) == stride


def test_bad_arguments_are_refused_at_once(body: BodyModel, filmed: Motion, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="The stride is 0: it needs 1"):
        preview_frames(filmed, body, stride=0)
    with pytest.raises(AnchorError, match="both sides need whole pixels"):
        preview_frames(filmed, body, size=0)
    with pytest.raises(AnchorError, match=r"stride is 11 at 10 fps: .* choose a stride up to 10"):
        write_preview(tmp_path / "a.mp4", filmed, body, stride=11)
    with pytest.raises(AnchorError, match="The video has no frames"):
        preview_frames(filmed, body, background=Footage([], 10.0))
    with pytest.raises(AnchorError, match=r"Frame 0 has shape \(64, 96\)"):
        preview_frames(filmed, body, background=Footage([np.zeros((64, 96), np.uint8)], 10.0))
    assert not list(tmp_path.iterdir())


def test_a_video_that_changes_its_size_is_refused(body: BodyModel, filmed: Motion) -> None:
    frames = [np.zeros((64, 96, 3), np.uint8), np.zeros((60, 96, 3), np.uint8)]
    with pytest.raises(AnchorError, match="Frame 1 is 96 x 60 pixels and the first 96 x 64"):
        list(preview_frames(filmed, body, size=SIZE, background=Footage(frames, 10.0)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fps": 0.0}, "The video has 0 frames per second"),
        ({"fps": float("nan")}, "The video has nan frames per second"),
        ({"fps": 25.0, "start_s": float("inf")}, "starts at second inf"),
        ({"fps": 25.0, "opacity": 1.5}, "opacity is 1.5: it needs to be from 0 to 1"),
    ],
)
def test_bad_footage_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        Footage([], **values)


def test_a_mesh_outside_the_picture_is_black(body: BodyModel, filmed: Motion) -> None:
    away = replace(filmed.sliced(0, 1), translation=filmed.translation[:1] + np.float32([9, 0, 0]))
    assert not next(preview_frames(away, body, size=SIZE, captions=False)).any()


def test_show_over_its_picture_size(
    body: BodyModel, show_motion: Motion, shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    footage = open_footage(shared_data / "show" / "half.mp4")
    frames = preview_frames(show_motion.sliced(0, 20), body, size=256, stride=10, background=footage)
    first, second = frames
    assert first.shape == (144, 256, 3)
    assert first.any(axis=2).mean() > 0.9  # the studio fills the picture
    assert (first != second).any()
    assert "the video has" not in caplog.text  # camera and video have one shape
