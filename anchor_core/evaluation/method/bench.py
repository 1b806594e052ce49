"""Runs the benchmark that proves the method, from filming to the table.

    python -m anchor_core benchmark-method --scale quick --out out/method

    film        many people, the test people, held-out clips        (world)
    runs        the VAE, then every training that is compared       (runs)
    points      the detector of landmarks                           (points)
    rows        every row of the table on every held-out clip       (measure)
    results.json, table.md                                          (report)

Each stage is skipped when its result is there, and goes on where it was stopped otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...progress import Progress, StepFactory, silent_step
from .measure import RESULTS, Bench
from .points import all_points, load_detector, seeded_config, train_detector
from .report import write_report
from .rows import ROWS, MethodRow
from .runs import RUNS, Run, load_vae, plan_runs, train_autoencoder, train_run
from .scale import MethodScale
from .stages import RECORD, once, timed
from .world import FILMS, PEOPLE, clip_names, film_name, film_world, frames_of

POINTS = "points"


def benchmark_method(
    out: Path,
    scale: MethodScale,
    seed: int = 0,
    rows: Sequence[MethodRow] = ROWS,
    step: StepFactory | None = None,
) -> str:
    """Run or finish the benchmark in `out`; returns the table, which lies there too.

    Training runs that do not need each other share `scale.workers` processes of one thread each.
    """
    step = step or silent_step
    film_world(out, scale, seed, step)
    train_autoencoder(out, scale, seed, step)
    for level in plan_runs(scale):
        train_level(out, scale, seed, level, step)
    measure_rows(out, scale, seed, rows, train_points(out, scale, seed, step), step)
    return write_report(out, scale, seed, rows)


def train_level(out: Path, scale: MethodScale, seed: int, runs: Sequence[Run], step: StepFactory) -> None:
    """The runs of a level, one after the other or in several processes."""
    wanted = [run for run in runs if not (out / RUNS / run.name / RECORD).is_file()]
    if scale.workers == 1 or len(wanted) < 2:
        for run in wanted:
            with step(f"training {run.name}", " steps") as bar:
                train_run(out, scale, seed, run, bar)
        return
    with step(f"training {', '.join(run.name for run in wanted)}", " runs") as bar:
        _in_processes(train_run, [(out, scale, seed, run) for run in wanted], scale.workers, bar)


def measure_rows(
    out: Path, scale: MethodScale, seed: int, rows: Sequence[MethodRow], detector: Path, step: StepFactory
) -> None:
    """Every row on every clip, clips one after the other or in several processes."""
    jobs = [(out, scale, seed, detector, rows, *clip) for clip in clip_names(scale)]
    if scale.workers == 1 or len(jobs) < 2:
        for job in jobs:
            measure_clip(*job, step=step)
        return
    with step("measuring", " clips") as bar:
        _in_processes(measure_clip, jobs, scale.workers, bar)


def measure_clip(
    out: Path,
    scale: MethodScale,
    seed: int,
    detector: Path,
    rows: Sequence[MethodRow],
    person: int,
    number: int,
    step: StepFactory = silent_step,
) -> None:
    """Every row on one clip; its time stands in the clip's own record."""
    bench = Bench(out, scale, seed, load_detector(detector, scale.device), step)
    if bench.missing(rows, person, number):
        folder = out / RESULTS / f"{person}_{number}"
        timed(folder, partial(bench.measure_clip, rows, person, number))


def train_points(out: Path, scale: MethodScale, seed: int, step: StepFactory) -> Path:
    """The detector of landmarks, on the films of everybody."""
    folder, names = out / POINTS, [PEOPLE, *(film_name(person) for person in scale.anchor_ids)]

    def make() -> None:
        frames = np.concatenate([frames_of(out, name).target for name in names])
        points = all_points((out / FILMS / name for name in names), scale.size)
        config = seeded_config(scale.landmarks, seed)
        with step("training the detector", " steps") as bar:
            train_detector(frames, points, load_vae(out, scale, seed), config, folder, bar)

    once(folder, make)
    return folder / "detector.safetensors"


def _one_thread() -> None:
    torch.set_num_threads(1)


def _in_processes(
    function: Callable[..., None], jobs: Sequence[tuple[Any, ...]], workers: int, progress: Progress
) -> None:
    """Call a function with each job. Spawned, not forked: the parent may hold threads of torch."""
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        waiting = [pool.submit(function, *job) for job in jobs]
        for done, future in enumerate(waiting):
            future.result()
            progress(done + 1, len(jobs), None)
