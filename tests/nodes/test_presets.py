"""Presets of the sampler nodes: they change what the widgets leave open."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from .stand_in_host import PACK


def _settings(stage: str = "body", **changes: Any) -> Any:
    from anchor_core.anchor.card import AnchorCard

    card = AnchorCard("ada", steps=20, guidance_scale=7.5, window_size=12, overlap=5)
    given: dict[str, Any] = {
        "steps": 0,
        "cfg": -1.0,
        "condition_scale": -1.0,
        "window_size": 0,
        "overlap": -1,
    }
    given |= {"seed": 3, "schedule": "static", "weighting": "flat", "scheduler": "as the anchor says"}
    return sys.modules[f"{PACK}.nodes._sampling"].settings_from(card, stage, **given | changes)


def test_the_default_is_what_the_anchor_says(nodes: Any) -> None:
    assert _settings(preset="default") == _settings()


def test_faithful_takes_the_published_windows(nodes: Any) -> None:
    assert _settings(preset="faithful").schedule == "reference"
    face = _settings("face", preset="faithful")
    assert (face.window_size, face.overlap) == (1, 0)


def test_fast_takes_fewer_steps_unless_they_are_given(nodes: Any) -> None:
    fast, told = _settings(preset="fast"), _settings(preset="fast", steps=30, scheduler="euler")
    assert fast.steps < 20
    assert fast.scheduler != "ddim"
    assert (told.steps, told.scheduler) == (30, "euler")


def test_an_unknown_preset_is_refused(nodes: Any) -> None:
    error: type[Exception] = sys.modules[f"{PACK}.anchor_core.errors"].AnchorError
    with pytest.raises(error, match="the preset is 'quick': need one of faithful"):
        _settings(preset="quick")
