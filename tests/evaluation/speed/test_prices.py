"""Prices of approximations: every row is measured against the truth and against what it stands for."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from anchor_core.anchor.card import AnchorCard
from anchor_core.anchor.file import Anchor, save_anchor
from anchor_core.anchor.use import sampler_settings
from anchor_core.demo.networks import TOKEN_WIDTH, new_sgdm, new_vae, new_vision
from anchor_core.demo.recipe import QUICK, demo_card
from anchor_core.evaluation.method.points import PointDetector
from anchor_core.evaluation.speed import arithmetic, prices
from anchor_core.evaluation.speed.prices import GUIDED, Price, measure_prices, plan_prices, price_table

CARD = AnchorCard(name="Seth")


@pytest.fixture(scope="module")
def anchor_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained anchor of the demo world."""
    anchor = Anchor(
        card=replace(demo_card(QUICK, 0), steps=2, resolution=(64, 64)),
        body=new_sgdm(0),
        vae=new_vae(0),
        vision=new_vision(0),
        null_appearance=torch.zeros(1, 17, TOKEN_WIDTH),
        reference=torch.zeros(64, 64, 3, dtype=torch.uint8),
    )
    path = tmp_path_factory.mktemp("prices") / "anchor.safetensors"
    save_anchor(anchor, path)
    return path


@pytest.mark.parametrize("card", [CARD, replace(CARD, guidance_scale=1.0), replace(CARD, scheduler="lcm")])
def test_every_row_makes_settings_and_stands_for_one_before_it(card: AnchorCard) -> None:
    names: list[str] = []
    for price in plan_prices(card):
        sampler_settings(card, **price.settings)
        names.append(price.name)
        assert price.beside in [*names, "default"]
    assert len(set(names)) == len(names)
    assert {"faithful", "default", "fast"} < set(names)
    assert ("distilled" in names) == (card.scheduler == "lcm")
    assert (GUIDED in names) == (card.guidance_scale <= 1)


def test_rows_are_measured(anchor_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "_own_detector", lambda _anchor, _step: PointDetector())
    asked = [
        Price("faithful", {"schedule": "reference"}),
        Price("default"),
        Price("far_keys 2", {"far_keys": 2}),
        Price("far_keys 2 again", {"far_keys": 2}, beside="far_keys 2"),
    ]
    rows = measure_prices(anchor_path, 3, prices=asked, out=tmp_path, rounds=1)
    by_name = {row.name: row for row in rows}
    assert math.isnan(by_name["default"].approximation)
    assert math.isnan(by_name["far_keys 2 again"].approximation)
    assert 10 < by_name["far_keys 2"].approximation < 200
    assert all(math.isfinite(row.psnr) and math.isfinite(row.lmd_body) for row in rows)
    assert all(math.isnan(row.fvd) for row in rows)
    assert by_name["faithful"].speed == 1
    assert (tmp_path / prices.SHEET).is_file()
    text = price_table(rows)
    assert all(f"| {row.name} |" in text for row in rows)
    assert "FVD left out: no weights given" in text


def test_arithmetic_counts_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def tiny() -> Any:
        with torch.device("meta"):
            return new_sgdm(0)

    monkeypatch.setattr(arithmetic, "stable_diffusion_sgdm", tiny)
    rows = {row.name: row for row in arithmetic.count_arithmetic(n_frames=28, size=192)}
    assert rows["faithful"].share == 1
    shares = {name: row.share / rows["default"].share for name, row in rows.items()}
    assert shares["fast"] < shares["far_keys 2"] < 1
    assert shares["reuse 3"] < shares["reuse 2"] < 1
    assert shares["8 steps of dpm++2m"] == pytest.approx(8 / 20)
    assert 0.8 < shares["guidance in 20% to 80% of the steps"] < 1
    assert "| fast |" in arithmetic.arithmetic_table(list(rows.values()))
