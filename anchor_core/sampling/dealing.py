"""Who predicts which windows of a step: one device, or several of this process in threads.

The predictions come back in the order of the plan whoever made them, so that their sum, and the clip, is the
same for any number of devices of one kind.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from .predictor import Predictor, Windows

_AHEAD = 2
"""Batches per device that may be finished before their turn."""


class Job(NamedTuple):
    """Windows of one length that are predicted together, and their numbers in the plan."""

    numbers: tuple[int, ...]
    windows: Windows


Start = Callable[[Predictor, Job], Callable[[], torch.Tensor]]
"""Begins with a job on a device; what it returns waits for the predictions (W, F, C, h, w)."""
Answers = Generator[tuple[Job, torch.Tensor], None, None]


def make_jobs(windows: Sequence[Any], numbers: Sequence[int], at_once: int) -> list[Job]:
    """Put windows with these numbers, neighbours of one length, together in groups of at most `at_once`."""
    groups: list[list[int]] = []
    for number in numbers:
        fits = groups and len(groups[-1]) < at_once
        if fits and len(windows[groups[-1][0]]) == len(windows[number]):
            groups[-1].append(number)
        else:
            groups.append([number])
    return [Job(tuple(group), tuple(windows[number] for number in group)) for group in groups]


def predictions(predictors: Sequence[Predictor], jobs: Sequence[Job], start: Start, fixed: bool) -> Answers:
    """The predictions of all jobs, in their order. Close it, so that no thread goes on after an error.

    fixed: a job always goes to the same device, whatever else is going on there.
    """
    return (
        _in_threads(predictors, jobs, start, fixed)
        if len(predictors) > 1
        else _here(predictors[0], jobs, start)
    )


def _here(predictor: Predictor, jobs: Sequence[Job], start: Start) -> Answers:
    # A GPU is given the next windows before it is asked for the ones before, and so never waits.
    ahead = 1 if predictor.device.type == "cuda" else 0
    begun: deque[tuple[Job, Callable[[], torch.Tensor]]] = deque()
    for job in jobs:
        with _current(predictor.device):
            begun.append((job, start(predictor, job)))
        if len(begun) > ahead:
            job, answer = begun.popleft()
            yield job, answer()
    for job, answer in begun:
        yield job, answer()


def _in_threads(predictors: Sequence[Predictor], jobs: Sequence[Job], start: Start, fixed: bool) -> Answers:
    desk = _Desk(len(jobs), len(predictors), fixed)
    inference = torch.is_inference_mode_enabled()  # known to one thread only

    def work(place: int) -> None:
        try:
            with torch.inference_mode(inference), torch.no_grad(), _current(predictors[place].device):
                for number in iter(lambda: desk.take(place), None):
                    desk.put(number, start(predictors[place], jobs[number])())
        except BaseException as error:  # it is raised again in the caller's thread
            desk.stop(error)

    threads = [threading.Thread(target=work, args=(place,), daemon=True) for place in range(len(predictors))]
    try:
        for thread in threads:
            thread.start()
        for number, job in enumerate(jobs):
            yield job, desk.get(number)
    finally:
        desk.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """The device as this thread's own: some kernels run there and not where their tensors lie."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


class _Desk:
    """Where threads take the numbers of jobs and put what they made; all waits end when one of them fails."""

    def __init__(self, n_jobs: int, n_takers: int, fixed: bool) -> None:
        self._changed = threading.Condition()
        self._n_jobs, self._n_takers, self._fixed = n_jobs, n_takers, fixed
        self._next = [place if fixed else 0 for place in range(n_takers)]
        self._made: dict[int, torch.Tensor] = {}
        self._delivered = 0
        self._stopped = False
        self._error: BaseException | None = None

    def take(self, place: int) -> int | None:
        """The next job of a device, once it is not too far ahead; None when there is none."""
        queue = place if self._fixed else 0
        with self._changed:
            while not self._stopped and self._next[queue] < self._n_jobs:
                number = self._next[queue]
                if number < self._delivered + _AHEAD * self._n_takers:
                    self._next[queue] += self._n_takers if self._fixed else 1
                    return number
                self._changed.wait()
            return None

    def put(self, number: int, made: torch.Tensor) -> None:
        """Hand in what was made of a job."""
        with self._changed:
            self._made[number] = made
            self._changed.notify_all()

    def get(self, number: int) -> torch.Tensor:
        """What was made of a job, once it is there; raises what a thread has raised."""
        with self._changed:
            while number not in self._made:
                if self._error is not None:
                    raise self._error
                self._changed.wait(timeout=1.0)  # so that Ctrl-C is noticed on Windows
            self._delivered = number + 1
            self._changed.notify_all()
            return self._made.pop(number)

    def stop(self, error: BaseException | None = None) -> None:
        """Give out no more jobs."""
        with self._changed:
            self._stopped = True
            self._error = self._error or error
            self._changed.notify_all()
