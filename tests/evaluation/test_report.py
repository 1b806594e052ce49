"""Lines of the table and the JSON."""

from __future__ import annotations

import json
import math

from anchor_core.evaluation.metric_kinds import METRIC_KINDS
from anchor_core.evaluation.report import Curve, Evaluation, Measurement, left_out, table, write_metrics


def evaluation():
    measured = (
        Measurement("psnr", 25.3141),
        Measurement("ssim", math.inf),
        *left_out("no weights", "fid", "fvd"),
    )
    curves = {"psnr": Curve("PSNR", "dB", {"": [1.0, math.nan, math.inf]}, marks=(1,))}
    return Evaluation(measured, curves, {"frames": 3, "size": [4, 4], "fps": 25.0})


def test_the_table_names_what_is_left_out_and_why():
    lines = table(evaluation()).splitlines()
    assert lines[0].split() == ["PSNR", "25.31", "dB", "better", "higher"]
    assert "∞" in lines[1]
    assert lines[2].split()[:2] == ["FID", "–"]
    assert lines[2].endswith("left out: no weights")


def test_json_has_neither_nan_nor_infinity(tmp_path):
    write_metrics(tmp_path / "metrics.json", evaluation())
    found = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=lambda word: 1 / 0)
    assert found["metrics"]["psnr"]["value"] == 25.3141
    assert found["metrics"]["psnr"]["unit"] == "dB"
    assert found["metrics"]["fid"] == {
        "value": None, "name": "FID", "unit": "", "better": "lower", "note": "left out: no weights",
    }  # fmt: skip
    assert found["curves"]["psnr"] == {"unit": "dB", "lines": {"": [1.0, None, None]}, "marks": [1]}
    assert found["frames"] == 3


def test_a_measurement_is_found_by_its_key():
    assert evaluation()["psnr"].value == 25.3141
    assert all(kind.name and kind.meaning.endswith(".") for kind in METRIC_KINDS.values())
