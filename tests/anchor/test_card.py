"""The card: defaults of the published weights, JSON and back, and a sentence for everything that is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from anchor_core.anchor.card import CARD_VERSION, AnchorCard
from anchor_core.errors import AnchorError
from anchor_core.motion.camera import default_camera


def test_defaults_are_those_of_the_published_weights() -> None:
    card = AnchorCard("seth")
    assert (card.steps, card.window_size, card.overlap) == (20, 16, 4)
    assert (card.guidance_scale, card.condition_scale, card.fidelity) == (7.5, 2.0, "reference")
    assert (card.prediction_type, card.beta_start, card.beta_end) == ("epsilon", 0.00085, 0.012)


def test_json_and_back() -> None:
    camera = default_camera(640, 480).to_dict()
    card = AnchorCard(
        "Ada Ł", camera=camera, betas=(0.5, -1.0), resolution=(640, 480), consent="yes, by letter"
    )
    assert AnchorCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_unknown_fields_are_kept() -> None:
    data = {**AnchorCard("Ada").to_dict(), "favourite_tie": "blue"}
    card = AnchorCard.from_dict(data)
    assert card.extra == {"favourite_tie": "blue"}
    assert replace(card, name="Eve").to_dict()["favourite_tie"] == "blue"


def test_newer_version_says_update() -> None:
    data = {"name": "Ada", "version": CARD_VERSION + 1, "steps": "of another meaning"}
    with pytest.raises(AnchorError, match=r"newer version.*update the pack"):
        AnchorCard.from_dict(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": " "}, "name"),
        ({"name": 3}, "name = 3"),
        ({"window_size": 0}, "window_size = 0; it must be a whole number from 1 to 4096"),
        ({"window_size": True}, "window_size = True"),
        ({"overlap": 16}, "overlap = 16; it must be smaller than window_size"),
        ({"steps": 20.5}, "steps = 20.5"),
        ({"fps": float("nan")}, "fps = nan"),
        ({"fps": "25"}, "fps = '25'"),
        ({"seed": -1}, "seed = -1"),
        ({"guidance_scale": 1e9}, "guidance_scale"),
        ({"prediction_type": "flow"}, "prediction_type = 'flow'; it must be one of epsilon"),
        ({"prediction_type": ["epsilon"]}, "prediction_type"),
        ({"fidelity": "best"}, "fidelity = 'best'"),
        ({"zero_terminal_snr": 1}, "zero_terminal_snr = 1; it must be true or false"),
        ({"resolution": [512]}, "resolution"),
        ({"resolution": [512, 10**6]}, "resolution"),
        ({"betas": ["a"]}, "betas"),
        ({"betas": 3}, "betas = 3"),
        ({"camera": {"focal_px": 1}}, "camera"),
        ({"camera": 5}, "camera = 5"),
        ({"camera": {"focal_px": 1, "center_px": 1, "size": 1, "translation": 1}}, "camera"),
        ({"consent": "x" * 30_000}, "consent = 'xxx"),
        ({"version": "1"}, "version = '1'"),
        ({"version": 0}, "version = 0"),
    ],
)
def test_bad_values_name_the_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        AnchorCard.from_dict({"name": "Ada", **change})


@pytest.mark.parametrize("data", [None, [], 3, {}, {"steps": 3}])
def test_no_card(data: Any) -> None:
    with pytest.raises(AnchorError, match="card has no name"):
        AnchorCard.from_dict(data)
