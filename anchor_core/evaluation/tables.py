"""Rows of measurements as a Markdown table and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..anchor.file import Anchor
from ..files import atomic_path

Columns = tuple[tuple[str, int], ...]
"""Heading and number of decimals of each field of a row, but for its name."""


def table(rows: Sequence[Any], columns: Columns) -> str:
    """Rows, which are dataclasses that begin with a name, as a Markdown table; nan is a dash."""
    lines = [f"| | {' | '.join(heading for heading, _ in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        name, *numbers = asdict(row).values()
        cells = [
            "–" if math.isnan(number) else f"{number:.{digits}f}"
            for number, (_, digits) in zip(numbers, columns, strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_json(path: Path, tables: Mapping[str, Sequence[Any]], anchor: Anchor, n_frames: int) -> None:
    """The rows of each table, under its name, with what they were measured on."""
    facts = {
        "anchor": anchor.card.name,
        "frames": n_frames,
        "resolution": anchor.card.resolution,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        **{name: [plain(row) for row in rows] for name, rows in tables.items()},
    }
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def plain(row: Any) -> dict[str, Any]:
    """The row for JSON, which knows neither nan nor infinity."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(row).items()
    }
