"""`bench`: speed beside the published loop, memory against length, prices of presets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .progress import step_bar

PARTS = ("loop", "memory", "presets", "render", "ranks", "all")
PROFILES = ("auto", "cpu-tiny", "cpu-small", "gpu-sd15")


def add_commands(commands: Any) -> None:
    """Register `bench`."""
    bench = commands.add_parser(
        "bench", help="time and memory of rendering, beside a plain version of the published loop"
    )
    bench.add_argument(
        "--what",
        choices=PARTS,
        default="loop",
        help="loop: the sampler beside the published loop; memory: whole renders of several lengths; presets:"
        " quality and speed of each; render: meshes; ranks: two processes and one (default loop)",
    )
    bench.add_argument(
        "--profile",
        choices=PROFILES,
        default="auto",
        help="networks of the loop; gpu-sd15 needs a GPU (default: that, or cpu-tiny without one)",
    )
    bench.add_argument(
        "--out",
        type=Path,
        default=Path("out/bench"),
        metavar="FOLDER",
        help="for bench.md, bench.json and pictures (default out/bench)",
    )
    loop = bench.add_argument_group("the sampler")
    loop.add_argument("--frames", type=int, metavar="N", help="length of the clip (default: the profile's)")
    loop.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: the profile's)")
    loop.add_argument("--repeats", type=int, metavar="N", help="times that each way is timed")
    loop.add_argument("--compile", action="store_true", help="also by torch.compile, which takes minutes")
    _add_memory(bench.add_argument_group("memory"))
    presets = bench.add_argument_group("presets")
    presets.add_argument(
        "--landmarks", type=Path, metavar="ONNX", help="DWPose, instead of a detector of our own"
    )
    presets.add_argument("--i3d", type=Path, metavar="FILE", help="I3D, for the FVD")
    bench.set_defaults(run=run)


def _add_memory(memory: Any) -> None:
    memory.add_argument(
        "--scale",
        choices=("quick", "full"),
        default="quick",
        help="quick: 100, 300 and 1000 frames; full: 300, 1000 and 3000 (default quick)",
    )
    memory.add_argument(
        "--lengths", type=int, nargs="+", default=(), metavar="N", help="frames of each render instead"
    )
    memory.add_argument(
        "--memory-steps",
        type=int,
        default=2,
        metavar="N",
        help="denoising steps of these renders, which do not change their memory (default 2)",
    )
    memory.add_argument("--no-face", action="store_true", help="without the face pass")


def run(args: argparse.Namespace) -> None:
    """Measure, print the tables and write them."""
    from ..evaluation.speed.bench import BenchOptions, run_bench

    options = BenchOptions(
        args.out,
        profile=args.profile,
        frames=args.frames,
        steps=args.steps,
        repeats=args.repeats,
        compiled=args.compile,
        scale=args.scale,
        lengths=tuple(args.lengths),
        memory_steps=args.memory_steps,
        face=not args.no_face,
        landmarks=args.landmarks,
        i3d=args.i3d,
    )
    run_bench(args.what, options, step_bar)
