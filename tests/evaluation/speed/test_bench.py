"""What `bench` can measure, prints and writes, apart from the measurements themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch

from anchor_core.cli import bench as command
from anchor_core.cli.main import main
from anchor_core.errors import AnchorError
from anchor_core.evaluation.speed import arithmetic, bench, prices, profiles, rendering, scaling
from anchor_core.evaluation.speed.profiles import PROFILES, choose_profile


@dataclass(frozen=True)
class Row:
    name: str
    number: float


ROWS = [Row("first", 1.5), Row("second", nan)]


def test_the_command_offers_all_parts_and_profiles() -> None:
    assert set(command.PARTS) == {*bench.PARTS, "all"}
    assert set(command.PROFILES) == {*PROFILES, "auto"}


@pytest.mark.parametrize(
    ("what", "module", "function"),
    [("render", rendering, "measure_rendering"), ("ranks", scaling, "measure_scaling")],
)
def test_parts_of_others_are_printed(
    what: str,
    module: Any,
    function: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, function, lambda step: ROWS)
    monkeypatch.setattr(module, "COLUMNS", (("number", 2),))
    assert main(["bench", "--what", what, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "| first | 1.50 |" in printed
    assert "| second | – |" in printed
    rows = json.loads((tmp_path / "bench.json").read_text())[what]["rows"]
    assert rows == [{"name": "first", "number": 1.5}, {"name": "second", "number": None}]


def test_prices_are_measured_with_the_weights_that_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(prices, "measure_prices", lambda *_, **options: given.update(options) or ROWS)
    monkeypatch.setattr(prices, "COLUMNS", (("number", 2),))
    monkeypatch.setattr(arithmetic, "count_arithmetic", list)
    options = ["--landmarks", "dwpose.onnx", "--i3d", "i3d.pt", "--out", str(tmp_path)]
    assert main(["bench", "--what", "presets", *options]) == 0
    assert given["weights"] == prices.PriceWeights(Path("dwpose.onnx"), Path("i3d.pt"))
    assert given["out"] == tmp_path
    assert "| first | 1.50 |" in capsys.readouterr().out


def test_parts_of_earlier_runs_stay_in_the_files(tmp_path: Path) -> None:
    bench.write_parts(tmp_path, {"render": bench.Part("### meshes", {"rows": []})})
    bench.write_parts(tmp_path, {"loop": bench.Part("### loop", {"rows": [1]})})
    assert (tmp_path / "bench.md").read_text() == "### loop\n\n### meshes\n"
    (tmp_path / "bench.json").write_text("no json")
    bench.write_parts(tmp_path, {"loop": bench.Part("### loop", {"rows": [1]})})
    assert list(json.loads((tmp_path / "bench.json").read_text())) == ["loop"]


def test_unknown_names_and_a_missing_gpu_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_profile("auto") is profiles.PROFILES["cpu-tiny"]
    with pytest.raises(AnchorError, match=r"the profile is 'huge': need auto or one of cpu-tiny"):
        choose_profile("huge")
    with pytest.raises(
        AnchorError, match=r"gpu-sd15 needs a CUDA GPU and there is none here: choose cpu-tiny"
    ):
        choose_profile("gpu-sd15")
    with pytest.raises(AnchorError, match=r"what to measure is 'all of it': need all or one of loop, memory"):
        bench.run_bench("all of it", bench.BenchOptions(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repeats", "0"], "--repeats is 0; need 1 or more"),
        (["--what", "memory", "--lengths", "100", "-3"], "--lengths is -3; need 1 or more"),
        (["--what", "memory", "--memory-steps", "0"], "--memory-steps is 0; need 1 or more"),
    ],
)
def test_numbers_that_measure_nothing_are_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *options, "--out", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["bench", "--out", str(tmp_path / "file" / "bench")]) == 1
    assert "cannot be written" in capsys.readouterr().err
