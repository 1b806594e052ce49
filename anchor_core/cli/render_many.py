"""`render-many`: the clips of a list, on a Ray cluster or in processes of this machine."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnchorError

if TYPE_CHECKING:
    from ..farm.jobs import Job
    from ..farm.team import Team
    from ..farm.worker import Outcome


def add_commands(commands: Any) -> None:
    """Register `render-many`."""
    parser = commands.add_parser("render-many", help="make the videos of a list, several at once")
    parser.add_argument(
        "list",
        type=Path,
        metavar="JOBS.jsonl",
        help='a job a line, with the options of generate: {"anchor": "me.safetensors", "motion": "a.npy",'
        ' "out": "a.mp4"}; paths count from the list\'s folder',
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="videos at once (default: one for each GPU; without GPU 1)"
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        default=os.environ.get("RAY_ADDRESS", "off"),
        help="Ray cluster to work on; auto: the one this machine belongs to, local: start one here, off:"
        " processes of this machine (default: RAY_ADDRESS, or off)",
    )
    parser.add_argument(
        "--gpus-per-worker",
        type=float,
        metavar="X",
        help="share of a GPU that each worker gets, as 0.5, or several (default 1; without GPU 0)",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=2,
        metavar="N",
        help="times that a job goes on after its worker has died (default 2)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Film what is not finished; AnchorError if a job failed, once all have ended."""
    from ..farm.jobs import read_jobs
    from ..farm.results import Results, table
    from ..farm.team import film_all

    _check(args)
    jobs = read_jobs(args.list)
    results = Results(args.list)
    todo = [job for job in jobs if not results.finished(job)]
    if len(todo) < len(jobs):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} jobs are finished already, see {results.path}")
    if not todo:
        return
    rows: list[tuple[Job, Outcome, int]] = []

    def report(job: Job, outcome: Outcome, tries: int) -> None:
        outcome = _checked(job, outcome)
        results.add(job, outcome, tries)
        rows.append((job, outcome, tries))
        _say(job, f"{len(rows)} of {len(todo)}, " + _ended(outcome))
        for note in outcome.notes:
            _say(job, f"warning, {note}")

    try:
        film_all(todo, _team(args, len(todo)), args.retries, report, _say)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same list goes on where it stopped") from None
    print(table(rows))
    failed = sum(outcome.error is not None for _, outcome, _ in rows)
    if failed:
        raise AnchorError(
            f"{failed} of {len(todo)} jobs failed, see above; run the same list again once that is mended:"
            " only they are filmed"
        )


def _check(args: argparse.Namespace) -> None:
    for name, least in (("workers", 1), ("retries", 0), ("gpus_per_worker", 0)):
        value = getattr(args, name)
        if value is not None and not value >= least:
            raise AnchorError(f"--{name.replace('_', '-')} is {value}; need {least} or more")
    share = args.gpus_per_worker
    if share is not None and share > 1 and share % 1:
        raise AnchorError(f"--gpus-per-worker is {share:g}; need a part of one, or a whole number of them")


def _team(args: argparse.Namespace, n_jobs: int) -> Team:
    """The workers that the options ask for, not more than there are jobs."""
    from ..farm.cluster import ray_team
    from ..farm.local import local_team

    if args.ray != "off":
        return ray_team(args.ray, args.workers, args.gpus_per_worker, n_jobs)
    return local_team(args.workers, args.gpus_per_worker, n_jobs)


def _checked(job: Job, outcome: Outcome) -> Outcome:
    """A video that was made on another disk is not there."""
    from ..farm.worker import Outcome

    if outcome.error is None and not job.out.is_file():
        why = f"{job.out} was written by {outcome.place} and is not seen here; use storage that is shared"
        return Outcome(why, place=outcome.place)
    return outcome


def _ended(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"failed: {outcome.error}"
    return f"done, {outcome.frames} frames in {outcome.seconds:.0f} s ({outcome.place})"


def _say(job: Job, words: str) -> None:
    print(f"{job.out.name} (line {job.line}): {words}", flush=True)
