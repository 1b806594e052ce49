"""A tiny SGDM and a tiny set on which it can learn something in a few seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from anchor_core.sgdm.network import build_sgdm
from anchor_core.training.data import TrainingSet

CHANNELS = (16, 32)
DENOISER = {
    "in_channels": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "block_out_channels": CHANNELS,
    "layers_per_block": 1,
    "cross_attention_dim": 16,
    "attention_head_dim": 2,
    "norm_num_groups": 8,
}
UNET = {**DENOISER, "out_channels": 4, "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")}
CONTROLNET = {**DENOISER, "conditioning_embedding_out_channels": (8, 16)}


@pytest.fixture
def new_sgdm():
    """A function that builds the same untrained network each time."""

    def build():
        torch.manual_seed(0)
        return build_sgdm(UNET, CONTROLNET, init_control="half")

    return build


@pytest.fixture
def tiny_face_sgdm():
    """The same for the face: its U-Net takes mask and masked latents too."""

    def build():
        torch.manual_seed(0)
        return build_sgdm({**UNET, "in_channels": 9}, CONTROLNET, init_control="half")

    return build


@pytest.fixture(scope="session")
def training_set():
    """12 frames in two recordings whose latents are a coarse picture of their pose."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randint(0, 256, (12, 3, 2, 2), generator=generator, dtype=torch.uint8)
    pose = coarse.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)  # 16 pixels
    small = pose[:, :, ::2, ::2].float() / 127.5 - 1  # 8 latents
    mean = torch.cat([small, small[:, :1]], dim=1) * 1.5
    return TrainingSet(
        pose=pose,
        mean=mean,
        deviation=torch.full_like(mean, 0.01),
        reference=torch.randn(3, 5, 16, generator=generator),
        which=torch.arange(12) % 3,
        clip=torch.tensor([0] * 7 + [1] * 5),
    )


@pytest.fixture(scope="session")
def face_set(training_set):
    """The same with masks that paint the upper half of each frame and show its lower half."""
    keep = torch.zeros(12, 1, 8, 8)
    keep[:, :, 4:] = 1
    return replace(training_set, inpaint=torch.cat([keep, keep * training_set.mean], dim=1))
