"""Frames that come back from the disk as they went there."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.video.lossless import write_lossless
from anchor_core.video.read import read_frames, read_info


def _frames(count: int, height: int = 33, width: int = 51) -> list[np.ndarray]:
    drawn = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return list(drawn)


def test_every_bit_comes_back_with_the_rate(tmp_path: Path) -> None:
    frames = _frames(5)
    assert write_lossless(tmp_path / "a.avi", iter(frames), Fraction(30000, 1001)) == 5
    info = read_info(tmp_path / "a.avi")
    assert (info.size, info.n_frames) == ((51, 33), 5)
    assert info.fps == pytest.approx(30000 / 1001)
    assert all((a == b).all() for a, b in zip(read_frames(tmp_path / "a.avi"), frames, strict=True))


def test_equal_frames_give_an_equal_file(tmp_path: Path) -> None:
    for name in ("a.avi", "b.avi"):
        write_lossless(tmp_path / name, _frames(3), Fraction(25))
    assert (tmp_path / "a.avi").read_bytes() == (tmp_path / "b.avi").read_bytes()


@pytest.mark.parametrize(
    ("frames", "words"),
    [([], "no frames"), ([*_frames(1), *_frames(1, 32)], "one size"), ([np.zeros((4, 4, 3))], "uint8")],
)
def test_what_does_not_fit_leaves_no_file(tmp_path: Path, frames: list[np.ndarray], words: str) -> None:
    with pytest.raises(AnchorError, match=words):
        write_lossless(tmp_path / "a.avi", frames, Fraction(25))
    assert list(tmp_path.iterdir()) == []
