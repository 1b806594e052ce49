"""The plain version of the published loop against the published code itself, and against our sampler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anchor_core.evaluation.speed.published import (
    Attention,
    PublishedNetworks,
    fused_attention,
    published_loop,
    written_attention,
)
from anchor_core.sampling.sampler import SamplerSettings
from anchor_core.sampling.schedulers import STABLE_DIFFUSION
from anchor_core.sgdm.network import SGDM, build_sgdm

WINDOWS = ["a_window_tiny2_f5", "a_window_tiny4_f1", "a_window_tiny4_f5"]
CLIPS = ["b_sample_N10_ws4_os1_lastwindow1frame", "b_sample_N16_ws16_os4", "b_sample_N21_ws8_os2"]
ATTENTIONS = [written_attention, fused_attention]


def error(value: torch.Tensor, expected: torch.Tensor) -> float:
    return float((value - expected).norm() / expected.norm())


def load(folder: Path) -> SGDM:
    parts = [folder / "unet", folder / "controlnet"]
    sgdm = build_sgdm(*(json.loads((part / "config.json").read_text()) for part in parts))
    for network, part in zip((sgdm.unet, sgdm.controlnet), parts, strict=True):
        network.load_state_dict(load_file(part / "diffusion_pytorch_model.safetensors"))
    return sgdm


def golden(folder: Path) -> tuple[dict[str, Any], torch.Tensor, SGDM]:
    """Settings, mesh frames and networks of a folder of golden vectors."""
    config = json.loads((folder / "config.json").read_text())
    frames = torch.from_numpy(np.load(folder / "pose_frames_uint8.npz")["frames"])
    return config, frames, load((folder / config["model"]).resolve())


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("name", WINDOWS)
@torch.no_grad()
def test_a_window_is_the_published_one(goldens: Path, name: str, attention: Attention) -> None:
    config, frames, sgdm = golden(goldens / name)
    inputs = load_file(goldens / name / "inputs.safetensors")
    expected = load_file(goldens / name / "outputs.safetensors")
    networks = PublishedNetworks(sgdm, attention)
    pose = (frames / 255).permute(3, 0, 1, 2)[None].expand(len(inputs["sample"]), -1, -1, -1, -1)
    window = inputs["sample"], inputs["timestep"].reshape(()), inputs["encoder_hidden_states"]
    down, mid = networks.control(*window, pose, config["conditioning_scale"])
    assert len(down) == len(expected) - 2
    for index, residual in enumerate(down):
        assert error(residual, expected[f"down_block_res_samples.{index:02d}"]) < 1e-5
    assert error(mid, expected["mid_block_res_sample"]) < 1e-5
    assert error(networks.denoise(*window, down, mid), expected["noise_pred"]) < 1e-5


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_is_the_published_one(goldens: Path, name: str) -> None:
    config, pose, sgdm = golden(goldens / name)
    tensors = load_file(goldens / name / "tensors.safetensors")
    settings = SamplerSettings(
        steps=config["num_inference_steps"],
        guidance_scale=config["guidance_scale"],
        condition_scale=config["controlnet_conditioning_scale"],
        window_size=config["window_size"],
        overlap=config["window_overlap"],
    )
    tokens = torch.cat([tensors["prompt_embeds_uncond"], tensors["prompt_embeds_cond"]])
    noise = tensors["latents_init"][0].transpose(0, 1)
    latents = published_loop(PublishedNetworks(sgdm), pose, tokens, settings, STABLE_DIFFUSION, noise)
    assert error(latents, tensors["latents_final"][0].transpose(0, 1)) < 2e-5
