"""The small networks of the demo anchor: the classes of Stable Diffusion with a few channels.

U-Net 1.6 M parameters, ControlNet 0.8 M, VAE 1.0 M, vision tower 0.1 M: 7 MB in half precision. The face's
U-Net has 3.2 M and its ControlNet 1.5 M: 9 MB more; VAE and tower are those of the body. Sizes were
chosen by measured training time: attention in the level of 24x24 latents would cost twice the time of a
step, and so would the condition embedding of Stable Diffusion, which works on full-size pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..sgdm.network import SGDM, build_sgdm

LATENT_CHANNELS = 12
"""Stable Diffusion has 4. More are nearly free in the U-Net and let a small VAE keep fingers and eyes."""
TOKEN_WIDTH = 64
APPEARANCE_SIZE = 64

BODY_CHANNELS = (48, 48, 64)
FACE_CHANNELS = (64, 64, 96)
"""More than the body has: crops have few latents, so width costs little time there."""
EMBEDDING_CHANNELS = (8, 16, 48, 64)
DENOISER: dict[str, Any] = {
    "in_channels": LATENT_CHANNELS,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": TOKEN_WIDTH,
    "attention_head_dim": 2,  # number of heads, as in Stable Diffusion's configs
    "norm_num_groups": 16,
}
UNET = {
    **DENOISER,
    "out_channels": LATENT_CHANNELS,
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}
CONTROLNET = {**DENOISER, "conditioning_embedding_out_channels": EMBEDDING_CHANNELS}
VAE_CHANNELS = (16, 32, 64, 64)
VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * len(VAE_CHANNELS),
    "up_block_types": ("UpDecoderBlock2D",) * len(VAE_CHANNELS),
    "block_out_channels": VAE_CHANNELS,
    "layers_per_block": 1,
    "latent_channels": LATENT_CHANNELS,
    "norm_num_groups": 8,
    "mid_block_add_attention": False,  # trained on crops, so it may not look at the whole picture
    "scaling_factor": 1.0,
}
VISION = {
    "hidden_size": TOKEN_WIDTH,
    "intermediate_size": 2 * TOKEN_WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": APPEARANCE_SIZE,
    "patch_size": 16,
}


def new_vae(seed: int) -> Any:
    """An untrained AutoencoderKL."""
    from diffusers import AutoencoderKL

    with seeded(seed):
        return AutoencoderKL(**VAE)


def new_sgdm(seed: int) -> SGDM:
    """An untrained SGDM of the body; its ControlNet speaks from the first step on."""
    return _sgdm(seed, BODY_CHANNELS)


def new_face_sgdm(seed: int) -> SGDM:
    """An untrained SGDM of the face: its U-Net takes latents, mask and masked latents, 2 C + 1 channels."""
    return _sgdm(seed, FACE_CHANNELS, inpaint_channels=1 + LATENT_CHANNELS)


def _sgdm(seed: int, channels: tuple[int, ...], inpaint_channels: int = 0) -> SGDM:
    unet = {**UNET, "block_out_channels": channels, "in_channels": LATENT_CHANNELS + inpaint_channels}
    with seeded(seed):
        return build_sgdm(unet, {**CONTROLNET, "block_out_channels": channels}, init_control="half")


def new_vision(seed: int) -> Any:
    """An untrained CLIPVisionModel."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    with seeded(seed):
        return CLIPVisionModel(CLIPVisionConfig(**VISION))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A block whose new weights come from `seed`, and which leaves torch's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
