"""The benchmark of reading and editing: that it runs, names its steps and measures this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anchor_core.cli.main import main
from anchor_core.demo.gestures import make_motion
from anchor_core.errors import AnchorError
from anchor_core.evaluation import motion_bench
from anchor_core.motion.edits.hands import in_convention
from anchor_core.motion.file import save_motion
from anchor_core.motion.read import read_motion


def test_the_table_names_every_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setattr(motion_bench, "_FRAMES", 10)
    monkeypatch.setattr(motion_bench, "_long_motion", lambda _: "long")
    save_motion(make_motion(1, 7), tmp_path / "mine.npz")
    assert main(["bench-motion", "--runs", "1", "--motion", str(tmp_path / "mine.npz")]) == 0
    printed = capsys.readouterr().out
    for step in (
        "read our .npz, 10",
        "read TalkSHOW",
        "read mine.npz, 7",
        "resample to 25",
        "One-Euro",
        "retarget",
    ):
        assert step in printed
    assert "| retarget |" in printed
    assert printed.endswith("long\n")


def test_the_long_motion_is_measured_in_its_own_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(motion_bench, "_LONG_FRAMES", 60)
    sentence = motion_bench._long_motion(tmp_path)
    assert sentence.startswith("60 frames with 2 s of sound: read in")
    assert "peak memory" in sentence


def test_the_talkshow_file_is_one(tmp_path: Path) -> None:
    motion = make_motion(2, 5, 30.0)
    np.save(tmp_path / "a.npy", motion_bench._talkshow(motion))
    again = in_convention(read_motion(tmp_path / "a.npy"), "absolute")
    np.testing.assert_allclose(again.pose[:, 12:], motion.pose[:, 12:], atol=1e-6)


def test_memory_is_that_of_this_process() -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("only Linux says what a process holds now")
    held = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    assert 0.9 * held <= motion_bench.peak_memory_mb() < 1e5


def test_no_runs_are_refused() -> None:
    with pytest.raises(AnchorError, match="The number of runs is 0: give 1 or more"):
        motion_bench.bench_motion(runs=0)
