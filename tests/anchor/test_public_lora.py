"""LoRA files of other programs: every spelling adds the same numbers, and a wrong file costs one sentence."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from anchor_core.anchor.file import Anchor
from anchor_core.anchor.lora import save_lora
from anchor_core.anchor.public_lora import add_public_lora, read_public_lora
from anchor_core.errors import AnchorError

from . import models

QUERY = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONV = "up_blocks.0.resnets.0.conv1"
PROJ = "mid_block.attentions.0.proj_in"
LAYERS = (QUERY, OUT, CONV, PROJ)
RANK = 2
Pairs = dict[str, tuple[Tensor, Tensor]]


@pytest.fixture
def anchor() -> Anchor:
    return models.tiny_anchor()


def random_pairs(network: Any, layers: tuple[str, ...] = LAYERS) -> Pairs:
    """(down, up) as they are written: (r, in[, k, k]) and (out, r[, 1, 1])."""
    generator = torch.Generator().manual_seed(5)
    pairs = {}
    for layer in layers:
        shape = network.get_submodule(layer).weight.shape
        ones = (1,) * (len(shape) - 2)
        down = torch.randn(RANK, *shape[1:], generator=generator)
        pairs[layer] = down, torch.randn(shape[0], RANK, *ones, generator=generator)
    return pairs


def kohya(pairs: Pairs, network: str = "unet", alpha: float | None = None) -> dict[str, Tensor]:
    tensors = {}
    for layer, (down, up) in pairs.items():
        name = f"lora_{network}_{layer.replace('.', '_')}"
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(alpha)
    return tensors


def dotted(pairs: Pairs, prefix: str, down: str, up: str) -> dict[str, Tensor]:
    names = {layer: prefix + layer for layer in pairs}
    return {names[layer] + end: pair[i] for layer, pair in pairs.items() for i, end in enumerate((down, up))}


def old_processors(pairs: Pairs, prefix: str) -> dict[str, Tensor]:
    """diffusers before 2024 knew the attention alone."""
    tensors = {}
    for layer, (down, up) in pairs.items():
        place, _, leaf = layer.removesuffix(".0").rpartition(".")
        name = f"{prefix}{place}.processor.{leaf}_lora"
        tensors |= {f"{name}.down.weight": down, f"{name}.up.weight": up}
    return tensors


def latent_diffusion(pairs: Pairs) -> dict[str, Tensor]:
    """What ComfyUI writes, by the names of latent-diffusion; `layers_per_block` is 1."""
    names = {
        QUERY: "middle_block.1.transformer_blocks.0.attn1.to_q",
        OUT: "middle_block.1.transformer_blocks.0.attn1.to_out.0",
        CONV: "output_blocks.0.0.in_layers.2",
        PROJ: "middle_block.1.proj_in",
    }
    named = {names[layer]: pair for layer, pair in pairs.items()}
    return dotted(named, "diffusion_model.", ".lora_down.weight", ".lora_up.weight")


SPELLINGS: dict[str, Callable[[Pairs], dict[str, Tensor]]] = {
    "kohya": kohya,
    "kohya, alpha = rank": lambda pairs: kohya(pairs, alpha=RANK),
    "peft": lambda pairs: dotted(pairs, "unet.", ".lora_A.weight", ".lora_B.weight"),
    "peft, named adapter": lambda pairs: dotted(
        pairs, "base_model.model.unet.", ".lora_A.default.weight", ".lora_B.default.weight"
    ),
    "diffusers": lambda pairs: dotted(pairs, "unet.", ".lora.down.weight", ".lora.up.weight"),
    "no prefix": lambda pairs: dotted(pairs, "", ".lora.down.weight", ".lora.up.weight"),
    "latent-diffusion": latent_diffusion,
}


def added(before: Tensor, pair: tuple[Tensor, Tensor], scale: float = 1.0) -> Tensor:
    down, up = pair
    return before + scale * (up.flatten(1) @ down.flatten(1)).view(before.shape)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_adds_the_same(anchor: Anchor, tmp_path: Path, spelling: str) -> None:
    before = copy.deepcopy(anchor.body)
    pairs = random_pairs(anchor.body.unet)
    save_file(SPELLINGS[spelling](pairs), tmp_path / "a.safetensors")
    add_public_lora(anchor, tmp_path / "a.safetensors")
    old, new = before.state_dict(), anchor.body.state_dict()
    changed = {name for name, weight in new.items() if not torch.equal(weight, old[name])}
    assert changed == {f"unet.{layer}.weight" for layer in LAYERS}
    for layer, pair in pairs.items():
        expected = added(before.unet.get_submodule(layer).weight, pair)
        torch.testing.assert_close(anchor.body.unet.get_submodule(layer).weight, expected)


@pytest.mark.parametrize("prefix", ["unet.", ""])
def test_attention_processors_of_old_diffusers(anchor: Anchor, tmp_path: Path, prefix: str) -> None:
    before = copy.deepcopy(anchor.body.unet)
    pairs = random_pairs(before, (QUERY, OUT))
    save_file(old_processors(pairs, prefix), tmp_path / "a.safetensors")
    add_public_lora(anchor, tmp_path / "a.safetensors")
    for layer, pair in pairs.items():
        expected = added(before.get_submodule(layer).weight, pair)
        torch.testing.assert_close(anchor.body.unet.get_submodule(layer).weight, expected)


def test_alpha_and_scale_weigh_it(anchor: Anchor, tmp_path: Path) -> None:
    before = anchor.body.unet.get_submodule(QUERY).weight.clone()
    pairs = random_pairs(anchor.body.unet, (QUERY,))
    save_file(kohya(pairs, alpha=1.0), tmp_path / "a.safetensors")
    add_public_lora(anchor, tmp_path / "a.safetensors", scale=0.5)
    expected = added(before, pairs[QUERY], 0.5 * 1.0 / RANK)
    torch.testing.assert_close(anchor.body.unet.get_submodule(QUERY).weight, expected)


def test_alpha_of_pefts_own_facts(anchor: Anchor, tmp_path: Path) -> None:
    pairs = random_pairs(anchor.body.unet, (QUERY,))
    facts = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 6, "unet.r": RANK})}
    save_file(SPELLINGS["peft"](pairs), tmp_path / "a.safetensors", metadata=facts)
    updates = read_public_lora(anchor.body, tmp_path / "a.safetensors")
    torch.testing.assert_close(updates[f"unet.{QUERY}.up"], pairs[QUERY][1] * 3)


def test_controlnets_and_faces_are_updated_too(tmp_path: Path) -> None:
    anchor = models.tiny_face_anchor()
    controlnet = random_pairs(anchor.body.controlnet, ("mid_block.resnets.0.conv1",))
    tensors = kohya(random_pairs(anchor.body.unet)) | kohya(controlnet, "controlnet")
    save_file(tensors, tmp_path / "a.safetensors")
    before = copy.deepcopy(anchor.body), copy.deepcopy(anchor.face)
    add_public_lora(anchor, tmp_path / "a.safetensors", stages=("body",))
    assert not models.same_weights(anchor.body.controlnet, before[0].controlnet)
    assert models.same_weights(anchor.face, before[1])
    add_public_lora(anchor, tmp_path / "a.safetensors", stages=("face",))
    assert not models.same_weights(anchor.face.unet, before[1].unet)


def test_the_text_encoder_is_left_out(anchor: Anchor, tmp_path: Path) -> None:
    text = {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.zeros(2, 3)}
    save_file(kohya(random_pairs(anchor.body.unet)) | text, tmp_path / "a.safetensors")
    assert len(read_public_lora(anchor.body, tmp_path / "a.safetensors")) == 2 * len(LAYERS)


def other_rank(pairs: Pairs) -> dict[str, Tensor]:
    return kohya({QUERY: (torch.zeros(2, 7), torch.zeros(16, 2))})


WRONG: dict[str, tuple[Callable[[Pairs], dict[str, Tensor]], str]] = {
    "of another network": (
        lambda pairs: kohya({"double_blocks.0.img_attn.qkv": pairs[QUERY]}),
        r"a.safetensors is a LoRA; 2 of 2 tensors fit no layer of this anchor \(lora_unet_double_blocks",
    ),
    "of a network with other blocks": (
        lambda pairs: dotted(
            {"input_blocks.1.7.proj": pairs[QUERY]},
            "diffusion_model.",
            ".lora_down.weight",
            ".lora_up.weight",
        ),
        r"2 of 2 tensors fit no layer of this anchor \(diffusion_model.input_blocks.1.7",
    ),
    "no LoRA": (lambda pairs: {"encoder.down.weight": torch.zeros(3)}, "a.safetensors is a VAE; 1 of 1"),
    "LyCORIS": (
        lambda pairs: kohya(pairs) | {"lora_unet_mid_block.hada_w1_a": torch.zeros(2, 2)},
        r"1 of 9 tensors fit no layer of this anchor \(lora_unet_mid_block.hada_w1_a\)",
    ),
    "text alone": (
        lambda pairs: {"lora_te_a.lora_down.weight": torch.zeros(2, 3)},
        "it changes no U-Net: give a LoRA of Stable Diffusion 1.5",
    ),
    "half": (
        lambda pairs: {name: t for name, t in kohya(pairs).items() if "lora_up" not in name},
        "4 low-rank tensors without their other half",
    ),
    "another width": (other_rank, r"holds \[16, 2\] x \[2, 7\] for unet.mid_block"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_file_costs_one_sentence(anchor: Anchor, tmp_path: Path, wrong: str) -> None:
    make, message = WRONG[wrong]
    before = copy.deepcopy(anchor.body)
    save_file(make(random_pairs(anchor.body.unet)), tmp_path / "a.safetensors")
    with pytest.raises(AnchorError, match=message):
        add_public_lora(anchor, tmp_path / "a.safetensors")
    assert models.same_weights(anchor.body, before)


def test_a_pickle_is_not_opened(anchor: Anchor, tmp_path: Path) -> None:
    torch.save(kohya(random_pairs(anchor.body.unet)), tmp_path / "a.bin")
    with pytest.raises(AnchorError, match=r"a zip archive, as PyTorch's pickle files.*Use a .safetensors"):
        add_public_lora(anchor, tmp_path / "a.bin")


def test_an_anchor_is_no_lora(anchor: Anchor, tmp_path: Path) -> None:
    from anchor_core.anchor.file import save_anchor

    save_anchor(anchor, tmp_path / "base.safetensors", torch.float32)
    with pytest.raises(AnchorError, match=r"base.safetensors is an anchor and no LoRA of another program"):
        add_public_lora(anchor, tmp_path / "base.safetensors")
    update = {f"unet.{QUERY}.down": torch.zeros(2, 16), f"unet.{QUERY}.up": torch.zeros(16, 2)}
    save_lora(anchor, {"body": update}, tmp_path / "base.safetensors", tmp_path / "low.safetensors")
    with pytest.raises(AnchorError, match=r"low.safetensors is an anchor"):
        add_public_lora(anchor, tmp_path / "low.safetensors")


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 11.0])
def test_the_scale_is_checked(anchor: Anchor, tmp_path: Path, scale: float) -> None:
    with pytest.raises(AnchorError, match=r"scale is .*: need a number from -10 to 10"):
        add_public_lora(anchor, tmp_path / "a.safetensors", scale)
