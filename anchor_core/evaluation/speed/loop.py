"""Our sampler against the published loop: equal first, then timed side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, nan

import torch

from ...errors import AnchorError
from ...progress import StepFactory, silent_step
from ...sampling.sampler import SamplerSettings
from ...sampling.windows import plan_windows
from ..tables import Columns
from .counting import Arithmetic, counted, peak_of
from .profiles import PROFILES, Problem, Profile, make_network, make_problem, small_problem
from .timing import Machine, Timing, measure_in_turns, measure_machine, one_thread
from .ways import PUBLISHED, Way, default_way, exact_ways

TOLERANCE = 1e-5
"""Of the gate: relative difference to the published loop."""

COLUMNS: Columns = (
    ("s", 2),
    ("spread", 2),
    ("times the published loop", 2),
    ("ms a window", 1),
    ("frames a second", 2),
    ("peak MB", 0),
    ("GFLOP", 1),
    ("of matmul peak", 2),
    ("of the ideal", 2),
    ("difference", 7),
)


@dataclass(frozen=True)
class LoopRow:
    """One way to make the clip.

    seconds: least of all runs; spread: how far above it the median lies. ratio: how many times as fast as
    the published loop with SDPA. window_ms: per window and step. fps: frames of the clip per second. peak_mb:
    most memory beside the weights (10^6 bytes). gflop: arithmetic done. utilisation: its speed as a share of
    the measured matmul peak. ideal: the least time that the published arithmetic could take, over the time.
    difference: relative, to the published loop, in the type of the networks.
    """

    name: str
    seconds: float
    spread: float
    ratio: float
    window_ms: float
    fps: float
    peak_mb: float
    gflop: float
    utilisation: float
    ideal: float
    difference: float


@dataclass(frozen=True)
class _Trial:
    """What one run of a way gave and took, before any is timed."""

    latents: torch.Tensor
    peak: float
    arithmetic: Arithmetic


def bench_loop(
    profile: Profile, step: StepFactory = silent_step, compiled: bool = False
) -> tuple[list[LoopRow], list[LoopRow], Machine]:
    """Rows of the clip, rows of the whole clip that the profile names (none on the CPU), and the machine.

    compiled: with a row for torch.compile. Raises AnchorError, and times nothing, where an exact way is not
    equal to the published loop.
    """
    device = torch.device(profile.device)
    with one_thread():
        check_equal(profile, step, compiled)
        machine = measure_machine(device, profile.dtype)
        network = make_network(profile)
        ways = [*exact_ways(network, profile.as_written, compiled), default_way(network)]
        rows = time_ways(ways, make_problem(profile), machine, step)
        whole = _whole(ways, profile, machine, step)
    return rows, whole, machine


def check_equal(
    profile: Profile, step: StepFactory = silent_step, compiled: bool = False
) -> dict[str, float]:
    """Relative differences to the published loop on a small clip; AnchorError where one is too large.

    On the profile's device, with the smallest networks: in double precision on the CPU, where only the
    sampler's own sums are rounded to single; in single on a GPU.
    """
    dtype = torch.float64 if profile.device == "cpu" else torch.float32
    exact = replace(PROFILES["cpu-tiny"], device=profile.device, dtype=dtype)
    problem, (published, *ours) = small_problem(exact), exact_ways(make_network(exact), compiled=compiled)
    differences: dict[str, float] = {}
    # Convolutions that round to 10 bits, which torch allows itself on GPUs, would hide what is asked.
    full = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with step("equal to the published loop?", " ways") as bar, full:
        wanted = published.run(problem)
        for way in ours:
            differences[way.name] = value = difference(way.run(problem), wanted)
            if not value < TOLERANCE:
                raise AnchorError(
                    f"'{way.name}' differs from the published loop by {value:.1e} and may by {TOLERANCE:.0e}:"
                    " nothing is timed before the sampler is right again"
                )
            bar(len(differences), len(ours), None)
    return differences


def difference(value: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative, in the Euclidean norm; infinite where numbers are not finite."""
    error = float((value.double() - wanted.double()).norm() / wanted.double().norm())
    return error if error == error else inf


def time_ways(
    ways: Sequence[Way], problem: Problem, machine: Machine, step: StepFactory, repeats: int | None = None
) -> list[LoopRow]:
    """Every way tried once, which counts and warms up, then all in turns."""
    device = torch.device(problem.profile.device)
    repeats = repeats or problem.profile.repeats
    trials: dict[str, _Trial] = {}
    with step("warming up and counting", " ways") as bar:
        for number, way in enumerate(ways, 1):
            trials[way.name] = _try(partial(way.run, problem), device)
            bar(number, len(ways), None)
    with step("timing", " runs") as bar:
        runs = {way.name: partial(way.run, problem) for way in ways}
        timings = measure_in_turns(runs, repeats, device, lambda done, total: bar(done, total, None))
    return [_row(way, timings, trials, problem, machine) for way in ways]


def _try(run: Callable[[], torch.Tensor], device: torch.device) -> _Trial:
    with counted() as arithmetic:
        latents, peak = peak_of(run, device)
    return _Trial(latents, peak, arithmetic)


def _row(
    way: Way, timings: dict[str, Timing], trials: dict[str, _Trial], problem: Problem, machine: Machine
) -> LoopRow:
    timing, trial, published = timings[way.name], trials[way.name], trials[PUBLISHED]
    settings, frames = problem.settings, len(problem.pose)
    windows = settings.steps * len(
        plan_windows(frames, settings.window_size, settings.overlap, settings.schedule)
    )
    return LoopRow(
        way.name,
        seconds=timing.best,
        spread=timing.spread,
        ratio=timings[PUBLISHED].best / timing.best,
        window_ms=1000 * timing.best / windows,
        fps=frames / timing.best,
        peak_mb=trial.peak / 1e6,
        gflop=trial.arithmetic.flops / 1e9,
        utilisation=trial.arithmetic.flops / timing.best / machine.matmul_flops,
        ideal=ideal_seconds(published.arithmetic, machine) / timing.best,
        difference=difference(trial.latents, published.latents) if way.exact else nan,
    )


def ideal_seconds(arithmetic: Arithmetic, machine: Machine) -> float:
    """The least time that a machine can take: all multiplications at its peak, those of attention beside the
    exponentials of its scores, whichever of the two takes longer."""
    attention = arithmetic.attention / machine.matmul_flops
    exponentials = arithmetic.exponentials / machine.exponentials
    rest = (arithmetic.flops - arithmetic.attention) / machine.matmul_flops
    return rest + max(attention, exponentials)


def _whole(ways: Sequence[Way], profile: Profile, machine: Machine, step: StepFactory) -> list[LoopRow]:
    """The published loop and the default on a long clip, once each."""
    if profile.whole is None:
        return []
    frames, steps = profile.whole
    long = replace(profile, frames=frames, steps=steps, overlap=SamplerSettings().overlap)
    chosen = [way for way in ways if way.name == PUBLISHED or way is ways[-1]]
    return time_ways(chosen, make_problem(long, shared=True), machine, step, repeats=1)
