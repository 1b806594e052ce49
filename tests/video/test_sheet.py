"""Contact sheets: which frames, where, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anchor_core.errors import AnchorError
from anchor_core.video.sheet import choose_frames, save_sheet


def test_first_and_last_frame_are_shown() -> None:
    assert choose_frames(100, 5) == [0, 25, 50, 74, 99]
    assert choose_frames(3, 8) == [0, 1, 2]
    assert choose_frames(1, 8) == [0]


def test_tiles_hold_the_chosen_frames(tmp_path: Path) -> None:
    levels = np.arange(0, 200, 10, dtype=np.uint8)
    frames = np.repeat(levels, 32 * 32 * 3).reshape(20, 32, 32, 3)
    save_sheet(tmp_path / "a.png", {"mesh": frames, "result": 255 - frames}, n_columns=4, tile_width=64)
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    rows = [12 + 2 + 32, 2 * (12 + 2 + 64) - 32]
    columns = [2 + 66 * column + 32 for column in range(4)]
    chosen = levels[choose_frames(20, 4)]
    assert sheet[rows[0], columns, 0].tolist() == chosen.tolist()
    assert sheet[rows[1], columns, 0].tolist() == (255 - chosen).tolist()


def test_rows_of_other_sizes(tmp_path: Path) -> None:
    wide, tall = np.zeros((5, 20, 40, 3), np.uint8), [np.zeros((40, 20, 3), np.uint8)] * 5
    save_sheet(tmp_path / "a.png", {"wide": wide, "tall": tall}, n_columns=3, tile_width=50)
    assert Image.open(tmp_path / "a.png").size == (3 * 52 + 2, 2 + (12 + 25 + 2) + (12 + 100 + 2))


def test_messages(tmp_path: Path) -> None:
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    with pytest.raises(AnchorError, match="nothing to show"):
        save_sheet(tmp_path / "a.png", {})
    with pytest.raises(AnchorError, match="nothing to show"):
        save_sheet(tmp_path / "a.png", {"a": frames[:0]})
    with pytest.raises(AnchorError, match="a: 3, b: 2"):
        save_sheet(tmp_path / "a.png", {"a": frames, "b": frames[:2]})
    with pytest.raises(AnchorError, match="uint8"):
        save_sheet(tmp_path / "a.png", {"a": frames.astype(float)})
    with pytest.raises(AnchorError, match="n_columns is 0"):
        save_sheet(tmp_path / "a.png", {"a": frames}, n_columns=0)
    with pytest.raises(AnchorError, match=r"written as \.png"):
        save_sheet(tmp_path / "a.webm", {"a": frames})
    assert not os.listdir(tmp_path)
