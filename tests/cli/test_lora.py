"""Low-rank anchors by the shell: said what they stand on, made whole, and used as any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from anchor_core.anchor.file import load_anchor, read_link, save_anchor
from anchor_core.anchor.lora import save_lora
from anchor_core.cli.main import main
from anchor_core.training.lora import attach_lora, lora_tensors

from ..anchor import models


@pytest.fixture
def low_rank(tmp_path: Path) -> Path:
    """A low-rank anchor, with its base beside it."""
    anchor = models.tiny_anchor()
    anchor.body.controlnet.controlnet_mid_block.bias.data.fill_(0.1)
    base, path = tmp_path / "base.safetensors", tmp_path / "low_rank.safetensors"
    save_anchor(anchor, base)
    for parameter in attach_lora(anchor.body, 2, 2).parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_lora(anchor, {"body": lora_tensors(anchor.body)}, base, path)
    return path


def test_info_says_what_it_stands_on(low_rank: Path, anchor_file: Path, capsys: Any) -> None:
    assert main(["info", str(low_rank)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["stands_on"]["name"] == "base.safetensors"
    assert "body.unet" in facts["parts"]
    assert main(["info", str(anchor_file)]) == 0
    assert "stands_on" not in json.loads(capsys.readouterr().out)


def test_convert_makes_it_whole(low_rank: Path, tmp_path: Path) -> None:
    out = tmp_path / "whole.safetensors"
    assert main(["convert", str(low_rank), "--name", "Bo", "--out", str(out)]) == 0
    assert read_link(out) is None
    whole = load_anchor(out)
    assert whole.card.name == "Bo"
    assert models.same_weights(whole.body, load_anchor(low_rank).body, 1e-3)


def test_a_base_that_lies_elsewhere(low_rank: Path, tmp_path: Path, motion_file: Path, capsys: Any) -> None:
    (tmp_path / "far").mkdir()
    moved = Path(shutil.move(low_rank, tmp_path / "far"))
    short = ["--frames", "2", "--steps", "1", "--guidance-scale", "1", "--out", str(tmp_path / "bo.mp4")]
    command = ["generate", "--anchor", str(moved), "--motion", str(motion_file), *short]
    assert main(command) == 1
    assert "holds only what differs from base.safetensors" in capsys.readouterr().err
    assert main([*command, "--base", str(tmp_path / "base.safetensors")]) == 0
    assert (tmp_path / "bo.mp4").stat().st_size > 0
