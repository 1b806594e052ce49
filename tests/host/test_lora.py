"""A low-rank anchor in a real ComfyUI: the loader takes it as any other, with its base found by itself."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from .conftest import Edit
from .server import HostServer

NAME = "low_rank.safetensors"


@pytest.fixture(scope="module")
def low_rank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Low-rank layers of random numbers on the demo anchor, which ships."""
    import torch

    from anchor_core.anchor.file import load_anchor
    from anchor_core.anchor.lora import save_lora
    from anchor_core.files import ASSETS
    from anchor_core.training.lora import attach_lora, lora_tensors

    base, path = ASSETS / "demo_anchor.safetensors", tmp_path_factory.mktemp("anchors") / NAME
    anchor = load_anchor(base)
    for parameter in attach_lora(anchor.body, 4, 4).parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    own = replace(anchor, card=replace(anchor.card, name="Bo"), null_appearance=None)
    save_lora(own, {"body": lora_tensors(anchor.body)}, base, path)
    return path


def test_a_low_rank_anchor_is_another_person(host: HostServer, edited: Edit, low_rank: Path) -> None:
    (host.base / "models" / "anchors" / NAME).symlink_to(low_rank)
    shown = []
    for changes in ({}, {"2.anchor": NAME}):
        prompt = edited({"3.n_frames": 4, "6.steps": 1, **changes})
        prompt["99"] = {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}}
        entry = host.run(prompt)
        assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
        shown.append([file.read_bytes() for file in host.shown(entry, "99")])
    assert len(shown[0]) == len(shown[1]) == 4
    assert shown[0] != shown[1]


def test_a_missing_base_is_one_sentence(host: HostServer, edited: Edit, low_rank: Path) -> None:
    other = host.base / "models" / "anchors" / "no_base.safetensors"
    other.write_bytes(_on_another_base(low_rank.read_bytes()))
    entry = host.run(edited({"2.anchor": other.name}))
    assert entry["status"]["status_str"] == "error"
    assert "holds only what differs from else_anchor.safetensors" in str(entry["status"]["messages"][-1])


def _on_another_base(data: bytes) -> bytes:
    """The same file, as if it had been trained on a file that is not there."""
    data = data.replace(b"demo_anchor.safetensors", b"else_anchor.safetensors", 1)
    digest = re.search(rb"[0-9a-f]{64}", data)
    assert digest is not None
    return data.replace(digest[0], b"0" * 64)
