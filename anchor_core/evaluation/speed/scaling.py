"""How much faster several processes make a clip whose windows they share, on the CPU of this machine.

A process's own processor time tells what it would take on a core of its own; wall time tells that only where
there are as many idle cores as processes.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...errors import AnchorError
from ...progress import StepFactory, silent_step
from ...sampling.ranks import Ranks, ranks_from_environment
from ...sampling.sampler import sample
from ...sampling.schedulers import STABLE_DIFFUSION
from ..tables import Columns
from .profiles import PROFILES, make_network, make_problem
from .timing import one_thread

_FRAMES, _STEPS, _REPEATS = 76, 4, 3  # six windows of 16 frames
_OUT_OF_TIME_S = 3600

COLUMNS: Columns = (
    ("windows of the slowest", 0),
    ("CPU s of the slowest", 2),
    ("times faster by CPU", 2),
    ("wall s", 2),
    ("times faster by wall", 2),
    ("largest difference of latents × 10⁶", 3),
)


@dataclass(frozen=True)
class Row:
    """One number of processes; see COLUMNS."""

    name: str
    windows: int
    cpu_s: float
    by_cpu: float
    wall_s: float
    by_wall: float
    difference: float


class _Run(NamedTuple):
    """What a process reports: least seconds of several runs; latents of the main one."""

    windows: int
    cpu_s: float
    wall_s: float
    latents: Tensor | None


def measure_scaling(
    processes: Sequence[int] = (1, 2),
    frames: int = _FRAMES,
    steps: int = _STEPS,
    repeats: int = _REPEATS,
    step: StepFactory = silent_step,
) -> list[Row]:
    """A row for each number of processes, the first compared with all; each process has one thread.

    Networks of the profile cpu-tiny. Raises AnchorError where a process ends before it has measured.
    """
    measured = []
    with step("processes that share a clip", " runs") as bar:
        for count in processes:
            measured.append(_measure(count, (frames, steps, repeats)))
            bar(len(measured), len(processes), None)
    return [_row(count, runs, measured[0]) for count, runs in zip(processes, measured, strict=True)]


def _row(count: int, runs: Sequence[_Run], first: Sequence[_Run]) -> Row:
    cpu_s, wall_s = (max(getattr(run, name) for run in runs) for name in ("cpu_s", "wall_s"))
    first_cpu_s, first_wall_s = (max(getattr(run, name) for run in first) for name in ("cpu_s", "wall_s"))
    ours, wanted = runs[0].latents, first[0].latents
    assert ours is not None
    assert wanted is not None
    difference = 1e6 * (ours - wanted).abs().max().item()
    name = "1 process" if count == 1 else f"{count} processes"
    windows = max(run.windows for run in runs)
    return Row(name, windows, cpu_s, first_cpu_s / cpu_s, wall_s, first_wall_s / wall_s, difference)


def _measure(count: int, clip: tuple[int, int, int]) -> list[_Run]:
    """Runs of all processes, the main one's first. clip: frames, steps, repeats."""
    context, port = get_context("spawn"), _free_port()
    lines, processes = [], []
    for rank in range(count):
        ours, theirs = context.Pipe(duplex=False)
        variables = {"WORLD_SIZE": count, "RANK": rank, "LOCAL_RANK": rank, "MASTER_PORT": port}
        processes.append(context.Process(target=_live, args=(theirs, variables, clip)))
        processes[-1].start()
        theirs.close()
        lines.append(ours)
    try:
        runs = [_received(line) for line in lines]
        for process in processes:
            process.join()
        return runs
    finally:
        for process in processes:
            process.kill()
            process.join()


def _received(line: Any) -> _Run:
    try:
        if line.poll(_OUT_OF_TIME_S):
            windows, cpu_s, wall_s, latents = line.recv()
            return _Run(windows, cpu_s, wall_s, None if latents is None else torch.from_numpy(latents))
    except EOFError:
        pass
    raise AnchorError("a process that shares a clip ended before it had measured; see what it said above")


def _live(line: Any, variables: Mapping[str, object], clip: tuple[int, int, int]) -> None:
    """One of the processes: what it measured goes into `line`, as plain values."""
    os.environ.update({name: str(value) for name, value in variables.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    with one_thread(), ranks_from_environment() as ranks:
        run = _run(ranks, clip)
        latents = run.latents.numpy() if run.latents is not None else None
        line.send((run.windows, run.cpu_s, run.wall_s, latents))


def _run(ranks: Ranks | None, clip: tuple[int, int, int]) -> _Run:
    (frames, steps, repeats), profile = clip, PROFILES["cpu-tiny"]
    network, problem = make_network(profile), make_problem(profile, frames=frames)
    settings = replace(problem.settings, steps=steps, schedule="static")
    seen, cpu_s, wall_s = [0], [], []
    for _ in range(repeats):
        if ranks is not None:
            ranks.barrier("the start")
        cpu, wall = time.process_time(), time.perf_counter()
        latents = sample(
            network,
            problem.conditioning,
            settings,
            STABLE_DIFFUSION,
            noise=problem.noise,
            ranks=ranks,
            callback=lambda _step, _window, _steps, windows, _preview: seen.append(windows),
        )
        cpu_s.append(time.process_time() - cpu)
        wall_s.append(time.perf_counter() - wall)
    return _Run(max(seen), min(cpu_s), min(wall_s), latents if ranks is None or ranks.main else None)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
