"""Memory of renders, seen from outside: what a process held, what is refused, what is drawn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from anchor_core.errors import AnchorError
from anchor_core.evaluation.speed import bench, memory, watching
from anchor_core.evaluation.speed.curve import Line, draw_lines
from anchor_core.evaluation.speed.watching import Watched, watch

HOLD = "import time; data = bytearray(60_000_000); data[::1000] = b'x' * 60_000; del data; time.sleep(0.6)"
needs_numbers = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not tell the peak of other processes"
)


@needs_numbers
def test_a_peak_between_two_looks_is_seen(tmp_path: Path) -> None:
    seen = watch([sys.executable, "-c", HOLD], tmp_path / "log", {})
    assert 60e6 < seen.peak < 200e6
    assert seen.samples[-1][1] < seen.peak  # it had given it back
    assert seen.seconds > 0.6


@needs_numbers
def test_children_count(tmp_path: Path) -> None:
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"
    assert watch([sys.executable, "-c", parent], tmp_path / "log", {}).peak > 65e6


def test_a_command_that_fails_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"failed \(no such motion\); its words are in .*log"):
        watch([sys.executable, "-c", "import sys; sys.exit('no such motion')"], tmp_path / "log", {})


def test_an_interrupted_watch_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def interrupt(pid: int, *_: object) -> None:
        started.append(pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "_look", interrupt)
    with pytest.raises(KeyboardInterrupt):
        watch([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", {})
    assert not Path(f"/proc/{started[0]}").exists()


def test_rows_tell_what_each_further_frame_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[tuple[int, int, bool]] = []

    def render(folder: Path, frames: int, steps: int, face: bool) -> tuple[Watched, float]:
        rendered.append((frames, steps, face))
        peak = 500e6 + 30e3 * frames
        return Watched([(0.0, 1e6), (1.0, peak)], peak, 60.0), 12.0

    monkeypatch.setattr(memory, "_render", render)
    options = bench.BenchOptions(tmp_path, lengths=(300, 100), memory_steps=1, face=False)
    part = bench.measure_memory(options, bench.silent_step)
    assert rendered == [(100, 1, False), (300, 1, False)]
    assert "| 300 frames | 300 | 509 | 30.0 | 1.0 | 12.0 |" in part.text
    assert part.facts["rows"][0]["slope_kb"] is None
    assert Image.open(tmp_path / memory.CURVE).size == (960, 540)


def test_a_system_that_tells_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "watch", lambda *_: Watched())
    with pytest.raises(AnchorError, match=r"does not tell how much memory a process holds: install psutil"):
        memory.bench_memory(tmp_path, [4])


def test_unknown_scales_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"the scale is 'huge': need quick or full"):
        bench.measure_memory(bench.BenchOptions(tmp_path, scale="huge"), bench.silent_step)


def test_lines_are_drawn_in_their_colours(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    draw_lines(path, [Line("a", [(0, 1), (10, 1)]), Line("none", []), Line("b", [(0, 3), (10, 3)])], "x", "y")
    colours = {colour for _, colour in Image.open(path).getcolors(100_000)}
    assert {(0, 114, 178), (213, 94, 0)} <= colours
    assert (0, 158, 115) not in colours
