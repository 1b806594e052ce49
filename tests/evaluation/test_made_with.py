"""The windows that a result was made with, by its tags, its anchor or a text."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anchor_core.anchor.card import AnchorCard
from anchor_core.errors import AnchorError
from anchor_core.evaluation.made_with import parse_windows, windows_of
from anchor_core.evaluation.steadiness import Windows
from anchor_core.video.write import write_video


def test_a_result_says_its_windows(tmp_path):
    frames = [np.zeros((32, 32, 3), np.uint8)] * 2
    settings = {"window_size": 8, "overlap": 2, "schedule": "reference"}
    write_video(tmp_path / "a.mp4", frames, 25, metadata={"comment": json.dumps({"settings": settings})})
    write_video(tmp_path / "b.mp4", frames, 25, metadata={"comment": "made by hand"})
    card = AnchorCard("ada", window_size=12, overlap=3)
    assert windows_of(tmp_path / "a.mp4", card) == Windows(8, 2, "reference")
    assert windows_of(tmp_path / "b.mp4", card) == Windows(12, 3)
    assert windows_of(tmp_path / "b.mp4") is None
    assert windows_of(tmp_path) is None


def test_windows_are_read_from_text():
    assert parse_windows("16/4") == Windows(16, 4)
    assert parse_windows("8/2/reference") == Windows(8, 2, "reference")
    for text in ("16", "16/x", "a/4"):
        with pytest.raises(AnchorError, match="give SIZE/OVERLAP in frames, as 16/4"):
            parse_windows(text)
    with pytest.raises(AnchorError, match="overlap 4 is not smaller"):
        parse_windows("4/4")
