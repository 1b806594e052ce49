"""Workers as actors on a Ray cluster, or on one that is started here."""

from __future__ import annotations

import logging
import math
import os
import warnings
from typing import Any

from ..errors import AnchorError
from .jobs import Job
from .local import seats_on
from .worker import Outcome, Worker

log = logging.getLogger("anchor")

LOCAL = "local"
_LOCAL_STORE = 100 * 2**20
"""Bytes that a local Ray keeps for objects: jobs and outcomes are small."""


class RayTeam:
    """`size` actors, begun when they get a job."""

    def __init__(self, ray: Any, size: int, gpus: float, cpus: int) -> None:
        self.size = size
        self._ray = ray
        # Restarts are ours: so that a job is counted, named and dealt to whoever is free.
        self._class = ray.remote(num_gpus=gpus, num_cpus=cpus, max_restarts=0)(Worker)
        self._actors: dict[int, Any] = {}
        self._running: dict[Any, int] = {}

    def give(self, seat: int, job: Job) -> None:
        """See Team."""
        if seat not in self._actors:
            self._actors[seat] = self._class.remote()
        self._running[self._actors[seat].film.remote(job)] = seat

    def next(self) -> tuple[int, Outcome | str]:
        """See Team."""
        ready, _ = self._ray.wait(list(self._running), num_returns=1)
        seat = self._running.pop(ready[0])
        try:
            return seat, self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:  # the actor, its machine or its memory is gone
            self._ray.kill(self._actors.pop(seat))
            return seat, type(error).__name__

    def close(self) -> None:
        """See Team."""
        self._ray.shutdown()


def ray_team(address: str, workers: int | None, gpus_per_worker: float | None, n_jobs: int) -> RayTeam:
    """A team on the cluster at `address`, or with "local" on one that is started for it.

    By default a worker for each GPU or, without any, for each machine; never more than there are jobs.
    Raises AnchorError where Ray is missing or the cluster is too small.
    """
    ray = _connected(address, workers or 1)
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(machine.get("GPU", 0) for machine in machines)
    share = min(gpus, 1) if gpus_per_worker is None else gpus_per_worker
    room = {number: _room(machine, share) for number, machine in enumerate(machines)}
    used = [machines[number] for number, seats in room.items() if seats]
    if not used:
        ray.shutdown()
        raise AnchorError(
            f"the cluster has {gpus:g} GPUs and each worker is to get {share:g} and a CPU core; lower"
            " --gpus-per-worker, or join a larger cluster"
        )
    wanted = workers or (sum(room.values()) if share else len(used))
    if wanted > sum(room.values()):
        log.warning("the cluster has room for %d workers of %d", sum(room.values()), wanted)
    size = min(wanted, sum(room.values()), n_jobs)
    cores = min(machine["CPU"] for machine in used) // math.ceil(size / len(used))
    return RayTeam(ray, size, share, max(1, int(cores)))


def _room(machine: dict[str, float], share: float) -> int:
    """How many workers fit on a machine."""
    cores = int(machine.get("CPU", 0))
    return min(cores, seats_on(machine.get("GPU", 0), share)) if share else cores


def _connected(address: str, workers: int) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent without being asked
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise AnchorError(
            "--ray needs the package ray, which is not installed; pip install 'anchor-avatar-studio[farm]',"
            " or leave --ray away: then the jobs run in processes of this machine"
        ) from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        quiet |= {
            "include_dashboard": False,
            "object_store_memory": _LOCAL_STORE,
            "_node_ip_address": "127.0.0.1",
        }
        quiet |= {"num_cpus": max(os.cpu_count() or 1, workers)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray, to those who write programs for it
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            why = str(error).splitlines()[0]
            raise AnchorError(
                f"no Ray cluster answers at {address} ({why}); start one, or pass --ray local"
            ) from None
    return ray
