"""Tiny anchors for the tests, and the byte-level parts of a safetensors file."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch

from anchor_core.anchor.card import AnchorCard
from anchor_core.anchor.face_card import FaceCard
from anchor_core.anchor.file import Anchor

UNET: dict[str, Any] = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
    "cross_attention_dim": 12,
}
VAE: dict[str, Any] = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "scaling_factor": 0.7,
}
VISION: dict[str, Any] = {
    "hidden_size": 12,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 32,
    "patch_size": 16,
}


def tiny_unet(**changes: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**UNET | changes)


def tiny_sgdm(**changes: Any) -> Any:
    from diffusers import ControlNetModel

    from anchor_core.sgdm.network import SGDM

    control = {key: value for key, value in UNET.items() if not key.startswith("up_")}
    controlnet = ControlNetModel(**control, conditioning_embedding_out_channels=[4, 8])
    return SGDM(tiny_unet(**changes), controlnet, fidelity="trained").eval()


def tiny_vae(**changes: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(**VAE | changes).eval()


def tiny_vision() -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    return CLIPVisionModel(CLIPVisionConfig(**VISION)).eval()


def tiny_anchor(**parts: Any) -> Anchor:
    """An anchor that has everything a self-contained one has; `parts` replace some."""
    torch.manual_seed(0)
    card = AnchorCard("Ada", fidelity="trained", null_appearance="stored", resolution=(64, 48), fps=25.0)
    defaults: dict[str, Any] = {
        "card": card,
        "vae": tiny_vae(),
        "vision": tiny_vision(),
        "null_appearance": torch.randn(1, 5, 12),
        "reference": torch.randint(0, 256, (20, 16, 3), dtype=torch.uint8),
    }
    if "body" not in parts:
        defaults["body"] = tiny_sgdm()
    return Anchor(**defaults | parts)


def tiny_face_anchor(**parts: Any) -> Anchor:
    """`tiny_anchor` with a face network, in frames in which the face is large enough to be painted."""
    settings = {"guidance_scale": 1.0, "steps": 2, "window_size": 4, "overlap": 1, "mesh": "drawn"}
    face = FaceCard(crop_size=32, **settings)
    card = AnchorCard(
        "Ada", fidelity="trained", null_appearance="stored", resolution=(144, 128), fps=25.0, face=face
    )
    defaults: dict[str, Any] = {
        "card": card,
        "face_reference": torch.randint(0, 256, (24, 24, 3), dtype=torch.uint8),
    }
    if "face" not in parts:
        defaults["face"] = tiny_sgdm(in_channels=9)
    return tiny_anchor(**defaults | parts)


def same_weights(a: Any, b: Any, tolerance: float = 0.0) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.allclose(ours[k].float(), theirs[k].float(), atol=tolerance, rtol=tolerance) for k in ours
    )


def write_header(path: Path, entries: object, body: bytes = b"") -> Path:
    """A safetensors file with any header."""
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)
    return path
