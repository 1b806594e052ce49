"""Folders that hold no motion, too much, or something damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, read_motion
from anchor_core.motion.formats import folder


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"holds no motion: give a motion file, a folder of SMPLer-X"):
        read_motion(tmp_path)


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text("{")
    with pytest.raises(AnchorError, match=r"1\.json is not whole JSON .*: copy or export it again"):
        read_motion(tmp_path)


def test_json_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text('{"fps": 30}')
    with pytest.raises(AnchorError, match="holds a list of 1, which is no motion"):
        read_motion(tmp_path, ReadOptions(fps=25))


def test_a_folder_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1.json").write_text("[" + "1," * 1000 + "1]")
    monkeypatch.setattr(folder, "_MAX_BYTES", 1000)
    with pytest.raises(AnchorError, match="holds 0 MB and the limit is 0 MB: give one clip"):
        read_motion(tmp_path)
