"""The benchmark of the renderer: its rows; never its numbers."""

from __future__ import annotations

import math

import pytest
import torch

from anchor_core.evaluation.speed import rendering
from anchor_core.evaluation.tables import table
from anchor_core.progress import silent_step


def test_rows_of_one_and_of_several_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_SIZE", (64, 64))
    monkeypatch.setattr(rendering, "worker_count", lambda: 2)
    monkeypatch.setattr(rendering, "_draws", lambda motion, backend: False)
    before = torch.get_num_threads()
    rows = rendering.measure_rendering(silent_step, frames=2, repeats=1)
    assert [row.name for row in rows] == ["torch, 1 worker", "torch, 2 workers"]
    assert rows[0].against_one == 1
    for row in rows:
        assert all(math.isfinite(value) and value > 0 for value in list(vars(row).values())[1:])
    assert torch.get_num_threads() == before
    assert "| torch, 2 workers |" in table(rows, rendering.COLUMNS)
