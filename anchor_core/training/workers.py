"""The processes of one training: `accelerate launch` starts them, on several GPUs or machines.

Each draws the random numbers of the whole batch and computes its share of the samples; gradients and losses
are summed. So N processes make the steps that one would make, up to rounding. The main one writes the files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..errors import AnchorError

log = logging.getLogger("anchor")

_PATIENCE = timedelta(hours=6)
"""How long processes wait for each other: one may draw samples for longer than the usual ten minutes."""
_BUCKET = 2**24
"""Numbers that are sent at once: larger messages are no faster, and each is copied before it is sent."""


@dataclass(frozen=True)
class Workers:
    """This process among `count`. device: what it computes on."""

    device: str
    count: int = 1
    rank: int = 0

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def share(self, batch_size: int) -> Tensor:
        """Rows of a batch that are computed here, int64; AnchorError when there are fewer than processes."""
        if batch_size < self.count:
            raise AnchorError(
                f"a batch has {batch_size} samples and there are {self.count} processes; each needs one;"
                " raise batch_size or launch fewer processes"
            )
        return torch.arange(batch_size).tensor_split(self.count)[self.rank]

    def add(self, numbers: Sequence[float]) -> list[float]:
        """Sums of numbers over all processes."""
        if self.count == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(sums)
        return sums.tolist()

    @torch.no_grad()
    def add_(self, tensors: Sequence[Tensor]) -> None:
        """Put the sum over all processes into each tensor."""
        if self.count > 1:
            for bucket in _buckets(tensors):
                flat = torch.cat([tensor.flatten() for tensor in bucket])
                torch.distributed.all_reduce(flat)
                _unpack(flat, bucket)

    @torch.no_grad()
    def copy_main_(self, tensors: Sequence[Tensor]) -> None:
        """Put the main process's values into each tensor."""
        if self.count > 1:
            for tensor in tensors:
                same = tensor.contiguous()
                torch.distributed.broadcast(same, src=0)
                tensor.copy_(same)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            torch.distributed.barrier()


def join_workers(device: str) -> Workers:
    """The processes that `accelerate launch` (or torchrun) has started, or just this one.

    device: what a single process computes on, and the kind that several do. Raises AnchorError where it is
    not there, or where there are several processes and accelerate is missing.
    """
    check_device(device)
    if int(os.environ.get("WORLD_SIZE") or 1) < 2:
        if os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_ADDR" in os.environ:
            warn_single()
        return Workers(device)
    try:
        from accelerate import PartialState
    except ImportError:
        raise AnchorError(
            f"{os.environ['WORLD_SIZE']} processes were started and accelerate is not installed, through"
            " which they meet; pip install accelerate, or start one process"
        ) from None
    cpu = torch.device(device).type == "cpu"
    state: Any = PartialState(cpu=cpu, timeout=_PATIENCE)
    return Workers(str(state.device), int(state.num_processes), int(state.process_index))


def check_device(device: str) -> None:
    """Raise AnchorError unless torch can compute on `device`."""
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise AnchorError(f"device is {device!r}; need 'cpu', 'cuda', 'cuda:1' or the like") from None
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not found.get(kind, True):
        raise AnchorError(
            f"device is {device!r} and torch finds none here; install a torch that knows it, or set"
            " device to 'cpu'"
        )


@cache
def warn_single() -> None:
    """Say once that accelerate did not start what it was asked for: its --cpu needs MPI for that."""
    log.warning(
        "accelerate started a single process; several on CPUs are started without its --cpu:"
        " accelerate launch --multi_gpu --num_processes 2 ..., with device = 'cpu' in the settings"
    )


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one type, about _BUCKET numbers together."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        size = sum(part.numel() for part in bucket)
        if bucket and (size + tensor.numel() > _BUCKET or bucket[0].dtype != tensor.dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _unpack(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))
