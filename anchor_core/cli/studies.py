"""`train-demo`, `benchmark`, `benchmark-method`, `bench-motion`: the shipped anchor from nothing, what each
ingredient is worth, the paper's ablations, and how fast motions are read and edited."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import DEMO_ANCHOR
from .progress import step_bar


def add_commands(commands: Any) -> None:
    """Register `train-demo`, `benchmark`, `benchmark-method` and `bench-motion`."""
    train = commands.add_parser("train-demo", help="dress, film and train the demo anchor from nothing")
    train.add_argument(
        "--out", type=Path, default=Path("out/demo"), metavar="FOLDER", help="(default out/demo)"
    )
    train.add_argument("--seed", type=int, default=0, help="of pictures, noise and weights (default 0)")
    train.add_argument(
        "--quick", action="store_true", help="a minute instead of an hour: only to see that it runs"
    )
    train.set_defaults(run=run_train)
    bench = commands.add_parser(
        "benchmark", help="PSNR, SSIM and flicker of each ingredient of body and face on held-out motion"
    )
    bench.add_argument(
        "--anchor", type=Path, default=DEMO_ANCHOR, metavar="FILE", help="(default: what ships)"
    )
    bench.add_argument("--frames", type=int, default=48, help="length of the held-out clip (default 48)")
    bench.add_argument(
        "--stage",
        choices=("body", "face", "all"),
        default="all",
        help="what to measure; all leaves the face out where the anchor has none (default all)",
    )
    bench.add_argument("--out", type=Path, metavar="JSON", help="write the numbers there too")
    bench.set_defaults(run=run_benchmark)
    _add_method(commands)
    speed = commands.add_parser(
        "bench-motion", help="time of reading, resampling, filters and retargeting; memory of ten minutes"
    )
    speed.add_argument(
        "--motion", type=Path, nargs="*", default=[], metavar="FILE", help="time reading these too"
    )
    speed.add_argument("--fps", type=float, metavar="N", help="of files that do not say it")
    speed.add_argument("--runs", type=int, default=9, help="the median of so many (default 9)")
    speed.set_defaults(run=run_bench_motion)


def _add_method(commands: Any) -> None:
    method = commands.add_parser(
        "benchmark-method",
        help="the paper's ablations, trained and measured on synthetic people, beside its own order",
    )
    method.add_argument(
        "--scale",
        choices=("quick", "full"),
        default="quick",
        help="quick: within an hour on two cores; full: for a GPU (default quick)",
    )
    method.add_argument(
        "--out",
        type=Path,
        default=Path("out/method"),
        metavar="FOLDER",
        help="films, networks and results; a run that was stopped goes on there (default out/method)",
    )
    method.add_argument("--seed", type=int, default=0, help="of pictures, noise and weights (default 0)")
    method.add_argument("--device", metavar="NAME", help="cpu, cuda, ... (default: quick cpu, full cuda)")
    method.add_argument("--workers", type=int, metavar="N", help="processes (default: quick 2, full 1)")
    method.set_defaults(run=run_method)


def run_train(args: argparse.Namespace) -> None:
    """Reproduce the shipped anchor."""
    from ..demo.recipe import train_demo_anchor

    path = train_demo_anchor(args.out, seed=args.seed, quick=args.quick, step=step_bar)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def run_benchmark(args: argparse.Namespace) -> None:
    """Print the tables."""
    from ..evaluation.benchmark import benchmark_demo

    text = benchmark_demo(args.anchor, n_frames=args.frames, out=args.out, step=step_bar, stage=args.stage)
    print(text)


def run_method(args: argparse.Namespace) -> None:
    """Print the tables."""
    from dataclasses import replace

    from ..evaluation.method.bench import benchmark_method
    from ..evaluation.method.scale import SCALES, on_device

    scale = SCALES[args.scale]
    if args.device:
        scale = on_device(scale, args.device)
    if args.workers is not None:
        scale = replace(scale, workers=args.workers)
    print(benchmark_method(args.out, scale, args.seed, step=step_bar))


def run_bench_motion(args: argparse.Namespace) -> None:
    """Print the times and the memory."""
    from ..evaluation.motion_bench import bench_motion

    print(bench_motion(args.motion, args.fps, args.runs))
