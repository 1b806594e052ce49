"""The table: every row beside what the paper says of it, and whether the order holds beyond the spread.

Rows are compared with the full method clip by clip. A difference counts where its mean over the clips is
larger than twice its standard error.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from ... import __version__
from ...files import atomic_path
from .measure import CEILING, read_results
from .rows import OURS, MethodRow, Order
from .scale import SCALES, MethodScale
from .stages import spent_by

COLUMNS: tuple[tuple[str, str, int, int], ...] = (
    ("psnr", "PSNR dB", 2, 1),
    ("ssim", "SSIM", 4, 1),
    ("psnr_face", "PSNR of the face dB", 2, 1),
    ("flicker", "flicker", 3, -1),
    ("acceleration", "acceleration", 2, 0),
    ("lmd_face", "LMD face px", 2, -1),
    ("lmd_body", "LMD body px", 2, -1),
    ("lmd_hands", "LMD hands px", 2, -1),
)
"""Metric, heading, decimals, and whether more is better (1), worse (-1) or neither (0)."""
_WAY = {name: way for name, _, _, way in COLUMNS}
_DECIMALS = {name: decimals for name, _, decimals, _ in COLUMNS}
_STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Difference:
    """A row less another in one metric: mean over the clips, its standard error, and what it means."""

    mean: float
    error: float
    order: Order


def difference(metric: str, row: Sequence[float], ours: Sequence[float]) -> Difference:
    """Compare clip by clip; one clip alone decides nothing."""
    pairs = [a - b for a, b in zip(row, ours, strict=True)]
    mean = fmean(pairs)
    error = stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.inf
    if abs(mean) <= _STANDARD_ERRORS * error or mean == 0 or not _WAY[metric]:
        return Difference(mean, error, "same")
    return Difference(mean, error, "better" if mean * _WAY[metric] > 0 else "worse")


def verdict(row: MethodRow, differences: dict[str, Difference]) -> str:
    """Whether the order of the paper holds in the metrics that stand for the row."""
    if row.paper == "none":
        return "–"
    orders = {differences[metric].order for metric in row.judged}
    against: Order = "better" if row.paper == "worse" else "worse"
    if row.paper in orders and against not in orders:
        return "holds"
    if against in orders and row.paper not in orders:
        return "does not hold"
    return "mixed" if against in orders else "within the spread"


def write_report(out: Path, scale: MethodScale, seed: int, rows: Sequence[MethodRow]) -> str:
    """Write results.json and table.md; returns the text of the table."""
    values = {key: by_metric(read_results(out, key, scale)) for key in (CEILING, *(row.key for row in rows))}
    differences = {row.key: compare(values[row.key], values[row.against]) for row in rows}
    spent = spent_by(out)
    facts: dict[str, Any] = {
        "values": values,
        "differences": {key: {m: asdict(d) for m, d in found.items()} for key, found in differences.items()},
        "verdicts": {row.key: verdict(row, differences[row.key]) for row in rows},
        "detector": by_metric(read_results(out, "detector", scale)),
        "scale": asdict(scale),
        "seed": seed,
        "seconds": spent,
        "machine": machine(),
    }
    _write(out / "results.json", json.dumps(facts, indent=1, default=_finite))
    text = "\n\n".join(
        (
            heading(scale, seed),
            measured_table(rows, values),
            detector_line(facts["detector"]),
            verdict_table(rows, differences),
            cost_table(spent),
        )
    )
    _write(out / "table.md", text + "\n")
    return text


def by_metric(results: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Numbers clip by clip as a list per metric."""
    return {name: [result[name] for result in results] for name in results[0]}


def compare(row: dict[str, list[float]], ours: dict[str, list[float]]) -> dict[str, Difference]:
    """All metrics of a row against those of another."""
    return {metric: difference(metric, row[metric], ours[metric]) for metric, *_ in COLUMNS}


def heading(scale: MethodScale, seed: int) -> str:
    """What was run, where."""
    name = next((name for name, known in SCALES.items() if _same_world(known, scale)), "of its own")
    return (
        f"Scale {name}: {scale.people} people x {scale.people_frames} frames for pre-training, "
        f"{scale.anchors} test people x {scale.anchor_frames} frames, {scale.clips} held-out clips of "
        f"{scale.clip_frames} frames each, {scale.size} px; {scale.pretrain.steps} + {scale.finetune.steps} "
        f"steps of {scale.pretrain.batch_size} samples in every row. Seed {seed}, anchor_core {__version__}. "
        f"{machine()}. Mean ± standard deviation over {scale.anchors * scale.clips} clips."
    )


def machine() -> str:
    """Processor, cores and torch in one line."""
    import os

    return f"{_processor()}, {os.cpu_count()} cores, torch {torch.__version__}"


def measured_table(rows: Sequence[MethodRow], values: dict[str, dict[str, list[float]]]) -> str:
    """Mean and spread of every metric."""
    lines = [
        f"| | {' | '.join(name for _, name, _, _ in COLUMNS)} |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for key, name in ((CEILING, "VAE ceiling (true frames)"), *((row.key, row.name) for row in rows)):
        cells = [_spread(values[key][metric], decimals) for metric, _, decimals, _ in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def detector_line(errors: dict[str, list[float]]) -> str:
    """The detector's own error, below which landmark distances say little."""
    parts = ", ".join(f"{name.removeprefix('lmd_')} {fmean(found):.2f}" for name, found in errors.items())
    return (
        "LMD: distance between what one detector finds in result and true frame, as in the paper, with a"
        f" detector of this world; its own error on true frames is {parts} px."
    )


def verdict_table(rows: Sequence[MethodRow], differences: dict[str, dict[str, Difference]]) -> str:
    """Every row beside the paper's claim."""
    lines = [
        "| row | against | paper: table | paper: FVD | paper: order | here | order holds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.key == OURS.key:
            lines.append(f"| {row.name} | – | 1, 2 | {row.fvd} | – | – | – |")
            continue
        here = "; ".join(_told(metric, differences[row.key][metric]) for metric in row.judged)
        published = "–" if row.fvd is None else f"{row.fvd}"
        table = str(row.table or "–")
        order = "–" if row.paper == "none" else row.paper
        result = verdict(row, differences[row.key])
        told = (row.name, row.against, table, published, order, here, result)
        lines.append(f"| {' | '.join(told)} |")
    return "\n".join(lines)


def cost_table(spent: dict[str, dict[str, float]]) -> str:
    """What the stages cost, in CPU minutes."""
    groups: dict[str, float] = {}
    for stage, seconds in spent.items():
        groups[stage.split("/")[0]] = groups.get(stage.split("/")[0], 0.0) + seconds["cpu_s"] / 60
    parts = ", ".join(f"{name} {minutes:.1f}" for name, minutes in groups.items())
    return f"CPU minutes: {parts}; {sum(groups.values()):.1f} in all."


def _told(metric: str, found: Difference) -> str:
    heading = next(name for key, name, _, _ in COLUMNS if key == metric)
    return (
        f"{heading} {found.mean:+.{_DECIMALS[metric]}f} ± {found.error:.{_DECIMALS[metric]}f} ({found.order})"
    )


def _spread(values: Sequence[float], decimals: int) -> str:
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{fmean(values):.{decimals}f} ± {deviation:.{decimals}f}"


def _same_world(one: MethodScale, two: MethodScale) -> bool:
    """Whether two scales differ in nothing but device and processes."""
    names = ("size", "people", "people_frames", "anchors", "anchor_frames", "clips", "clip_frames")
    steps = [(scale.pretrain.steps, scale.finetune.steps, scale.vae.steps) for scale in (one, two)]
    return steps[0] == steps[1] and all(getattr(one, name) == getattr(two, name) for name in names)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _finite(value: Any) -> Any:
    return str(value)


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")
