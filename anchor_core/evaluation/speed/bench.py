"""All measurements of speed and memory: which there are, and what is printed and written of them."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import nan
from pathlib import Path
from typing import Any

import torch

from ... import __version__
from ...errors import AnchorError
from ...files import ASSETS, atomic_path, check_writable
from ...progress import StepFactory, silent_step
from ..tables import plain, table
from .loop import COLUMNS as LOOP_COLUMNS
from .loop import LoopRow, bench_loop
from .profiles import Profile, choose_profile
from .timing import Machine, device_name, keep_freed_memory

PARTS = ("loop", "memory", "presets", "render", "ranks")
TARGET = "300 frames of 512 x 512 pixels, 20 steps: at most 132 s on a GPU of the H200 class"
_GPU = "python -m anchor_core bench --what loop --profile gpu-sd15"


@dataclass(frozen=True)
class BenchOptions:
    """What is measured and how much of it.

    out: folder for the tables (bench.md), numbers (bench.json) and pictures. profile: see profiles.py;
    frames, steps, repeats: instead of its own; compiled: with a row for torch.compile. scale: "quick" or
    "full" lengths of the memory curve; lengths: instead of those; memory_steps: denoising steps of its
    renders; face: whether they have a face pass. landmarks, i3d: weights for the prices of presets.
    """

    out: Path
    profile: str = "auto"
    frames: int | None = None
    steps: int | None = None
    repeats: int | None = None
    compiled: bool = False
    scale: str = "quick"
    lengths: tuple[int, ...] = ()
    memory_steps: int = 2
    face: bool = True
    landmarks: Path | None = None
    i3d: Path | None = None


@dataclass(frozen=True)
class Part:
    """What one measurement found: Markdown, and facts that JSON can hold."""

    text: str
    facts: dict[str, Any]


def run_bench(
    what: str,
    options: BenchOptions,
    step: StepFactory = silent_step,
    say: Callable[[str], None] = print,
) -> None:
    """Measure one part, or "all"; each is said and written as soon as it is done.

    Raises AnchorError for unknown names and numbers below 1, where nothing can be written, and where our
    sampler does not equal the published loop.
    """
    if what != "all" and what not in PARTS:
        raise AnchorError(f"what to measure is {what!r}: need all or one of {', '.join(PARTS)}")
    _check(options)
    measures = {
        "loop": measure_loop,
        "memory": measure_memory,
        "presets": measure_presets,
        "render": measure_render,
        "ranks": measure_ranks,
    }
    found: dict[str, Part] = {}
    for name in PARTS if what == "all" else (what,):
        found[name] = measures[name](options, step)
        say(found[name].text + "\n")
        write_parts(options.out, found)


def _check(options: BenchOptions) -> None:
    numbers = {name: getattr(options, name) for name in ("frames", "steps", "repeats", "memory_steps")}
    numbers["lengths"] = min(options.lengths, default=None)
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise AnchorError(f"--{name.replace('_', '-')} is {value}; need 1 or more")
    check_writable(options.out / "bench.json")


def write_parts(out: Path, parts: dict[str, Part]) -> None:
    """bench.md and bench.json; parts that an earlier run wrote stay unless they are among these."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "bench.json"
    facts = _read(path)
    machine = machine_facts()
    facts |= {name: {"machine": machine, "markdown": part.text, **part.facts} for name, part in parts.items()}
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    texts = [facts[name]["markdown"] for name in PARTS if name in facts]
    with atomic_path(out / "bench.md") as partial:
        partial.write_text("\n\n".join(texts) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or none of ours
        return {}
    return {name: known[name] for name in PARTS if name in known} if isinstance(known, dict) else {}


def machine_facts() -> dict[str, Any]:
    """What the numbers were measured on and with."""
    facts: dict[str, Any] = {
        "package": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": device_name(torch.device("cpu")),
        "gpu": None,
        "date": time.strftime("%Y-%m-%d"),
    }
    if torch.cuda.is_available():
        facts |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return facts


def measure_loop(options: BenchOptions, step: StepFactory) -> Part:
    """Our sampler beside the published loop."""
    asked = {name: getattr(options, name) for name in ("frames", "steps", "repeats")}
    profile = replace(
        choose_profile(options.profile), **{name: value for name, value in asked.items() if value is not None}
    )
    keep_freed_memory()
    rows, whole, machine = bench_loop(profile, step, options.compiled)
    facts = {
        "profile": {**asdict(profile), "dtype": str(profile.dtype).removeprefix("torch.")},
        "peak": plain(machine),
        "rows": [plain(row) for row in rows],
        "whole": [plain(row) for row in whole],
    }
    return Part(loop_text(profile, rows, whole, machine), facts)


def loop_text(profile: Profile, rows: Sequence[LoopRow], whole: Sequence[LoopRow], machine: Machine) -> str:
    """The tables as Markdown; without a GPU its columns stay empty."""
    dtype = str(profile.dtype).removeprefix("torch.")
    windows = f"windows of {profile.settings.window_size}, overlap {profile.settings.overlap}"
    kind = "GPU time" if profile.device == "cuda" else "CPU time of one thread"
    lines = [
        f"### The sampler beside the published loop ({profile.name})",
        f"{machine.name}, torch {torch.__version__}, {dtype}; {profile.frames} frames of {profile.pixels} x "
        f"{profile.pixels} pixels, {windows}, {profile.steps} steps; {kind}, least of {profile.repeats} runs "
        f"in turns. Matmul peak {machine.matmul_flops / 1e9:.0f} GFLOP/s, {machine.exponentials / 1e9:.2f} "
        "thousand million exponentials a second.",
        table(rows, LOOP_COLUMNS),
    ]
    if profile.whole:
        frames, steps = profile.whole
        target = f" ({TARGET})" if profile.device == "cuda" else ""
        lines += [f"A whole clip, {frames} frames in {steps} steps{target}:", table(whole, LOOP_COLUMNS)]
    if profile.device != "cuda":
        lines.append(gpu_table(rows))
    return "\n\n".join(lines)


@dataclass(frozen=True)
class _Empty:
    """A row of the GPU's table, to be filled on a machine that has one."""

    name: str
    window_ms: float = nan
    ratio: float = nan
    peak_mb: float = nan


def gpu_table(rows: Sequence[LoopRow]) -> str:
    """The same rows for a GPU, not measured."""
    columns = (("ms a window", 1), ("times the published loop", 2), ("peak MB", 0))
    empty = [_Empty(row.name) for row in rows]
    return f"On a GPU ({_GPU}; {TARGET}):\n\n{table(empty, columns)}"


def measure_memory(options: BenchOptions, step: StepFactory) -> Part:
    """Peak memory of renders of three lengths."""
    from .memory import COLUMNS, CURVE, SCALES, bench_memory

    if options.scale not in SCALES:
        raise AnchorError(f"the scale is {options.scale!r}: need {' or '.join(SCALES)}")
    lengths = options.lengths or SCALES[options.scale]
    rows = bench_memory(options.out, lengths, steps=options.memory_steps, face=options.face, step=step)
    text = (
        f"### Memory from a motion to a video file\n\nThe demo anchor, {options.memory_steps} steps, "
        f"{'with' if options.face else 'without'} the face pass, each in a process of its own that is "
        f"watched from outside.\n\n{table(rows, COLUMNS)}\n\n{options.out / CURVE}: memory over time."
    )
    facts = {"steps": options.memory_steps, "face": options.face, "rows": [plain(row) for row in rows]}
    return Part(text, facts)


def measure_presets(options: BenchOptions, step: StepFactory) -> Part:
    """What presets and approximations cost in quality, save in time, and compute at full size."""
    from .arithmetic import arithmetic_table, count_arithmetic
    from .prices import PriceWeights, measure_prices, price_table

    weights = PriceWeights(landmarks=options.landmarks, i3d=options.i3d)
    rows = measure_prices(ASSETS / "demo_anchor.safetensors", weights=weights, out=options.out, step=step)
    counts = count_arithmetic()
    text = (
        f"### Presets and approximations, on the demo anchor\n\n{price_table(rows, weights)}\n\n"
        "Arithmetic at the size of Stable Diffusion 1.5 (300 frames, 512 x 512 pixels; counted, no "
        "times):\n\n"
        f"{arithmetic_table(counts)}"
    )
    return Part(text, {"rows": [plain(row) for row in rows], "arithmetic": [plain(row) for row in counts]})


def measure_render(options: BenchOptions, step: StepFactory) -> Part:
    """How fast meshes are drawn."""
    from .rendering import COLUMNS, measure_rendering

    rows = measure_rendering(step=step)
    text = f"### Drawing the mesh\n\n{table(rows, COLUMNS)}"
    return Part(text, {"rows": [plain(row) for row in rows]})


def measure_ranks(options: BenchOptions, step: StepFactory) -> Part:
    """One process and two that share the windows of a clip."""
    from .scaling import COLUMNS, measure_scaling

    rows = measure_scaling(step=step)
    text = f"### Processes that share a clip\n\n{table(rows, COLUMNS)}"
    return Part(text, {"rows": [plain(row) for row in rows]})
