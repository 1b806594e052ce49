"""How fast meshes are drawn: the stand-in in the motion that ships, at 512 x 512, by each renderer here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from ...ahead import worker_count
from ...body.model import standin_body
from ...errors import AnchorError
from ...files import ASSETS
from ...motion.motion import Motion
from ...motion.read import read_motion
from ...progress import StepFactory
from ...render.mesh import Backend
from ...render.motion import fit_camera, render_chunks
from .timing import one_thread

COLUMNS = (("frames a second", 1), ("CPU ms a frame", 1), ("times one worker", 2))
_SIZE = (512, 512)
_FRAMES, _REPEATS = 32, 3


@dataclass(frozen=True)
class RenderRow:
    """The best of some repeats. per_second: frames in wall time, which other programs on the machine make
    less of. cpu_ms: of all threads. against_one: wall time of one worker over this one's."""

    name: str
    per_second: float
    cpu_ms: float
    against_one: float


def measure_rendering(step: StepFactory, frames: int = _FRAMES, repeats: int = _REPEATS) -> list[RenderRow]:
    """Rows of the torch renderer with one worker and with as many as are chosen by default, and of pyrender
    where it is installed; taken in turns."""
    motion = read_motion(ASSETS / "demo_motion.npz").sliced(0, frames)
    ways: dict[str, tuple[Backend, int]] = {"torch, 1 worker": ("torch", 1)}
    if worker_count() > 1:
        ways[f"torch, {worker_count()} workers"] = ("torch", worker_count())
    if _draws(motion.sliced(0, 1), "pyrender"):
        ways["pyrender"] = ("pyrender", 1)
    best = dict.fromkeys(ways, (inf, inf))
    with step("drawing meshes", " runs") as bar:
        for done in range(repeats * len(ways)):
            name = list(ways)[done % len(ways)]
            best[name] = min(best[name], _timed(motion, *ways[name]))
            bar(done + 1, repeats * len(ways), None)
    one = next(iter(best.values()))[0]
    return [
        RenderRow(name, len(motion) / wall, 1000 * cpu / len(motion), one / wall)
        for name, (wall, cpu) in best.items()
    ]


def _draws(motion: Motion, backend: Backend) -> bool:
    try:
        _timed(motion, backend, 1)
    except AnchorError:
        return False
    return True


def _timed(motion: Motion, backend: Backend, workers: int) -> tuple[float, float]:
    """Wall and CPU seconds. One worker is one thread: torch's own would spin while they wait."""
    body, camera = standin_body(), fit_camera(motion.camera, _SIZE)

    def draw() -> None:
        for _ in render_chunks(motion, body, camera, backend=backend, workers=workers):
            pass

    if workers > 1:
        return _seconds(draw)
    with one_thread():
        return _seconds(draw)


def _seconds(run: Callable[[], None]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu
