"""Checkpoints: how many stay, what is compared, and those of older versions."""

from __future__ import annotations

import os

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.training.checkpoint import drop_partial, keep_checkpoint, load_checkpoint, save_checkpoint
from anchor_core.training.config import SGDMConfig

CONFIG = SGDMConfig(steps=5)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("links", [True, False])
def test_the_newest_stay_under_their_steps(tmp_path, monkeypatch, links):
    def refuse(*_paths):
        raise OSError("no links on this disk")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "checkpoint.pt"
    for step in (5, 10, 15):
        save_checkpoint(path, {"step": step}, CONFIG)
        keep_checkpoint(path, step, keep=2)
    assert names(tmp_path) == ["checkpoint.pt", "checkpoint_00000010.pt", "checkpoint_00000015.pt"]
    assert load_checkpoint(tmp_path / "checkpoint_00000010.pt", CONFIG)["step"] == 10
    assert load_checkpoint(path, CONFIG)["step"] == 15


def test_one_is_kept_by_default(tmp_path):
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 1}, CONFIG)
    keep_checkpoint(tmp_path / "checkpoint.pt", 1, CONFIG.keep_checkpoints)
    assert names(tmp_path) == ["checkpoint.pt"]


def test_halves_of_killed_processes_go(tmp_path):
    for name in ("checkpoint.pt", ".checkpoint.0123abcd.pt", ".other.0123abcd.pt"):
        (tmp_path / name).touch()
    drop_partial(tmp_path / "checkpoint.pt")
    assert names(tmp_path) == [".other.0123abcd.pt", "checkpoint.pt"]


def test_other_data_are_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {}, SGDMConfig(steps=5, dataset_hash="abc"))
    with pytest.raises(AnchorError, match="made with dataset_hash = abc and now it is def"):
        load_checkpoint(path, SGDMConfig(steps=5, dataset_hash="def"))


@pytest.mark.parametrize(
    "change",
    [{"precision": "bf16"}, {"optimiser": "adamw8bit"}, {"min_snr_gamma": 5.0}, {"lora_rank": 4}],
)
def test_settings_that_are_newer_than_a_checkpoint_had_their_defaults(tmp_path, change):
    path = tmp_path / "checkpoint.pt"
    older = {key: value for key, value in vars(CONFIG).items() if key not in change}
    torch.save({"config": older, "step": 3}, path)
    assert load_checkpoint(path, CONFIG)["step"] == 3
    with pytest.raises(AnchorError, match=f"{next(iter(change))} = "):
        load_checkpoint(path, SGDMConfig(steps=5, **change))


@pytest.mark.parametrize(
    "change", [{"accumulation": 2}, {"gradient_checkpointing": True}, {"device": "cuda"}]
)
def test_what_saves_memory_may_change(tmp_path, change):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 3}, CONFIG)
    assert load_checkpoint(path, SGDMConfig(steps=5, **change))["step"] == 3
