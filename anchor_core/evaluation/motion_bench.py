"""How long reading and editing a motion takes, and how much memory ten minutes of it need.

The times are medians of several runs on one thread, of 300 frames (10 s at 30 fps) in memory; reading is from
a file that the system has at hand. The memory is the peak of a process of its own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from pathlib import Path

import numpy as np

from ..demo.gestures import make_motion
from ..errors import AnchorError
from ..motion.edits.hands import in_convention
from ..motion.edits.mirror import mirror
from ..motion.edits.plan import Edits, apply_edits
from ..motion.edits.smooth import smooth
from ..motion.edits.time import resample
from ..motion.file import save_motion
from ..motion.formats.parts import ReadOptions
from ..motion.motion import Motion
from ..motion.read import read_motion
from ..motion.retarget import retarget
from ..motion.soundtrack import Soundtrack

_FRAMES, _FPS = 300, 30.0
_LONG_FRAMES = 18_000
_SOUND_RATE = 48_000
_ALL_EDITS = Edits(
    fps=25.0,
    smoothing="one_euro",
    mirror=True,
    root="freeze",
    lower_body="sit",
    curl=0.2,
    gestures=1.2,
    hands_gain=1.2,
    mouth=1.2,
    sound_offset_s=0.1,
)


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one step, and those that it may take (nan: no limit)."""

    name: str
    median_ms: float
    limit_ms: float


def bench_motion(files: Sequence[Path] = (), fps: float | None = None, runs: int = 9) -> str:
    """Measure reading, resampling, filters and retargeting, and the memory of ten minutes; as Markdown.

    files: further motions whose reading is timed. fps: for files that do not say it. runs: how often each
    step runs after a first time that is not counted.
    """
    import torch

    if runs < 1:
        raise AnchorError(f"The number of runs is {runs}: give 1 or more.")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = [*_reading(Path(folder), files, fps, runs), *_editing(runs)]
            return f"{_table(rows)}\n\n{_long_motion(Path(folder))}"
    finally:
        torch.set_num_threads(threads)


def _reading(folder: Path, files: Sequence[Path], fps: float | None, runs: int) -> list[Timing]:
    motion = _with_sound(make_motion(0, _FRAMES, _FPS))
    save_motion(motion, folder / "motion.npz")
    np.save(folder / "motion.npy", _talkshow(motion))
    steps = {f"read our .npz, {_FRAMES} frames": partial(read_motion, folder / "motion.npz")}
    steps[f"read TalkSHOW, {_FRAMES} frames"] = partial(read_motion, folder / "motion.npy")
    for path in files:
        options = ReadOptions(fps=fps)
        length = len(read_motion(path, options))
        steps[f"read {path.name}, {length} frames"] = partial(read_motion, path, options)
    return [Timing(name, _median_ms(step, runs), 200.0) for name, step in steps.items()]


def _editing(runs: int) -> list[Timing]:
    from ..anchor.file import read_card
    from ..files import ASSETS

    motion = _with_sound(make_motion(0, _FRAMES, _FPS))
    card = read_card(ASSETS / "demo_anchor.safetensors")
    steps: dict[str, tuple[Callable[[], Motion], float]] = {
        "resample to 25 fps": (partial(resample, motion, 25.0), 50.0),
        "resample to 60 fps": (partial(resample, motion, 60.0), 50.0),
        "filter: Savitzky-Golay": (partial(smooth, motion, "savgol"), 30.0),
        "filter: One-Euro": (partial(smooth, motion, "one_euro"), 30.0),
        "retarget": (partial(retarget, motion, card), 10.0),
        "mirror": (partial(mirror, motion), nan),
        "all edits": (partial(apply_edits, motion, _ALL_EDITS), nan),
    }
    return [Timing(name, _median_ms(step, runs), limit) for name, (step, limit) in steps.items()]


def _median_ms(step: Callable[[], object], runs: int) -> float:
    step()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _table(rows: list[Timing]) -> str:
    from .tables import table

    return table(rows, (("ms", 1), ("limit, ms", 0)))


def _talkshow(motion: Motion) -> np.ndarray:
    """A motion as TalkSHOW writes it, (F, 265), with an expression at random."""
    parts = (22, 23, 24, 0, *range(1, 22), *range(25, 55))
    motion = in_convention(motion, "relative")
    expression = np.random.default_rng(0).normal(size=(len(motion), 100)).astype(np.float32)
    return np.concatenate([motion.pose[:, parts].reshape(len(motion), -1), expression], axis=1)


def _with_sound(motion: Motion) -> Motion:
    samples = np.arange(round(motion.duration_s * _SOUND_RATE), dtype=np.float32)
    return replace(motion, sound=Soundtrack(0.5 * np.sin(0.1 * samples)[None], _SOUND_RATE))


def _long_motion(folder: Path) -> str:
    """What a process of its own says that reads and edits ten minutes with sound."""
    path = folder / "long.npz"
    save_motion(_with_sound(make_motion(0, _LONG_FRAMES, _FPS)), path)
    package = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import edit_long; edit_long({str(path)!r})"],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def edit_long(path: str) -> None:
    """Read a motion, make all edits, and print how long that took and the peak memory of this process."""
    start = time.perf_counter()
    motion = read_motion(path)
    read = time.perf_counter()
    apply_edits(motion, _ALL_EDITS)
    done = time.perf_counter()
    print(
        f"{len(motion)} frames with {motion.duration_s:.0f} s of sound: read in {read - start:.1f} s, all "
        f"edits in {done - read:.1f} s, peak memory {peak_memory_mb():.0f} MB (limit 1000)"
    )


def peak_memory_mb() -> float:
    """Most memory that this process has held, in MB (10^6 bytes); nan where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux; its ru_maxrss counts the parent's memory too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts bytes
