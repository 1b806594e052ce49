"""`train`: an anchor from a dataset and a configuration; also under `accelerate launch`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnchorError
from .progress import step_bar

if TYPE_CHECKING:
    from ..training.job import TrainingJob
    from ..training.report import StepReport

PRESETS = ("published", "40gb", "24gb", "16gb", "12gb", "demo")
"""Of `training.presets`, which is not imported for --help."""
EPILOG = """\
The same command goes on where a training was stopped. Several GPUs or machines:
  accelerate launch -m anchor_core train CONFIG.toml
"""


def add_commands(commands: Any) -> None:
    """Register `train`."""
    train = commands.add_parser(
        "train",
        help="train an anchor on a prepared dataset",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument("config", type=Path, nargs="?", metavar="CONFIG.toml", help="what to train, and how")
    train.add_argument(
        "--preset", choices=PRESETS, help="settings for a size of card, below what the file says"
    )
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="instead of what the file says, as --set train.steps=300 (may be repeated)",
    )
    train.add_argument(
        "--dry-run", action="store_true", help="check settings and data, say what memory it takes, and stop"
    )
    train.add_argument(
        "--write-config", type=Path, metavar="FILE", help="write a commented configuration and stop"
    )
    train.add_argument("--stage", choices=("body", "face"), default="body", help="of --write-config")
    train.add_argument(
        "--mode", choices=("finetune", "pretrain"), default="finetune", help="of --write-config"
    )
    train.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write a configuration, check one, or train."""
    from ..training.job import read_job

    if args.write_config is not None:
        _write(args)
        return
    if args.config is None:
        raise AnchorError("no configuration was named; give a .toml file, or --write-config FILE to get one")
    job = read_job(args.config, args.preset, args.set)
    if args.dry_run:
        from ..training.memory import dry_run

        print(dry_run(job))
        return
    _train(job)


def _write(args: argparse.Namespace) -> None:
    from ..training.presets import write_config

    write_config(args.write_config, args.preset or "", args.stage, args.mode)
    print(f"{args.write_config}: name dataset, start and person in it, then: train {args.write_config}")


def _train(job: TrainingJob) -> None:
    from ..training.checkpoint import CHECKPOINT
    from ..training.run import run_job

    if (job.folder / CHECKPOINT).is_file():
        print(f"{job.folder}: going on from its checkpoint", file=sys.stderr)
    try:
        path = run_job(job, step_bar, _say)
    except KeyboardInterrupt:
        if any(job.folder.glob("checkpoint*")):
            print(f"\nthe same command goes on from the checkpoint in {job.folder}", file=sys.stderr)
        raise
    if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _say(report: StepReport) -> None:
    """One line per report, above the bar."""
    from tqdm import tqdm

    from ..training.monitor import time_left

    left = time_left(report.seconds_left)
    tqdm.write(f"step {report.step} of {report.steps}: loss {report.loss:.4f}, {left}", file=sys.stderr)
