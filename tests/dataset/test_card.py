"""The card of a dataset, and cards of others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from anchor_core.dataset.card import ClipFacts, DatasetCard, read_dataset_card, write_dataset_card
from anchor_core.errors import AnchorError
from anchor_core.motion.camera import default_camera

CARD = DatasetCard(
    size=64,
    head_size=32,
    fps=25.0,
    frames=9,
    held_out_frames=1,
    camera=default_camera(64, 64),
    betas=(0.5, -1.0),
    people=("ada",),
    clips=(ClipFacts("one", "ada", "one.mp4", "one.pkl", 1, 10, (0.0, 1.0, 64.0, 64.0)),),
    perturbed=0,
    body="standin",
    ranges=None,
    hash="ab",
    made_with={"command": "x"},
)


def test_round_trip_from_folder_and_list(tmp_path: Path) -> None:
    write_dataset_card(CARD, tmp_path)
    assert read_dataset_card(tmp_path) == CARD
    assert read_dataset_card(tmp_path / "manifest.jsonl") == CARD


def test_folders_without_a_card_of_ours(tmp_path: Path) -> None:
    assert read_dataset_card(tmp_path) is None
    (tmp_path / "card.json").write_text('{"seed": 1}')
    assert read_dataset_card(tmp_path) is None


def test_keys_of_later_versions_are_passed_over_and_later_versions_refused(tmp_path: Path) -> None:
    data = CARD.to_dict()
    (tmp_path / "card.json").write_text(json.dumps({**data, "new": 1}))
    assert read_dataset_card(tmp_path) == CARD
    write_dataset_card(replace(CARD, version=2), tmp_path)
    with pytest.raises(AnchorError, match="has version 2, which is newer than 1: update the pack"):
        read_dataset_card(tmp_path)


def test_damaged_cards(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(AnchorError, match="is no JSON"):
        read_dataset_card(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps({**CARD.to_dict(), "camera": 3}))
    with pytest.raises(AnchorError, match="card is damaged"):
        read_dataset_card(tmp_path)
