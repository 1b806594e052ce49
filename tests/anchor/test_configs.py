"""Configs from strangers: limits, classes, older forms, and that nothing is built before they are checked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from anchor_core.anchor.configs import (
    CONTROLNET,
    TEXT,
    UNET,
    VAE,
    VISION,
    build_empty,
    clean_config,
    read_config,
)
from anchor_core.errors import AnchorError

from . import models


def test_published_configs_are_accepted(goldens: Path) -> None:
    for name in ("tiny4", "tiny2", "face4"):
        for part, kind in (("unet", UNET), ("controlnet", CONTROLNET)):
            config = json.loads((goldens / "models" / name / part / "config.json").read_text())
            assert clean_config(kind, config, name)["in_channels"] == config["in_channels"]
    for part, kind in (("vae", VAE), ("clip_vision", VISION), ("clip_text", TEXT)):
        config = json.loads((goldens / "models" / part / "config.json").read_text())
        build_empty(kind, clean_config(kind, config, part))


def test_inflated_class_is_the_flat_one() -> None:
    config = {
        **models.UNET,
        "_class_name": "UNet3DConditionModel",
        "down_block_types": ["DownBlock3D", "CrossAttnDownBlock3D"],
        "mid_block_type": "UNetMidBlock3DCrossAttn",
    }
    clean = clean_config(UNET, config, "it")
    assert clean["down_block_types"] == ["DownBlock2D", "CrossAttnDownBlock2D"]
    assert clean["mid_block_type"] == "UNetMidBlock2DCrossAttn"


def test_head_dim_means_heads() -> None:
    """8 in Stable Diffusion's config is the number of heads at every level, an int or one per level."""
    for given in ({"attention_head_dim": 4}, {"attention_head_dim": [4, 4]}, {"num_attention_heads": 4}):
        config = {key: value for key, value in models.UNET.items() if key != "attention_head_dim"} | given
        unet = build_empty(UNET, clean_config(UNET, config, "it"))
        heads = {module.heads for name, module in unet.named_modules() if name.endswith(("attn1", "attn2"))}
        assert heads == {4}


def test_config_of_a_network_rebuilds_it() -> None:
    unet = models.tiny_unet()
    twin = build_empty(UNET, read_config(UNET, unet))
    shapes = {key: value.shape for key, value in unet.state_dict().items()}
    assert {key: value.shape for key, value in twin.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_out_channels": [10**9, 16]}, "block_out_channels = .*from 1 to 8192"),
        ({"block_out_channels": [8, -16]}, "block_out_channels"),
        ({"block_out_channels": [8, 16.0]}, "block_out_channels"),
        ({"block_out_channels": [[8], 16]}, "block_out_channels"),
        ({"block_out_channels": [8] * 100}, "block_out_channels"),
        ({"layers_per_block": 10**6}, "layers_per_block = 1000000"),
        ({"layers_per_block": True}, "layers_per_block = True"),
        ({"norm_eps": float("inf")}, "norm_eps"),
        ({"act_fn": "os.system"}, "act_fn = 'os.system'"),
        ({"down_block_types": ["DownBlock2D", "EvilBlock"]}, "down_block_types"),
        ({"down_block_types": ["DownBlock2D"]}, "1 entries in down_block_types and 2"),
        ({"norm_num_groups": 3}, r"divides \[8, 16\] channels into 3 groups"),
        ({"class_embed_type": "timestep"}, "class_embed_type = 'timestep', which this pack does not know"),
        ({"something_new": 3}, "something_new = 3"),
        (
            {"_class_name": "FluxTransformer2DModel"},
            "describes a FluxTransformer2DModel; a UNet2DConditionModel",
        ),
    ],
)
def test_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        clean_config(UNET, models.UNET | change, "body.unet in a.safetensors")


def test_no_object() -> None:
    with pytest.raises(AnchorError, match="not a JSON object"):
        clean_config(UNET, [1], "it")


def test_unknown_fields_of_no_effect_are_dropped() -> None:
    config = models.UNET | {
        "something_new": None,
        "addition_embed_type_num_heads": 64,
        "_diffusers_version": "9",
    }
    assert set(clean_config(UNET, config, "it")) == set(models.UNET)


def test_vision_heads_must_divide() -> None:
    with pytest.raises(AnchorError, match="12 channels among 5 heads"):
        clean_config(VISION, models.VISION | {"num_attention_heads": 5}, "it")


def test_empty_network_costs_no_time() -> None:
    """Random numbers for the 860 million weights of Stable Diffusion 1.5 would take seconds."""
    start = time.process_time()
    unet = build_empty(UNET, clean_config(UNET, {"cross_attention_dim": 768}, "it"))
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964
    assert all(p.is_meta for p in unet.parameters())
    assert time.process_time() - start < 10  # mostly the import of diffusers


@pytest.mark.parametrize(
    "change",
    [{"layers_per_block": [1]}, {"cross_attention_dim": [12]}, {"transformer_layers_per_block": [1]}],
)
def test_numbers_that_are_impossible_together(change: dict[str, Any]) -> None:
    config = clean_config(UNET, models.UNET | change, "it")
    with pytest.raises(
        AnchorError, match=r"UNet2DConditionModel of this config cannot be built .*: use the config"
    ):
        build_empty(UNET, config)


def test_a_number_without_end() -> None:
    with pytest.raises(AnchorError, match=r"says norm_eps = 1000.*; it must be a number from 0 to 1"):
        clean_config(UNET, models.UNET | {"norm_eps": 10**400}, "it")
