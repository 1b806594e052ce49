"""One file per person: round trips, and one sentence for every file that is not one."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from anchor_core.anchor.card import AnchorCard
from anchor_core.anchor.file import Anchor, load_anchor, read_card, read_parts, save_anchor
from anchor_core.anchor.kinds import ANCHOR_KEY
from anchor_core.anchor.weights import read_header
from anchor_core.errors import AnchorError

from . import models


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("anchor") / "ada.safetensors"
    save_anchor(models.tiny_anchor(), path, torch.float32)
    return path


def rewritten(path: Path, target: Path, change: Callable[[dict[str, Any], dict[str, str]], None]) -> Path:
    tensors, metadata = load_file(path), dict(read_header(path).metadata)
    change(tensors, metadata)
    save_file(tensors, str(target), metadata)
    return target


def outputs(anchor: Anchor) -> torch.Tensor:
    torch.manual_seed(1)
    latents, pose = torch.randn(1, 3, 4, 8, 8), torch.rand(3, 3, 16, 16)
    tokens = anchor.vision(pixel_values=torch.randn(1, 3, 32, 32)).last_hidden_state
    with torch.no_grad():
        noise = anchor.body(latents, 7, tokens, anchor.body.embed_pose(pose)[None])
        return anchor.vae.decode(noise[0]).sample


def test_everything_comes_back(saved: Path) -> None:
    anchor, loaded = models.tiny_anchor(), load_anchor(saved)
    assert loaded.card == anchor.card
    assert loaded.face is None
    assert models.same_weights(anchor.body, loaded.body)
    assert torch.equal(loaded.null_appearance, anchor.null_appearance)
    assert torch.equal(loaded.reference, anchor.reference)
    torch.testing.assert_close(outputs(loaded), outputs(anchor), rtol=0, atol=0)


def test_loaded_networks_are_ready(saved: Path) -> None:
    loaded = load_anchor(saved)
    for network in (loaded.body, loaded.vae, loaded.vision):
        assert not network.training
        assert not any(p.requires_grad or p.is_meta for p in network.parameters())
        assert not any(b.is_meta for b in network.buffers())


def test_half_precision(tmp_path: Path, saved: Path) -> None:
    save_anchor(models.tiny_anchor(), tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_size < 0.6 * saved.stat().st_size
    loaded = load_anchor(tmp_path / "a.safetensors")
    assert loaded.body.unet.dtype == torch.float32
    assert models.same_weights(loaded.body, models.tiny_anchor().body, 1e-3)
    assert load_anchor(tmp_path / "a.safetensors", torch.float16).vae.dtype == torch.float16


def test_loading_and_saving_changes_nothing(tmp_path: Path, saved: Path) -> None:
    save_anchor(load_anchor(saved), tmp_path / "a.safetensors", torch.float32)
    assert (tmp_path / "a.safetensors").read_bytes() == saved.read_bytes()


def test_face_with_more_channels(tmp_path: Path) -> None:
    anchor = models.tiny_anchor(face=models.tiny_sgdm(in_channels=9))
    save_anchor(anchor, tmp_path / "a.safetensors", torch.float32)
    loaded = load_anchor(tmp_path / "a.safetensors", need=("body", "face"))
    assert loaded.face.inpaint_channels == 5
    assert models.same_weights(anchor.face, loaded.face)


def test_card_alone_reads_only_the_header(saved: Path, tmp_path: Path) -> None:
    assert read_card(saved).name == "Ada"
    assert read_parts(saved) == (
        "body.unet",
        "body.controlnet",
        "vae",
        "vision",
        "null_appearance",
        "reference",
    )
    header = 8 + int.from_bytes(saved.read_bytes()[:8], "little")
    sparse = tmp_path / "a.safetensors"
    sparse.write_bytes(saved.read_bytes()[:header])
    os.truncate(sparse, saved.stat().st_size)  # the tensors are a hole in this file
    assert read_card(sparse) == read_card(saved)


def test_networks_live_on_without_the_file(tmp_path: Path, saved: Path) -> None:
    copy = tmp_path / "a.safetensors"
    copy.write_bytes(saved.read_bytes())
    loaded = load_anchor(copy)
    os.truncate(copy, 10)
    assert models.same_weights(loaded.body, models.tiny_anchor().body)


def test_interrupted_saving_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(tensors: object, path: str, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", interrupted)
    (tmp_path / "a.safetensors").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        save_anchor(models.tiny_anchor(), tmp_path / "a.safetensors")
    assert os.listdir(tmp_path) == ["a.safetensors"]
    assert (tmp_path / "a.safetensors").read_bytes() == b"old"


def test_saving_refuses(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match=r"saved as a \.safetensors file, not as a\.ckpt"):
        save_anchor(models.tiny_anchor(), tmp_path / "a.ckpt")
    with pytest.raises(AnchorError, match="neither a body nor a face"):
        save_anchor(models.tiny_anchor(body=None), tmp_path / "a.safetensors")
    with pytest.raises(AnchorError, match="null_appearance is stored, but there is none"):
        save_anchor(models.tiny_anchor(null_appearance=None), tmp_path / "a.safetensors")
    with pytest.raises(AnchorError, match=r"null_appearance .*shape \[5, 12\]; it must be \(1, T, D\)"):
        save_anchor(models.tiny_anchor(null_appearance=torch.zeros(5, 12)), tmp_path / "a.safetensors")
    anchor = models.tiny_anchor()
    anchor.body.unet.conv_in.weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(AnchorError, match=r"body\.unet\.conv_in\.weight .*not finite in torch\.float16"):
        save_anchor(anchor, tmp_path / "a.safetensors")
    assert not os.listdir(tmp_path)


# What strangers' files look like.


def test_wrong_keys_are_counted_and_named(tmp_path: Path, saved: Path) -> None:
    def rename(tensors: dict[str, Any], _: dict[str, str]) -> None:
        for key in [key for key in tensors if key.startswith("body.unet.")]:
            tensors[key.replace("body.unet.", "body.unet.module.")] = tensors.pop(key)

    path = rewritten(saved, tmp_path / "a.safetensors", rename)
    with pytest.raises(
        AnchorError, match=r"a\.safetensors does not fit its body\.unet: it lacks (\d+) of \1 tensors"
    ):
        load_anchor(path)


def test_missing_unexpected_and_misshaped(tmp_path: Path, saved: Path) -> None:
    def missing(tensors: dict[str, Any], _: dict[str, str]) -> None:
        del tensors["body.controlnet.conv_in.bias"]

    def unexpected(tensors: dict[str, Any], _: dict[str, str]) -> None:
        tensors["body.unet.conv_in.lora"] = torch.zeros(1)

    def misshaped(tensors: dict[str, Any], _: dict[str, str]) -> None:
        tensors["body.unet.conv_in.bias"] = torch.zeros(9)

    def loose(tensors: dict[str, Any], _: dict[str, str]) -> None:
        tensors["legs.unet.weight"] = torch.zeros(1)

    def bad_null(tensors: dict[str, Any], _: dict[str, str]) -> None:
        tensors["null_appearance"] = torch.zeros(5)

    def no_null(tensors: dict[str, Any], _: dict[str, str]) -> None:
        del tensors["null_appearance"]

    cases = {
        r"body\.controlnet: it lacks 1 of .*\(conv_in\.bias\)": missing,
        r"has unknown 1 of .*\(conv_in\.lora\)": unexpected,
        r"body\.unet\.conv_in\.bias has the shape \[9\], needed is \[8\]": misshaped,
        r"1 tensors of no known part \(legs\.unet\.weight\)": loose,
        r"null_appearance .*shape \[5\]": bad_null,
        "null_appearance is stored, but there is none": no_null,
    }
    for message, change in cases.items():
        with pytest.raises(AnchorError, match=message):
            load_anchor(rewritten(saved, tmp_path / "a.safetensors", change))


def test_hostile_metadata(tmp_path: Path, saved: Path) -> None:
    facts = json.loads(read_header(saved).metadata[ANCHOR_KEY])

    def edited(value: object) -> Path:
        text = value if isinstance(value, str) else json.dumps(value)
        return rewritten(saved, tmp_path / "a.safetensors", lambda _, meta: meta.update({ANCHOR_KEY: text}))

    def configs(value: object) -> dict[str, object]:
        return {**facts, "configs": value}

    def unet(**changes: Any) -> dict[str, object]:
        return configs({**facts["configs"], "body.unet": {**facts["configs"]["body.unet"], **changes}})

    cases: list[tuple[str, object]] = [
        (r"body\.unet in a\.safetensors says block_out_channels", unet(block_out_channels=[10**9, 8])),
        (r"describes a os\.system", unet(_class_name="os.system")),
        (r"configs in .* newer version", configs({"legs.unet": {}})),
        (r"configs in a\.safetensors are damaged", configs([])),
        ("not a JSON object", configs({"body.unet": 3, "body.controlnet": {}})),
        ("and without body", configs({})),
        ("card in a.safetensors is damaged", "{"),
        ("card in a.safetensors is damaged", "[" * 50_000),
        ("card in a.safetensors is damaged", [1]),
        ("newer version", {**facts, "card": {**facts["card"], "version": 99}}),
        ("fps = 0", {**facts, "card": {**facts["card"], "fps": 0}}),
    ]
    for message, value in cases:
        with pytest.raises(AnchorError, match=message):
            load_anchor(edited(value))


def test_face_where_the_body_is_needed(tmp_path: Path) -> None:
    anchor = models.tiny_anchor(body=None, face=models.tiny_sgdm(in_channels=9), vision=None)
    save_anchor(anchor, tmp_path / "a.safetensors")
    with pytest.raises(
        AnchorError, match="an anchor with face and vae and without body: a body network is needed"
    ):
        load_anchor(tmp_path / "a.safetensors")
    assert load_anchor(tmp_path / "a.safetensors", need=("face",)).face is not None


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", "a checkpoint of Stable Diffusion, not an anchor"),
        ("conditioner.embedders.0.weight", "Stable Diffusion XL"),
        ("lora_unet_down_blocks_0.lora_down.weight", "a LoRA"),
        ("base_model.layers.0.lora_A.weight", "a LoRA"),
        ("control_model.input_hint_block.0.weight", "a ControlNet"),
        ("controlnet_cond_embedding.conv_in.weight", "a ControlNet"),
        ("first_stage_model.encoder.conv_in.weight", "a VAE"),
        ("vision_model.embeddings.class_embedding", "a CLIP vision model"),
        ("time_embedding.linear_1.weight", "a U-Net of diffusers"),
        ("blob", "a file of 1 unknown tensors .*'blob'"),
    ],
)
def test_other_kinds_are_called_by_name(tmp_path: Path, key: str, words: str) -> None:
    save_file({key: torch.zeros(2)}, str(tmp_path / "a.safetensors"))
    for call in (load_anchor, read_card):
        with pytest.raises(AnchorError, match=words):
            call(tmp_path / "a.safetensors")


def test_files_that_are_no_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    cases: dict[bytes, str] = {
        b"": "is empty",
        b"12345": "damaged or of another kind",
        b"<!DOCTYPE html><html>": "web page",
        b"version https://git-lfs.github.com/spec/v1\noid": "git-lfs pointer",
        b"PK\x03\x04" + bytes(100): "zip archive",
        pickle.dumps({"a": 1}, protocol=2): "pickle",
        struct.pack("<Q", 2**62) + bytes(100): "damaged or of another kind",
        struct.pack("<Q", 50) + b"{" * 50: "damaged or of another kind",
        struct.pack("<Q", 4) + b"null": "damaged or of another kind",
    }
    for data, message in cases.items():
        path.write_bytes(data)
        for call in (load_anchor, read_card):
            with pytest.raises(AnchorError, match=message):
                call(path)
    with pytest.raises(AnchorError, match="There is no file"):
        read_card(tmp_path / "b.safetensors")
    with pytest.raises(AnchorError, match="is a folder"):
        read_card(tmp_path)


def test_hostile_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    good = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    headers: list[object] = [
        {"a": {**good, "shape": "x"}},
        {"a": {**good, "data_offsets": []}},
        {"a": {**good, "data_offsets": [0, float("inf")]}},
        {"a": {**good, "shape": [float("inf")]}},
        {"a": 3},
        {"__metadata__": [1]},
        b"[" * 50_000,
    ]
    for entries in headers:
        with pytest.raises(AnchorError, match="not a readable safetensors file"):
            read_card(models.write_header(path, entries, bytes(4)))
    with pytest.raises(AnchorError, match="cut off"):
        read_card(models.write_header(path, {"a": {**good, "data_offsets": [0, 2**60]}}))
    # The offsets of two tensors overlap, or lie outside of what the shape needs: safetensors itself refuses.
    facts = json.dumps({"card": AnchorCard("Ada").to_dict(), "configs": {}})
    lying = {"__metadata__": {ANCHOR_KEY: facts}, "null_appearance": {**good, "shape": [1, 10**9, 10**9]}}
    with pytest.raises(AnchorError, match="damaged"):
        load_anchor(models.write_header(path, lying, bytes(4)), need=())


def test_cut_off_file(tmp_path: Path, saved: Path) -> None:
    data = saved.read_bytes()
    for keep in (len(data) - 1, len(data) // 2, 5000, 8, 3):
        (tmp_path / "a.safetensors").write_bytes(data[:keep])
        for call in (load_anchor, read_card):
            with pytest.raises(AnchorError, match=r"cut off|damaged"):
                call(tmp_path / "a.safetensors")


def test_extra_card_fields_survive_the_file(tmp_path: Path) -> None:
    anchor = models.tiny_anchor()
    anchor.card = replace(anchor.card, extra={"tie": "blue"})
    save_anchor(anchor, tmp_path / "a.safetensors")
    assert read_card(tmp_path / "a.safetensors").extra == {"tie": "blue"}


def test_weights_that_are_no_floats(tmp_path: Path, saved: Path) -> None:
    """float32 read as int32 has the right size and makes noise of the person."""
    data = saved.read_bytes()
    (tmp_path / "a.safetensors").write_bytes(data.replace(b'"F32"', b'"I32"'))
    with pytest.raises(
        AnchorError, match=r"a\.safetensors does not fit .* holds torch\.int32, needed are floats"
    ):
        load_anchor(tmp_path / "a.safetensors")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="There is no file"):
        load_anchor(tmp_path / ("a" * 300))
