"""What the table says about numbers that are known beforehand."""

import json
import math
from statistics import stdev

import pytest

from anchor_core.evaluation.method.report import (
    COLUMNS,
    by_metric,
    compare,
    cost_table,
    difference,
    measured_table,
    verdict,
    verdict_table,
)
from anchor_core.evaluation.method.rows import OURS, ROWS, MethodRow
from anchor_core.evaluation.method.stages import once, spent_by


def _values(shift: float = 0.0, spread: float = 0.0) -> dict[str, list[float]]:
    return {metric: [10 + shift, 20 + shift + spread, 30 + shift] for metric, *_ in COLUMNS}


def test_a_difference_counts_clip_by_clip():
    found = difference("psnr", [24.0, 29.1, 33.9], [25.0, 30.0, 35.0])

    assert found.mean == pytest.approx(-1.0)
    assert found.error == pytest.approx(stdev([-1.0, -0.9, -1.1]) / math.sqrt(3))
    assert found.order == "worse"


@pytest.mark.parametrize(
    ("metric", "order"), [("psnr", "better"), ("flicker", "worse"), ("lmd_hands", "worse")]
)
def test_more_is_better_or_worse_by_the_metric(metric, order):
    assert difference(metric, [2.0, 3.0], [1.0, 2.0]).order == order


def test_noise_larger_than_the_difference_decides_nothing():
    assert difference("psnr", [24.0, 31.0], [25.0, 30.5]).order == "same"


def test_one_clip_alone_decides_nothing():
    assert difference("psnr", [20.0], [30.0]).order == "same"


@pytest.mark.parametrize(
    ("paper", "shift", "expected"),
    [
        ("worse", -1.0, "holds"),
        ("worse", 1.0, "does not hold"),
        ("worse", 0.0, "within the spread"),
        ("better", 1.0, "holds"),
        ("better", -1.0, "does not hold"),
        ("none", 1.0, "–"),
    ],
)
def test_verdict_against_the_paper(paper, shift, expected):
    row = MethodRow("row", "a row", paper=paper, judged=("psnr",))

    assert verdict(row, compare(_values(shift), _values())) == expected


def test_metrics_that_disagree_are_mixed():
    row = MethodRow("row", "a row", paper="worse", judged=("psnr", "flicker"))

    assert verdict(row, compare(_values(1.0), _values())) == "mixed"


def test_tables_have_a_line_per_row_and_the_published_numbers():
    values = {"ceiling": _values(1), **{row.key: _values(-1 if row.key != OURS.key else 0) for row in ROWS}}
    differences = {row.key: compare(values[row.key], values[OURS.key]) for row in ROWS}

    measured, verdicts = measured_table(ROWS, values), verdict_table(ROWS, differences)

    assert len(measured.splitlines()) == 3 + len(ROWS)
    assert len(verdicts.splitlines()) == 2 + len(ROWS)
    for number in ("140.3", "139.8", "138.5"):
        assert number in verdicts
    assert all(row.name in measured and row.name in verdicts for row in ROWS)
    widths = {line.count("|") for line in measured.splitlines()}
    assert len(widths) == 1


def test_rows_are_told_apart_and_judged_by_known_metrics():
    known = {metric for metric, *_ in COLUMNS}

    assert len({row.key for row in ROWS}) == len(ROWS)
    assert all(set(row.judged) <= known for row in ROWS)
    assert ROWS[0] is OURS


def test_results_clip_by_clip_become_lists():
    assert by_metric([{"psnr": 1.0}, {"psnr": 2.0}]) == {"psnr": [1.0, 2.0]}


def test_a_stage_runs_once_and_leaves_its_time(tmp_path):
    calls = []
    for _ in range(2):
        once(tmp_path / "runs" / "ours", lambda: calls.append(1))

    assert calls == [1]
    spent = spent_by(tmp_path)
    assert set(spent["runs/ours"]) == {"cpu_s", "wall_s"}
    assert "runs" in cost_table(spent)


def test_a_stage_that_failed_runs_again(tmp_path):
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        once(tmp_path / "stage", fail)
    once(tmp_path / "stage", lambda: None)

    assert json.loads((tmp_path / "stage" / "time.json").read_text())["wall_s"] >= 0
