"""What was measured: a line per metric, curves over time, frames to look at; as a table and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_path
from .metric_kinds import METRIC_KINDS, MetricKind


@dataclass(frozen=True)
class Measurement:
    """One number. key: of METRIC_KINDS. value: nan where it is left out; then `note` says why."""

    key: str
    value: float
    note: str = ""

    @property
    def kind(self) -> MetricKind:
        """Its name, unit and meaning."""
        return METRIC_KINDS[self.key]

    @property
    def shown(self) -> str:
        """The number as people read it; a dash where there is none."""
        if math.isnan(self.value):
            return "–"
        return "∞" if math.isinf(self.value) else f"{self.value:.{self.kind.digits}f}"


def left_out(why: str, *keys: str) -> list[Measurement]:
    """Metrics that could not be measured, and why: they stay in the table."""
    return [Measurement(key, math.nan, f"left out: {why}") for key in keys]


@dataclass(frozen=True)
class Curve:
    """A number per frame, nan where there is none. marks: frames to point out (window borders)."""

    name: str
    unit: str
    values: Mapping[str, Sequence[float]]
    """{line's name: its numbers}; one line has the name ""."""
    marks: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Example:
    """A frame to look at: (H, W, 3) uint8 each, mesh or None. psnr: dB of this frame."""

    index: int
    result: np.ndarray
    truth: np.ndarray
    mesh: np.ndarray | None
    psnr: float
    worst: bool


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All of it. facts: what was compared, plain JSON values."""

    measurements: tuple[Measurement, ...]
    curves: Mapping[str, Curve]
    facts: Mapping[str, Any]
    examples: tuple[Example, ...] = field(default=())

    def __getitem__(self, key: str) -> Measurement:
        """The measurement of this key."""
        return next(one for one in self.measurements if one.key == key)


def table(evaluation: Evaluation) -> str:
    """The measurements as aligned text for a terminal."""
    rows = [(m.kind.name, m.shown, m.kind.unit, m.kind.better, m.note) for m in evaluation.measurements]
    names, numbers, units, betters = (max(len(row[i]) for row in rows) for i in range(4))
    lines = [
        f"{name:<{names}}  {number:>{numbers}} {unit:<{units}}  better {better:<{betters}}  {note}"
        for name, number, unit, better, note in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Plain values; JSON knows neither nan nor infinity, so both are null."""
    return {
        **evaluation.facts,
        "metrics": {
            one.key: {
                "value": _plain(one.value),
                **{name: getattr(one.kind, name) for name in ("name", "unit", "better")},
                "note": one.note,
            }
            for one in evaluation.measurements
        },
        "curves": {
            key: {
                "unit": curve.unit,
                "lines": {name: [_plain(value) for value in line] for name, line in curve.values.items()},
                "marks": list(curve.marks),
            }
            for key, curve in evaluation.curves.items()
        },
    }


def write_metrics(path: Path, evaluation: Evaluation) -> None:
    """Write `to_json` to a file."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(to_json(evaluation), indent=1), encoding="utf-8")


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
