"""Several processes that make one clip: torchrun or `accelerate launch` starts them, on one machine or more.

The windows of a step are dealt to the processes ("ranks"); each adds up the predictions of its own, one sum
over all of them follows, and every process takes the same solver step. So N processes give the latents of
one, up to the order of a sum.

The sums lie on the CPU and travel by gloo, also between machines with GPUs: 20 MB a step for 300 frames are
nothing beside the windows, and gloo notices at once when a process has died, where NCCL waits.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch

from ..errors import AnchorError

_JOINING = timedelta(minutes=10)
"""How long processes wait for each other at the start."""
_PATIENCE = timedelta(hours=6)
"""How long they wait later: the main one may draw or decode alone for long. A dead one is noticed earlier."""
_SEEN_AFTER_S = 30.0
"""Until when a new file must be seen by another machine; network file systems remember old listings."""
_AGAIN = "run the same command again: it goes on with what is saved"


class RankLost(AnchorError):
    """Another process of the render has ended."""


class Ranks(Protocol):
    """The processes of one render, seen from one of them."""

    @property
    def rank(self) -> int:
        """Number of this process, 0 .. world - 1."""

    @property
    def world(self) -> int:
        """How many there are."""

    @property
    def main(self) -> bool:
        """Whether this is the one that draws, decodes, writes and reports."""

    def sum(self, tensor: torch.Tensor, during: str = "") -> None:
        """Put the sum over all processes into a contiguous tensor, the same bits in each of them.

        during: what is being made, for the RankLost that is raised when a process has ended.
        """

    def broadcast(self, tensor: torch.Tensor, during: str = "") -> None:
        """Put the main process's values into a contiguous tensor."""

    def barrier(self, during: str = "") -> None:
        """Until all processes are here."""

    def check_shared(self, folder: Path) -> None:
        """AnchorError unless all processes see the files of this folder; called by all, once it is there."""


class ProcessRanks:
    """Ranks over `torch.distributed`."""

    def __init__(self, group: Any) -> None:
        self._group = group
        self.rank, self.world = group.rank(), group.size()

    @property
    def main(self) -> bool:
        """Whether this is the process that draws, decodes, writes and reports."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor, during: str = "") -> None:
        """See Ranks."""
        with _noticing(during):
            torch.distributed.all_reduce(tensor, group=self._group)

    def broadcast(self, tensor: torch.Tensor, during: str = "") -> None:
        """See Ranks."""
        with _noticing(during):
            torch.distributed.broadcast(tensor, src=0, group=self._group)

    def barrier(self, during: str = "") -> None:
        """See Ranks."""
        self.sum(torch.zeros(1), during)  # gloo's own barrier keeps to a shorter patience

    def check_shared(self, folder: Path) -> None:
        """See Ranks."""
        number = torch.zeros(1, dtype=torch.int64)
        if self.main:
            number[0] = secrets.randbelow(2**62)
        self.broadcast(number)
        mark = folder / f"seen-by-all.{number.item():x}"
        if self.main:
            mark.touch()
        self.barrier()
        seen = torch.tensor([float(_appears(mark))])
        self.sum(seen)
        if self.main:
            mark.unlink()
        if seen.item() < self.world:
            raise AnchorError(
                f"{int(self.world - seen.item())} of {self.world} processes do not see the files of"
                f" {folder} (this is {socket.gethostname()}); several machines need a folder on storage that"
                " they share; give one with --state"
            )


@contextmanager
def ranks_from_environment() -> Iterator[ProcessRanks | None]:
    """The processes that torchrun or `accelerate launch` has started; None for a single one.

    Inside, a launcher that ends this process (as it does when another has died) raises RankLost, and leaving
    tells the others. Raises AnchorError where these do not come.
    """
    world = int(os.environ.get("WORLD_SIZE") or 1)
    if world < 2:
        yield None
        return
    group = _join(world)
    try:
        with _termination_as_error():
            yield ProcessRanks(group)
    finally:
        torch.distributed.destroy_process_group()


@contextmanager
def prepared(ranks: Ranks | None) -> Iterator[None]:
    """A block that all processes go through alike: what is wrong in all of them, the main one alone says."""
    try:
        yield
    except AnchorError:
        if ranks is not None and not ranks.main:
            ranks.barrier("the preparation")
        raise
    if ranks is not None:
        ranks.barrier("the preparation")


def local_device(device: torch.device) -> torch.device:
    """Of "cuda", the card of this process among those of its machine; other devices stay.

    Raises AnchorError where there are fewer cards than processes.
    """
    if device.type != "cuda" or device.index is not None or "LOCAL_RANK" not in os.environ:
        return device
    local, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= count:
        raise AnchorError(
            f"process {local + 1} of this machine was started and there are {count} GPUs, one for each;"
            " start as many processes as there are GPUs, or pass --device cpu"
        )
    return torch.device("cuda", local)


def share_of(costs: Sequence[float], ranks: Ranks | None) -> list[int]:
    """Numbers of the pieces of work that this process takes, rising: each goes, the longest first, to the
    process that has least so far."""
    if ranks is None:
        return list(range(len(costs)))
    loads, mine = [0.0] * ranks.world, []
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        taker = min(range(ranks.world), key=loads.__getitem__)
        loads[taker] += costs[index]
        if taker == ranks.rank:
            mine.append(index)
    return sorted(mine)


def _join(world: int) -> Any:
    """A group of all processes."""
    try:
        torch.distributed.init_process_group("gloo", timeout=_JOINING)
        return torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:  # also torch's own, which are RuntimeErrors
        raise AnchorError(
            f"WORLD_SIZE is {world} and the processes do not find each other"
            f" ({str(error).splitlines()[0]}); start them with torchrun or accelerate launch"
        ) from None


@contextmanager
def _noticing(during: str) -> Iterator[None]:
    """Errors of the connection, as one sentence."""
    try:
        yield
    except RuntimeError as error:
        when = f" during {during}" if during else ""
        raise RankLost(f"another process of this render ended{when}; {_AGAIN}") from error


@contextmanager
def _termination_as_error() -> Iterator[None]:
    """SIGTERM raises RankLost; only the main thread may ask for signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise RankLost(f"the launcher stopped this process, as it does when another one ended; {_AGAIN}")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _appears(path: Path) -> bool:
    """Whether a file is seen within _SEEN_AFTER_S."""
    until = time.monotonic() + _SEEN_AFTER_S
    while time.monotonic() < until:
        with suppress(OSError):
            os.listdir(path.parent)  # makes network file systems look again
        if path.exists():
            return True
        time.sleep(0.2)
    return False
