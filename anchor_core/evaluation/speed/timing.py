"""Times of several ways to do one thing, taken in turns, and what the machine could do at best.

On the CPU: process time on one thread. With more, waiting threads count as work, and on a machine that has
other things to do the ratios mean nothing. On a GPU: events around each run.
"""

from __future__ import annotations

import ctypes
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import nan
from typing import Any

import torch

_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD = -4, -1, -2  # mallopt of glibc
_MATMUL_SIDES = {"cpu": 1024, "cuda": 8192}
_EXP_PER_CLOCK = 16  # per multiprocessor, on every NVIDIA architecture since Volta
_EXPONENTS = 1 << 14  # floats that stay in the first caches


@dataclass(frozen=True)
class Timing:
    """Seconds. best: the least of all runs. spread: (median - best) / best."""

    best: float
    spread: float


@dataclass(frozen=True)
class Machine:
    """What the device does at best: matmul_flops per second in the type of the networks, exponentials per
    second; nan where that is not known."""

    name: str
    matmul_flops: float
    exponentials: float


@contextmanager
def one_thread() -> Iterator[None]:
    """A block in which torch uses one thread on the CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Let this process keep what it frees, for good, as PyTorch does on a GPU (glibc only).

    Otherwise large tensors come anew from the system each time, and clearing their pages takes longer than
    the arithmetic: up to four times the loop that holds all scores.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26)):
            libc.mallopt(option, value)


def measure_in_turns(
    runs: Mapping[str, Callable[[], Any]],
    repeats: int,
    device: torch.device,
    done: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Timing]:
    """Each run `repeats` times, one after the other, so that what else the machine does meets all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats):
        for number, (name, run) in enumerate(runs.items()):
            seconds[name].append(_seconds(run, device))
            done(turn * len(runs) + number + 1, repeats * len(runs))
    return {
        name: Timing(min(times), statistics.median(times) / min(times) - 1) for name, times in seconds.items()
    }


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    if device.type != "cuda":
        began = time.process_time()
        run()
        return time.process_time() - began
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    start.record()
    run()
    end.record()
    torch.cuda.synchronize(device)
    return float(start.elapsed_time(end)) / 1000


def measure_machine(device: torch.device, dtype: torch.dtype) -> Machine:
    """The device's name and its measured speed."""
    side = _MATMUL_SIDES.get(device.type, 1024)
    one = torch.randn(side, side, device=device).to(dtype)
    best = measure_in_turns({"": lambda: one @ one}, 10, device)[""].best
    return Machine(device_name(device), 2 * side**3 / best, _exponentials(device))


def device_name(device: torch.device) -> str:
    """Name of the GPU or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if sys.platform.startswith("linux"):
        with suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _exponentials(device: torch.device) -> float:
    """Per second; on a GPU, whose memory is too slow to show it, counted from the clock."""
    if device.type == "cuda":
        properties: Any = torch.cuda.get_device_properties(device)
        clock_khz = getattr(properties, "clock_rate", nan)
        return float(properties.multi_processor_count * _EXP_PER_CLOCK * clock_khz * 1000)
    values = torch.randn(_EXPONENTS, device=device)
    turns = 200

    def run() -> None:
        for _ in range(turns):
            torch.exp(values)

    return _EXPONENTS * turns / measure_in_turns({"": run}, 5, device)[""].best
