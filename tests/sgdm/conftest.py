"""Tiny networks of the published topology, with random weights or those of the golden vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from anchor_core.sgdm.network import SGDM, build_sgdm

UNET_CONFIG = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [16, 32],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 24,
    "attention_head_dim": 2,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
CONTROL_KEYS = (
    "in_channels",
    "block_out_channels",
    "layers_per_block",
    "norm_num_groups",
    "cross_attention_dim",
    "attention_head_dim",
    "down_block_types",
    "use_linear_projection",
)


def tiny_configs(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configs of a U-Net and of the ControlNet that fits it, which takes the latents only."""
    unet = {**UNET_CONFIG, **changes}
    control = {key: unet[key] for key in CONTROL_KEYS if key in unet}
    control["in_channels"] = unet["out_channels"]
    control["conditioning_embedding_out_channels"] = [4, 8, 8, 16]
    return unet, control


def tiny_sgdm(fidelity: str = "trained", **changes: Any) -> SGDM:
    """A tiny SGDM; its ControlNet has something to say from the start."""
    torch.manual_seed(0)
    return build_sgdm(*tiny_configs(**changes), fidelity=fidelity, init_control="half").eval()


@pytest.fixture(scope="session")
def golden_sgdm(goldens: Path) -> Callable[[str, str], SGDM]:
    """Loads a checkpoint of the golden vectors by name."""
    from safetensors.torch import load_file

    def load(name: str, fidelity: str) -> SGDM:
        folders = [goldens / "models" / name / part for part in ("unet", "controlnet")]
        configs = [json.loads((folder / "config.json").read_text()) for folder in folders]
        sgdm = build_sgdm(*configs, fidelity=fidelity)
        for network, folder in zip((sgdm.unet, sgdm.controlnet), folders, strict=True):
            network.load_state_dict(load_file(folder / "diffusion_pytorch_model.safetensors"))
        return sgdm.eval()

    return load


@pytest.fixture(scope="session")
def make_configs() -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """The configs alone: `make_configs(**changes of the U-Net config)`."""
    return tiny_configs


@pytest.fixture(scope="session")
def make_sgdm() -> Callable[..., SGDM]:
    """`make_sgdm(fidelity, **changes of the U-Net config)`."""
    return tiny_sgdm
