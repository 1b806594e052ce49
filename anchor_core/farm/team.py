"""Deals the jobs to a team of workers, and deals a job again whose worker has died."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol

from .jobs import Job
from .worker import Outcome


class Team(Protocol):
    """Workers, each at a seat, that film one job at a time."""

    @property
    def size(self) -> int:
        """Number of seats."""

    def give(self, seat: int, job: Job) -> None:
        """Let a free seat's worker begin with a job; a dead one is replaced."""

    def next(self) -> tuple[int, Outcome | str]:
        """Wait for the next seat whose job has ended: its outcome, or how its worker died."""

    def close(self) -> None:
        """End all workers at once."""


Report = Callable[[Job, Outcome, int], None]
"""(job, outcome, tries) for each job that has ended for good."""
Say = Callable[[Job, str], None]
"""(job, what happens to it)."""


def film_all(jobs: Sequence[Job], team: Team, retries: int, report: Report, say: Say) -> None:
    """Film all jobs. retries: how often a job whose worker died begins again, from what is saved of it."""
    waiting, running, tries = deque(jobs), dict[int, Job](), Counter[int]()
    last: dict[int, Job] = {}
    with closing(team):
        while waiting or running:
            for seat in range(team.size):
                if waiting and seat not in running:
                    job = _fitting(waiting, last.get(seat))
                    running[seat] = last[seat] = job
                    tries[job.line] += 1
                    team.give(seat, job if tries[job.line] == 1 else job.going_on)
                    say(job, "started" if tries[job.line] == 1 else f"started, try {tries[job.line]}")
            seat, end = team.next()
            job = running.pop(seat)
            if isinstance(end, str) and tries[job.line] <= retries:
                say(job, f"its worker died ({end}); it goes on with another one")
                waiting.appendleft(job)
            else:
                report(
                    job, end if isinstance(end, Outcome) else _given_up(end, tries[job.line]), tries[job.line]
                )


def _fitting(waiting: deque[Job], last: Job | None) -> Job:
    """Take the next job, or before it one of the anchor that the worker has loaded."""
    same = (job for job in waiting if last is not None and job.anchor == last.anchor)
    job = next(same, waiting[0])
    waiting.remove(job)
    return job


def _given_up(death: str, tries: int) -> Outcome:
    return Outcome(
        f"its worker died in each of {tries} tries, lastly with {death}; look for what ends it (memory, for"
        " example) and run the same list again: the job goes on from what is saved",
        place="",
    )
