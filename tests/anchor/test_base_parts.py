"""VAE, vision tower and text encoder from the files that users of Stable Diffusion 1.5 have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from anchor_core.anchor import base_parts
from anchor_core.anchor.base_parts import (
    find_text_encoder,
    find_vae,
    find_vision,
    load_null_appearance,
    load_text_encoder,
    load_vae,
    load_vision,
)
from anchor_core.anchor.configs import TEXT, VAE, VISION, build_empty
from anchor_core.anchor.ldm_keys import diffusers_names
from anchor_core.errors import AnchorError

from . import models

TEXT_CONFIG = {
    **{key: models.VISION[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers")},
    "num_attention_heads": 3,
    "vocab_size": 50,
    "max_position_embeddings": 60,
}


def ldm_name(name: str, levels: int) -> str:
    """The name in latent-diffusion of a weight of diffusers: the inverse of what is tested."""
    rules: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
        (r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block."),
        (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
        (r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block."),
        (r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample."),
        (r"mid_block\.resnets\.0\.", "mid.block_1."),
        (r"mid_block\.resnets\.1\.", "mid.block_2."),
        (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
        (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
        (r"mid_block\.attentions\.0\.to_(.)\.", r"mid.attn_1.\1."),
        (r"conv_norm_out\.", "norm_out."),
        (r"conv_shortcut\.", "nin_shortcut."),
    ]
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def ldm_weights(vae: Any) -> dict[str, torch.Tensor]:
    levels = len(vae.config.block_out_channels)
    weights = {ldm_name(name, levels): tensor.clone() for name, tensor in vae.state_dict().items()}
    return {n: t[..., None, None] if ".attn_1." in n and t.ndim == 2 else t for n, t in weights.items()}


@pytest.fixture
def vae() -> Any:
    torch.manual_seed(0)
    return models.tiny_vae(block_out_channels=[8, 8, 16], down_block_types=["DownEncoderBlock2D"] * 3,
                           up_block_types=["UpDecoderBlock2D"] * 3)  # fmt: skip


@pytest.fixture
def vae_config(vae: Any) -> dict[str, Any]:
    return {key: vae.config[key] for key in models.VAE}


def check_vae(vae: Any, loaded: Any) -> None:
    pictures = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pictures).sample, vae(pictures).sample, rtol=0, atol=1e-6)


def test_vae_of_a_checkpoint_and_of_a_vae_file(tmp_path: Path, vae: Any, vae_config: dict[str, Any]) -> None:
    weights = ldm_weights(vae)
    checkpoint = {f"first_stage_model.{name}": tensor for name, tensor in weights.items()}
    checkpoint["model.diffusion_model.out.2.weight"] = torch.zeros(3)
    save_file(checkpoint, str(tmp_path / "v1-5.safetensors"))
    save_file({**weights, "loss.logvar": torch.zeros(())}, str(tmp_path / "vae.safetensors"))
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "vae.ckpt")
    for name in ("v1-5.safetensors", "vae.safetensors", "vae.ckpt"):
        check_vae(vae, load_vae(tmp_path / name, config=vae_config))


def test_vae_of_diffusers_old_and_new(tmp_path: Path, vae: Any, vae_config: dict[str, Any]) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    renamed = {re.sub("|".join(old), lambda m: old[m[0]], name): tensor for name, tensor in weights.items()}
    assert any("proj_attn" in name for name in renamed)
    for number, state in enumerate((weights, renamed)):
        folder = tmp_path / str(number) / "vae"
        folder.mkdir(parents=True)
        save_file(state, str(folder / "diffusion_pytorch_model.safetensors"))
        (folder / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", **vae_config}))
        check_vae(vae, load_vae(folder))
        check_vae(vae, load_vae(folder.parent))
        check_vae(vae, load_vae(folder / "diffusion_pytorch_model.safetensors"))
        save_file(state, str(tmp_path / "loose.safetensors"))
        check_vae(vae, load_vae(tmp_path / "loose.safetensors", config=vae_config))


def test_golden_vae(goldens: Path) -> None:
    loaded = load_vae(goldens / "models" / "vae")
    expected = load_file(goldens / "models" / "vae" / "diffusion_pytorch_model.safetensors")
    state = loaded.state_dict()
    for new, old in diffusers_names(expected).items():
        assert torch.equal(state[new].flatten(), expected[old].flatten())
    assert loaded.config.scaling_factor == 0.18215


def test_standard_vae_has_all_names_of_the_known_layout() -> None:
    """248 tensors: the number in every Stable Diffusion 1.5 checkpoint; no two names fall together."""
    names = list(build_empty(VAE, base_parts.VAE_CONFIG).state_dict())
    ldm = [ldm_name(name, 4) for name in names]
    assert len(names) == 248
    assert "decoder.up.3.block.0.conv1.weight" in ldm
    assert "encoder.mid.attn_1.proj_out.bias" in ldm
    assert set(diffusers_names(ldm)) == set(names)


def test_standard_clip_sizes() -> None:
    vision = build_empty(VISION, base_parts.VISION_CONFIG)
    assert sum(p.numel() for p in vision.parameters()) == 87_456_000  # ViT-B/32
    text = build_empty(TEXT, base_parts.TEXT_CONFIG)
    assert sum(p.numel() for p in text.parameters()) == 123_060_480  # the text half of ViT-L/14


def test_vision_alone_and_inside_of_a_clip(tmp_path: Path) -> None:
    tower = models.tiny_vision()
    plain = {name.removeprefix("vision_model."): t.clone() for name, t in tower.state_dict().items()}
    prefixed = {f"vision_model.{name}": tensor for name, tensor in plain.items()}
    rest = {
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
        "text_model.embeddings.token_embedding.weight": torch.zeros(4, 4),
        "visual_projection.weight": torch.zeros(3, 12),
        "logit_scale": torch.zeros(()),
    }
    pixels = torch.randn(1, 3, 32, 32)
    for number, state in enumerate((plain, prefixed, {**prefixed, **rest})):
        path = tmp_path / f"{number}.safetensors"
        save_file(state, str(path))
        loaded = load_vision(path, config=models.VISION)
        expected = tower(pixel_values=pixels).last_hidden_state
        torch.testing.assert_close(loaded(pixel_values=pixels).last_hidden_state, expected, rtol=0, atol=0)
    save_file({**prefixed, **rest}, str(tmp_path / "model.safetensors"))
    config = {
        "model_type": "clip",
        "vision_config": {**models.VISION, "return_dict": True},
        "text_config": {},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert models.same_weights(load_vision(tmp_path), tower)


def test_golden_vision(goldens: Path) -> None:
    outputs = load_file(goldens / "d_clip_vision" / "outputs.safetensors")
    tower = load_vision(goldens / "models" / "clip_vision")
    for name in {key.split(".")[0] for key in outputs if key.endswith(".pixel_values")}:
        tokens = tower(pixel_values=outputs[f"{name}.pixel_values"]).last_hidden_state
        torch.testing.assert_close(tokens, outputs[f"{name}.last_hidden_state"], rtol=1e-4, atol=1e-5)


def test_golden_empty_prompt(goldens: Path, tmp_path: Path) -> None:
    expected = load_file(goldens / "d_uncond_text" / "tensors.safetensors")["empty_prompt_50_tokens"]
    folder = goldens / "models" / "clip_text"
    torch.testing.assert_close(load_null_appearance(folder), expected, rtol=1e-4, atol=1e-5)
    # The same weights inside of a Stable Diffusion checkpoint.
    weights = load_file(folder / "model.safetensors")
    inside = {f"cond_stage_model.transformer.{name}": tensor for name, tensor in weights.items()}
    save_file({**inside, "model.diffusion_model.x": torch.zeros(1)}, str(tmp_path / "v1-5.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    tokens = load_null_appearance(tmp_path / "v1-5.safetensors", 50, config)
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-5)


def test_wrong_files_are_called_by_name(tmp_path: Path, vae: Any) -> None:
    save_file({"lora_unet.lora_down.weight": torch.zeros(1)}, str(tmp_path / "lora.safetensors"))
    with pytest.raises(
        AnchorError, match=r"lora\.safetensors is a LoRA and holds no VAE .*: choose a Stable"
    ):
        load_vae(tmp_path / "lora.safetensors")
    xl = {f"first_stage_model.{name}": tensor for name, tensor in ldm_weights(vae).items()}
    save_file({**xl, "conditioner.embedders.0.x": torch.zeros(1)}, str(tmp_path / "xl.safetensors"))
    with pytest.raises(AnchorError, match="checkpoint of Stable Diffusion XL and holds no VAE"):
        load_vae(tmp_path / "xl.safetensors")
    save_file(ldm_weights(vae), str(tmp_path / "vae.safetensors"))
    with pytest.raises(
        AnchorError, match=r"vae\.safetensors does not fit the VAE of Stable Diffusion 1\.5: it"
    ):
        load_vae(tmp_path / "vae.safetensors")
    with pytest.raises(
        AnchorError, match=r"a VAE and holds no CLIP vision model .* choose model\.safetensors of"
    ):
        load_vision(tmp_path / "vae.safetensors")
    with pytest.raises(AnchorError, match="holds no text encoder"):
        load_text_encoder(tmp_path / "vae.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnchorError, match="empty holds no weights of the CLIP vision"):
        load_vision(tmp_path / "empty")
    with pytest.raises(AnchorError, match="There is no file"):
        load_vae(tmp_path / "none.safetensors")


def sparse(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """A file with the names and shapes of a standard model and holes instead of numbers."""
    entries, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * torch.Size(shape).numel()
        entries[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    path.parent.mkdir(parents=True, exist_ok=True)
    models.write_header(path, entries)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size + offset)
    return path


def test_search(tmp_path: Path) -> None:
    empty, vaes, clip = tmp_path / "empty", tmp_path / "vae", tmp_path / "clip_vision"
    empty.mkdir()
    with pytest.raises(
        AnchorError, match=r"No VAE of .*\(searched: .*empty, .*vae\): put a Stable Diffusion 1\.5 ch"
    ):
        find_vae([empty, vaes])
    conv = {"decoder.conv_in.weight": (512, 4, 3, 3)}
    sparse(vaes / "sdxl_vae.safetensors", conv)
    sparse(vaes / "flux.safetensors", {"decoder.conv_in.weight": (512, 16, 3, 3)})
    (vaes / "broken.safetensors").write_bytes(b"<html>")
    with pytest.raises(AnchorError, match="No VAE"):
        find_vae([empty, vaes])
    big = {f"first_stage_model.{name}": shape for name, shape in conv.items()} | {
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 768)
    }
    checkpoint = sparse(empty / "v1-5.safetensors", big)
    assert find_vae([empty, vaes]) == checkpoint
    nested = sparse(vaes / "sd15" / "vae" / "model.safetensors", conv)
    assert find_vae([empty, vaes]) == nested
    assert find_text_encoder([vaes, empty]) == checkpoint
    sparse(clip / "large.safetensors", {"vision_model.embeddings.patch_embedding.weight": (1024, 3, 14, 14)})
    with pytest.raises(AnchorError, match="openai/clip-vit-base-patch32"):
        find_vision([clip])
    base = sparse(
        clip / "b32.safetensors", {"vision_model.embeddings.patch_embedding.weight": (768, 3, 32, 32)}
    )
    assert find_vision([clip]) == base
