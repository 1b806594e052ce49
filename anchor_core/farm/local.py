"""Workers in processes of this machine."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from contextlib import suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any

from ..errors import AnchorError
from .jobs import Job
from .worker import Outcome, Worker

log = logging.getLogger("anchor")

_LAST_S = 30.0
"""Seconds that a process may take to end once nobody hears it any more."""


class LocalTeam:
    """A process for each of `environments`, the variables that it starts with; begun when it gets a job."""

    def __init__(self, environments: list[dict[str, str]]) -> None:
        self._environments = environments
        self._processes: dict[int, tuple[Any, Connection]] = {}
        self._busy: set[int] = set()

    @property
    def size(self) -> int:
        """See Team."""
        return len(self._environments)

    def give(self, seat: int, job: Job) -> None:
        """See Team."""
        if seat not in self._processes:
            self._processes[seat] = self._start(seat)
        self._busy.add(seat)
        with suppress(OSError):  # it died between two jobs: `next` finds that out
            self._processes[seat][1].send(job)

    def next(self) -> tuple[int, Outcome | str]:
        """See Team."""
        seats = {self._processes[seat][1]: seat for seat in self._busy}
        ready = connection.wait(list(seats))[0]
        seat = seats[ready]  # type: ignore[index]
        self._busy.remove(seat)
        try:
            return seat, self._processes[seat][1].recv()
        except (EOFError, OSError):
            return seat, self._buried(seat)

    def close(self) -> None:
        """See Team."""
        for process, line in self._processes.values():
            line.close()
            process.kill()  # what is on disk is whole at any moment
        for process, _ in self._processes.values():
            process.join()
        self._processes = {}

    def _start(self, seat: int) -> tuple[Any, Connection]:
        context = get_context("spawn")  # CUDA does not survive a fork
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._environments[seat]), daemon=False)
        process.start()
        theirs.close()
        return process, ours

    def _buried(self, seat: int) -> str:
        """How the process of a seat has ended."""
        process, line = self._processes.pop(seat)
        line.close()
        process.join(_LAST_S)
        process.kill()  # one that hangs in its end would keep the list waiting
        process.join()
        code = process.exitcode
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def local_team(workers: int | None, gpus_per_worker: float | None, n_jobs: int) -> LocalTeam:
    """A team for this machine: by default a worker for each GPU, or one; never more than there are jobs.

    Raises AnchorError where there is no GPU for a worker that is to get one.
    """
    import torch

    count = torch.cuda.device_count()
    share = min(count, 1) if gpus_per_worker is None else gpus_per_worker
    room = seats_on(count, share) if share else max(workers or 1, 1)
    if room < 1:
        raise AnchorError(
            f"this machine has {count} GPUs and each worker is to get {share:g}; lower --gpus-per-worker"
        )
    if workers is not None and workers > room:
        log.warning("there are GPUs for %d workers of %d", room, workers)
    size = min(workers or room, room, n_jobs)
    threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(_cores() // size or 1)}
    return LocalTeam([{**threads, **_cards(count, share, seat)} for seat in range(size)])


def seats_on(gpus: float, share: float) -> int:
    """How many workers fit on a machine's GPUs; several may share one, none has parts of two."""
    return math.floor(gpus) * math.floor(1 / share) if share < 1 else math.floor(gpus / share)


def _cards(count: int, share: float, seat: int) -> dict[str, str]:
    """The GPUs that a seat sees, of those that this process sees."""
    if not count:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(count)]
    if share < 1:
        mine = [names[seat // math.floor(1 / share)]] if share else []
    else:
        mine = names[seat * int(share) : (seat + 1) * int(share)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(mine)}


def _cores() -> int:
    return os.cpu_count() or 1


def _serve(line: Connection, variables: dict[str, str]) -> None:
    """The worker's life. variables: must be set before torch is imported."""
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that deals
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Worker()
    try:
        while True:
            line.send(worker.film(line.recv()))
    except (EOFError, OSError):
        return


def _end_with_parent() -> None:
    """A worker whose list nobody keeps any more would only be in the way of a second start."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
