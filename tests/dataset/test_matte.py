"""Mattes from videos and folders, and what they leave of a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anchor_core.dataset.matte import composite, read_mattes
from anchor_core.errors import AnchorError
from anchor_core.video.write import write_video


def test_folder_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        Image.fromarray(np.full((6, 8), number * 10, np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    levels = [int(matte[0, 0]) for matte in read_mattes(tmp_path, (8, 6))]
    assert levels == [10, 20, 100]
    assert [int(matte[0, 0]) for matte in read_mattes(tmp_path, (8, 6), 1, 2)] == [20]


def test_video_at_another_size_and_rate(tmp_path: Path) -> None:
    frames = np.zeros((10, 32, 64, 3), np.uint8)
    frames[:, :, 32:] = 255
    frames[5:] = 255 - frames[5:]
    write_video(tmp_path / "mask.mp4", frames, 10)
    mattes = list(read_mattes(tmp_path / "mask.mp4", (128, 64)))
    assert [matte.shape for matte in mattes] == [(64, 128)] * 10
    assert mattes[0][:, 70:].min() > 250
    assert mattes[0][:, :58].max() < 5
    doubled = list(read_mattes(tmp_path / "mask.mp4", (64, 32), fps=20))
    assert [bool(matte[0, 0] > 127) for matte in doubled] == [False] * 10 + [True] * 10


def test_composite_is_exact_at_both_ends_and_mixes_between() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)
    mattes = np.zeros((3, 4, 5), np.uint8)
    mattes[1], mattes[2] = 255, 100
    out = composite(frames, mattes, (10, 250, 90))
    assert (out[0] == [10, 250, 90]).all()
    np.testing.assert_array_equal(out[1], frames[1])
    mixed = frames[2] * (100 / 255) + np.array([10, 250, 90]) * (155 / 255)
    assert np.abs(out[2] - mixed).max() <= 0.5 + 1e-9
    np.testing.assert_array_equal(composite(frames[2], mattes[2], (10, 250, 90)), out[2])


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(
        AnchorError, match="holds no pictures: give a video, or a folder of PNG or JPEG files"
    ):
        next(read_mattes(tmp_path, (8, 6)))
    Image.fromarray(np.zeros((8, 6), np.uint8)).save(tmp_path / "1.png")
    with pytest.raises(AnchorError, match="has 6 x 8 pixels and the video 64 x 48, which is another shape"):
        next(read_mattes(tmp_path, (64, 48)))
    with pytest.raises(AnchorError, match="There is no file"):
        next(read_mattes(tmp_path / "none.mp4", (8, 6)))
    frame = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(AnchorError, match="one matte per frame"):
        composite(frame, np.zeros((5, 4), np.uint8), (0, 0, 0))
    with pytest.raises(AnchorError, match=r"The background is \(0, 0, 300\): give red, green, blue"):
        composite(frame, np.zeros((4, 5), np.uint8), (0, 0, 300))
