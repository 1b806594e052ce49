"""Memory of whole renders, from a motion to a video file, against their length.

Each length is rendered with the shipped anchor by the command line, in a process of its own that is watched
from outside. What a render holds for every frame is the slope between the shortest and the longest.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

from ...errors import AnchorError
from ...progress import StepFactory, silent_step
from ..tables import Columns
from .curve import Line, draw_lines
from .watching import Watched, watch

SCALES: dict[str, tuple[int, ...]] = {"quick": (100, 300, 1000), "full": (300, 1000, 3000)}
CURVE = "memory.png"
COLUMNS: Columns = (
    ("frames", 0),
    ("peak MB", 0),
    ("KB a frame more", 1),
    ("minutes", 1),
    ("MB of the render's folder", 1),
)
_FPS, _SEED = 30.0, 0


@dataclass(frozen=True)
class MemoryRow:
    """One length. peak_mb: most memory of the process (10^6 bytes). slope_kb: per frame more than the
    shortest length (10^3 bytes), nan for that itself. minutes: of the clock. folder_mb: on disk at the end.
    """

    name: str
    frames: int
    peak_mb: float
    slope_kb: float
    minutes: float
    folder_mb: float


def bench_memory(
    out: Path, lengths: Sequence[int], *, steps: int = 2, face: bool = True, step: StepFactory = silent_step
) -> list[MemoryRow]:
    """Render clips of these lengths, and draw their memory over time into out/memory.png.

    steps: of the body pass, the face pass takes as many: memory does not depend on them. Raises AnchorError
    where a render fails, or the system does not tell the memory of processes.
    """
    out.mkdir(parents=True, exist_ok=True)
    lengths = sorted(lengths)
    rows: list[MemoryRow] = []
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(dir=out) as name, step("rendering", " lengths") as bar:
        for number, frames in enumerate(lengths, 1):
            seen, folder_mb = _render(Path(name), frames, steps, face)
            rows.append(_row(frames, seen, folder_mb, rows))
            lines.append(Line(f"{frames} frames", _shares(seen)))
            bar(number, len(lengths), None)
            draw_lines(out / CURVE, lines, "share of the render's time, %", "MB")
    return rows


def _render(folder: Path, frames: int, steps: int, face: bool) -> tuple[Watched, float]:
    """What was seen of the process, and the MB of its folder."""
    from ...demo.gestures import make_motion
    from ...motion.file import save_motion

    motion, state = folder / f"{frames}.npz", folder / f"{frames}.render"
    save_motion(make_motion(_SEED, frames, _FPS), motion)
    command = [sys.executable, "-m", "anchor_core", "demo", "--motion", str(motion), "--silent"]
    command += ["--steps", str(steps), "--face-steps", str(steps), "--face", "on" if face else "off"]
    command += ["--out", str(folder / f"{frames}.mp4"), "--state", str(state), "--keep-state"]
    seen = watch([*command, "--device", "cpu"], folder / f"{frames}.log", own_environment())
    if not seen.samples:
        raise AnchorError(
            "the system does not tell how much memory a process holds: install psutil (pip install psutil)"
        )
    size = sum(path.stat().st_size for path in state.rglob("*") if path.is_file())
    return seen, size / 1e6


def own_environment() -> dict[str, str]:
    """Of a process with this package on its path, and one thread."""
    package = Path(__file__).resolve().parents[3]
    paths = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def _row(frames: int, seen: Watched, folder_mb: float, before: Sequence[MemoryRow]) -> MemoryRow:
    slope = nan
    if before:
        slope = 1000 * (seen.peak / 1e6 - before[0].peak_mb) / (frames - before[0].frames)
    return MemoryRow(f"{frames} frames", frames, seen.peak / 1e6, slope, seen.seconds / 60, folder_mb)


def _shares(seen: Watched) -> list[tuple[float, float]]:
    """(per cent of the time, MB)."""
    return [(100 * seconds / seen.seconds, held / 1e6) for seconds, held in seen.samples]
