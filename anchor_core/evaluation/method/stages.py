"""Stages of the benchmark: each is skipped when its result is there, and leaves what it cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from ...files import atomic_path

RECORD = "time.json"


def once(folder: Path, make: Callable[[], object]) -> None:
    """Run `make` unless an earlier call did, and record its CPU and wall seconds in the folder.

    A stage that was stopped is run again from its own checkpoints; only the last part is counted then.
    """
    if not (folder / RECORD).is_file():
        timed(folder, make)


def timed(folder: Path, make: Callable[[], object]) -> None:
    """Run `make` and record its seconds in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    cpu, wall = _cpu_seconds(), time.monotonic()
    make()
    spent = {"cpu_s": _cpu_seconds() - cpu, "wall_s": time.monotonic() - wall}
    with atomic_path(folder / RECORD) as partial:
        partial.write_text(json.dumps(spent), encoding="utf-8")


def spent_by(out: Path) -> dict[str, dict[str, float]]:
    """Seconds of every stage below `out`, by its folder."""
    records = sorted(out.rglob(RECORD))
    return {str(record.parent.relative_to(out)): json.loads(record.read_text()) for record in records}


def _cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    import os

    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
