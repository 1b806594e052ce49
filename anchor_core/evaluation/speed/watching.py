"""The memory of a process and its children, seen from outside while they run."""

from __future__ import annotations

import importlib
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from ...errors import AnchorError

_POLL_S = 0.1
_LAST_WORDS = 400  # characters of a failed command that are shown


@dataclass
class Watched:
    """A process that has ended. samples: (seconds since the start, bytes held); peak: the most bytes held."""

    samples: list[tuple[float, float]] = field(default_factory=list)
    peak: float = nan
    seconds: float = nan


def watch(command: Sequence[str], log: Path, environment: dict[str, str]) -> Watched:
    """Run a command to its end and look at its memory ten times a second; its words go to `log`.

    Raises AnchorError where it fails. The process is ended when this one is interrupted.
    """
    seen, started = Watched(), time.monotonic()
    with log.open("w", encoding="utf-8") as words:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=environment
        )
        try:
            while process.poll() is None:
                _look(process.pid, time.monotonic() - started, seen)
                time.sleep(_POLL_S)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    seen.seconds = time.monotonic() - started
    if process.returncode:
        said = log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:].strip()
        raise AnchorError(f"the render that was to be measured failed ({said}); its words are in {log}")
    return seen


def _look(pid: int, now: float, seen: Watched) -> None:
    held = peak = nan
    with suppress(OSError, KeyError):  # KeyError: it has just ended
        family = [_linux_memory(one) for one in (pid, *_children(pid))]
        held, peak = (sum(values) for values in zip(*family, strict=True))
    if held != held:
        held = peak = _other_memory(pid)
    if held == held:
        seen.samples.append((now, held))
        seen.peak = max(peak, seen.peak) if seen.peak == seen.peak else peak


def _linux_memory(pid: int) -> tuple[float, float]:
    """Bytes resident now, and at most so far. OSError or KeyError where it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    values = dict(line.split(":", 1) for line in lines)
    resident, most = (1024.0 * int(values[key].split()[0]) for key in ("VmRSS", "VmHWM"))
    return resident, most


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found + [further for child in found for further in _children(child)]


def _other_memory(pid: int) -> float:
    """Where there is no /proc: bytes resident now, by psutil if it is there; else nan."""
    try:
        psutil: Any = importlib.import_module("psutil")
    except ImportError:
        return nan
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        return float(sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True))))
    return nan
