"""The benchmark of the sampler: it refuses to time a wrong one, and its tables hold what was measured."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from anchor_core.cli.main import main
from anchor_core.errors import AnchorError
from anchor_core.evaluation.speed import bench, loop, profiles, ways
from anchor_core.evaluation.speed.counting import Arithmetic, counted
from anchor_core.evaluation.speed.profiles import Profile, make_network, make_problem
from anchor_core.evaluation.speed.timing import Machine, measure_in_turns
from anchor_core.sampling.live import LiveBytes

TINY = Profile(
    *("cpu-tiny", "cpu", (8, 8, 16, 16), 2, 8, 8, 64, torch.float32, 5, 1, 1), embedding=(4, 4, 8, 8)
)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(profiles.PROFILES, "cpu-tiny", TINY)
    monkeypatch.setattr(bench, "keep_freed_memory", lambda: None)


def spoil(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """Make our sampler wrong by a factor."""
    right = ways.sample
    monkeypatch.setattr(ways, "sample", lambda *args, **options: factor * right(*args, **options))


def test_every_exact_way_equals_the_published_loop() -> None:
    differences = loop.check_equal(TINY)
    assert len(differences) == len(ways.exact_ways(make_network(TINY))) - 1
    assert max(differences.values()) < 1e-6


def test_a_wrong_sampler_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 1 + 1e-4)
    monkeypatch.setattr(loop, "time_ways", lambda *_, **__: pytest.fail("timed"))
    with pytest.raises(
        AnchorError, match=r"'frames .*' differs from the published loop by 1.0e-04 and may by 1e-05"
    ):
        loop.bench_loop(TINY)


def test_numbers_that_are_not_finite_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, math.nan)
    with pytest.raises(AnchorError, match="by inf and may"):
        loop.check_equal(TINY)


def test_the_command_ends_with_an_error_where_the_sampler_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(monkeypatch, 1.001)
    assert main(["bench", "--profile", "cpu-tiny", "--out", str(tmp_path / "out")]) == 1
    assert "nothing is timed before the sampler is right again" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_prints_and_writes_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--profile", "cpu-tiny", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    facts: dict[str, Any] = json.loads((tmp_path / "bench.json").read_text())["loop"]
    assert printed.strip() == (tmp_path / "bench.md").read_text().strip() == facts["markdown"]
    rows = {row["name"]: row for row in facts["rows"]}
    assert rows[ways.PUBLISHED]["ratio"] == 1
    assert [*rows][:2] == [ways.WRITTEN, ways.PUBLISHED]
    assert [*rows][-1] == "default"
    assert (
        rows[ways.PUBLISHED]["gflop"] > rows["+ keys and values of the contexts once per clip"]["gflop"] > 0
    )
    assert facts["machine"]["torch"] == torch.__version__
    assert facts["machine"]["gpu"] is None or torch.cuda.is_available()
    gpu = printed.split("On a GPU")[1]
    assert gpu.count("| default | – | – | – |") == 1  # never an estimate


def test_the_default_is_timed_and_need_not_be_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network(TINY)
    way = ways.default_way(network)
    problem = make_problem(TINY)
    assert way.run(problem).shape == problem.noise.shape
    assert not way.exact
    assert network.fidelity == "reference"


def test_a_whole_clip_is_made_once_where_the_profile_names_one() -> None:
    machine = Machine("", 1e9, 1e9)
    profile = replace(TINY, whole=(9, 2))
    rows = loop._whole(
        [*ways.exact_ways(make_network(TINY)), ways.default_way(make_network(TINY))],
        profile,
        machine,
        loop.silent_step,
    )
    assert [row.name for row in rows] == [ways.PUBLISHED, "default"]
    assert rows[1].fps == pytest.approx(9 / rows[1].seconds)


def test_runs_are_taken_in_turns() -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    timings = measure_in_turns(runs, 2, torch.device("cpu"))
    assert order == ["a", "b", "a", "b"]
    assert set(timings) == {"a", "b"}


def test_attention_kernels_are_counted() -> None:
    query, key = torch.randn(2, 3, 10, 4), torch.randn(2, 3, 7, 4)
    with torch.no_grad(), counted() as total:
        torch.nn.functional.scaled_dot_product_attention(query, key, key)
        torch.ones(5, 6) @ torch.ones(6, 7)
    scores = 2 * 3 * 10 * 7
    assert (total.exponentials, total.attention) == (scores, 2 * scores * 8)
    assert total.flops == total.attention + 2 * 5 * 6 * 7


def test_the_ideal_is_bound_by_exponentials_where_they_take_longer() -> None:
    machine = Machine("", matmul_flops=10.0, exponentials=1.0)
    assert loop.ideal_seconds(Arithmetic(100.0, 40.0, 3.0), machine) == 6 + 4
    assert loop.ideal_seconds(Arithmetic(100.0, 40.0, 30.0), machine) == 6 + 30


def test_live_tensors_are_those_that_live_at_once() -> None:
    outside = torch.ones(1000)
    with LiveBytes() as live:
        one = outside + 1  # 4000 bytes
        view = one[:500]
        view.add_(1)
        del one, view
        two = torch.zeros(500)  # 2000
        two = two + 1  # and 2000 more
    assert live.most == 4000
    assert len(two) == 500
