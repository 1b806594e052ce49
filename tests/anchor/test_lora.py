"""A low-rank anchor: small, loaded as any other, and one sentence when its base is not there or another."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from anchor_core.anchor.file import load_anchor, read_card, read_link, read_parts, save_anchor
from anchor_core.anchor.kinds import ANCHOR_KEY
from anchor_core.anchor.lora import read_updates, save_lora
from anchor_core.anchor.weights import read_header
from anchor_core.errors import AnchorError
from anchor_core.training.lora import attach_lora, lora_tensors, merge_lora

from . import models


def trained(sgdm: Any, seed: int = 3) -> dict[str, torch.Tensor]:
    """Low-rank tensors of a network that has low-rank layers from then on."""
    sgdm.controlnet.controlnet_mid_block.bias.data.fill_(0.1)
    attach_lora(sgdm, 2, 4.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in sgdm.low_rank.parameters():
        parameter.data.normal_(std=0.3, generator=generator)
    return lora_tensors(sgdm)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A base anchor, and a low-rank anchor of Bo on it."""
    base, path = tmp_path / "ada.safetensors", tmp_path / "bo.safetensors"
    anchor = models.tiny_anchor()
    anchor.body.controlnet.controlnet_mid_block.bias.data.fill_(0.1)
    save_anchor(anchor, base, torch.float32)
    card = replace(anchor.card, name="Bo", fps=24.0, fidelity="reference")
    own = replace(anchor, card=card, null_appearance=None, reference=anchor.reference // 2)
    save_lora(own, {"body": trained(anchor.body)}, base, path, torch.float32)
    return base, path


def test_it_loads_as_an_ordinary_anchor(pair: tuple[Path, Path]) -> None:
    base, path = pair
    expected, loaded = load_anchor(base), load_anchor(path)
    trained(expected.body)
    merge_lora(expected.body)
    assert models.same_weights(loaded.body, expected.body, 1e-6)
    assert loaded.card.name == "Bo"
    assert loaded.body.fidelity == "reference"
    assert torch.equal(loaded.reference, expected.reference // 2)
    assert torch.equal(loaded.null_appearance, expected.null_appearance)  # the base's
    assert models.same_weights(loaded.vae, expected.vae)
    assert not loaded.body.training
    assert not any(parameter.requires_grad for parameter in loaded.body.parameters())


def test_it_is_small(pair: tuple[Path, Path]) -> None:
    base, path = pair
    assert path.stat().st_size < base.stat().st_size / 4


def test_the_header_tells_all(pair: tuple[Path, Path]) -> None:
    base, path = pair
    assert read_card(path).name == "Bo"
    assert read_parts(path) == read_parts(base)
    link = read_link(path)
    assert link is not None
    assert (link.name, link.size) == ("ada.safetensors", base.stat().st_size)
    assert read_link(base) is None


def test_merged_into_a_whole_anchor(pair: tuple[Path, Path], tmp_path: Path) -> None:
    _, path = pair
    save_anchor(load_anchor(path), tmp_path / "whole.safetensors", torch.float32)
    whole = load_anchor(tmp_path / "whole.safetensors")
    assert read_link(tmp_path / "whole.safetensors") is None
    assert models.same_weights(whole.body, load_anchor(path).body)


def test_a_renamed_base_is_found(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, path = pair
    base.rename(tmp_path / "renamed.safetensors")
    assert load_anchor(path).card.name == "Bo"


def test_the_base_by_its_path(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, path = pair
    (tmp_path / "far").mkdir()
    moved = path.rename(tmp_path / "far" / "bo.safetensors")
    with pytest.raises(AnchorError, match=r"differs from ada.safetensors \(.*MB.*, which is not in .*far"):
        load_anchor(moved)
    assert load_anchor(moved, base=base).card.name == "Bo"
    with pytest.raises(AnchorError, match=r"is not the file that bo.safetensors was trained on"):
        load_anchor(moved, base=moved)


def test_another_file_under_the_name_of_the_base(pair: tuple[Path, Path]) -> None:
    base, path = pair
    save_anchor(models.tiny_anchor(reference=None), base, torch.float32)
    with pytest.raises(AnchorError, match=r"ada.safetensors beside it is another file: put the one there"):
        load_anchor(path)


def test_shipped_bases_are_found_anywhere(pair: tuple[Path, Path], tmp_path: Path, monkeypatch: Any) -> None:
    base, path = pair
    (tmp_path / "assets").mkdir()
    base.rename(tmp_path / "assets" / base.name)
    monkeypatch.setattr("anchor_core.anchor.base_file.ASSETS", tmp_path / "assets")
    assert load_anchor(path).card.name == "Bo"


def test_a_face_joins_the_body(tmp_path: Path) -> None:
    base, path = tmp_path / "ada.safetensors", tmp_path / "bo.safetensors"
    anchor = models.tiny_face_anchor()
    save_anchor(anchor, base, torch.float32)
    body, face = trained(anchor.body), trained(anchor.face, seed=4)
    save_lora(anchor, {"body": body}, base, path, torch.float32)
    save_lora(anchor, read_updates(path) | {"face": face}, base, path, torch.float32)
    loaded, expected = load_anchor(path, need=("body", "face")), load_anchor(base)
    trained(expected.face, seed=4)
    merge_lora(expected.face)
    # The ControlNet's bias that `trained` sets was not in the saved base.
    assert models.same_weights(loaded.face.unet, expected.face.unet, 1e-6)
    assert set(read_updates(path)) == {"body", "face"}


def test_what_is_not_updated_is_another_person(tmp_path: Path) -> None:
    base, path = tmp_path / "ada.safetensors", tmp_path / "bo.safetensors"
    anchor = models.tiny_face_anchor()
    save_anchor(anchor, base)
    bare = replace(anchor, reference=None, face_reference=None)
    update = trained(anchor.body)
    save_lora(bare, {"body": update}, base, path)
    assert load_anchor(path).face is not None  # the same person
    assert read_parts(path) == read_parts(base)
    save_lora(replace(bare, card=replace(bare.card, name="Bo")), {"body": update}, base, path)
    loaded = load_anchor(path)
    assert loaded.face is None
    assert loaded.reference is None
    assert loaded.face_reference is None
    parts = ("body.unet", "body.controlnet", "vae", "vision", "null_appearance")
    assert read_parts(path) == parts
    with pytest.raises(AnchorError, match=r"bo.safetensors is an anchor with body and without face"):
        load_anchor(path, need=("face",))


def test_unmerged_layers_are_not_lost_silently(tmp_path: Path) -> None:
    anchor = models.tiny_anchor()
    trained(anchor.body)
    with pytest.raises(AnchorError, match="body network has low-rank layers beside its weights: merge them"):
        save_anchor(anchor, tmp_path / "a.safetensors")


def test_what_can_be_a_base(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, path = pair
    anchor, updates = load_anchor(base), read_updates(path)
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (path, updates, r"bo.safetensors is a low-rank anchor itself: make a whole anchor of it first"),
        (tmp_path, updates, "is a folder, and a low-rank anchor stands on one file"),
        (base, {"face": updates["body"]}, "ada.safetensors has no face network with the layer"),
        (base, {"body": {}}, "has no body network with any update"),
        (base, {}, "no low-rank updates to save"),
    ]
    for given, tensors, message in cases:
        with pytest.raises(AnchorError, match=message):
            save_lora(anchor, tensors, given, tmp_path / "new.safetensors")
    assert not (tmp_path / "new.safetensors").exists()


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(path)
    facts = json.loads(read_header(path).metadata[ANCHOR_KEY])
    change(facts, tensors)
    save_file(tensors, str(path), {ANCHOR_KEY: json.dumps(facts)})


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("name", "../ada.safetensors"),
        ("name", "C:\\ada.safetensors"),
        ("name", ""),
        ("name", 7),
        ("size", -1),
        ("size", "1"),
        ("sha256", "abc"),
        ("person", None),
        ("surplus", 1),
        ("sha256", None),
        ("parts", [1]),
        ("parts", ["x"] * 99),
    ],
)
def test_a_damaged_link(pair: tuple[Path, Path], entry: str, value: object) -> None:
    rewrite(pair[1], lambda facts, _: facts["low_rank"].update({entry: value}))
    with pytest.raises(AnchorError, match=r"The card in bo.safetensors is damaged"):
        load_anchor(pair[1])


def test_foreign_tensors(pair: tuple[Path, Path]) -> None:
    rewrite(pair[1], lambda _, tensors: tensors.update(extra=torch.ones(2)))
    with pytest.raises(AnchorError, match=r"1 tensors of no known part \(extra\)"):
        load_anchor(pair[1])


def test_a_stage_that_the_base_lacks(pair: tuple[Path, Path]) -> None:
    def move(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("body.")]:
            tensors[name.replace("body.", "face.", 1)] = tensors.pop(name)

    rewrite(pair[1], move)
    with pytest.raises(AnchorError, match="changes a face network, which its base does not have"):
        load_anchor(pair[1], need=())
