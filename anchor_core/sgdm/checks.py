"""Shapes at the border of the SGDM, each refused in one sentence that says what to do."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..errors import AnchorError

# Fields of diffusers' configs that add inputs, or layers that `walk` does not know.
_UNKNOWN = (
    "addition_embed_type",
    "class_embed_type",
    "dual_cross_attention",
    "encoder_hid_dim_type",
    "global_pool_conditions",
    "num_class_embeds",
    "time_cond_proj_dim",
)


def check_networks(unet: Any, controlnet: Any) -> None:
    """Raise AnchorError unless the two networks fit each other and take RGB pictures."""
    for key in ("cross_attention_dim", "block_out_channels", "layers_per_block"):
        of_unet, of_control = _plain(unet.config[key]), _plain(controlnet.config[key])
        if of_unet != of_control:
            raise AnchorError(
                f"The U-Net has {key} {of_unet} and the ControlNet {of_control}: "
                "use a U-Net and a ControlNet that were trained together."
            )
    order = controlnet.config.get("controlnet_conditioning_channel_order", "rgb")
    if order != "rgb":
        raise AnchorError(f"The ControlNet takes {order} pictures and poses are rgb: use an rgb ControlNet.")


def check_pose(pose: torch.Tensor, channels: int, stride: int) -> None:
    """Raise AnchorError unless `pose` is (N, channels, H, W) with sides divisible by `stride`."""
    if pose.ndim != 4 or pose.shape[1] != channels:
        raise AnchorError(f"Pose frames have shape {tuple(pose.shape)}: give (N, {channels}, H, W).")
    height, width = pose.shape[2:]
    if height % stride or width % stride:
        raise AnchorError(
            f"Pose frames are {width} x {height} pixels: "
            f"resize them so that both sides are multiples of {stride}."
        )


def check_latents(latents: torch.Tensor, channels: int, appearance: torch.Tensor, width: int) -> None:
    """Raise AnchorError unless latents are (B, F, channels, h, w) and appearance tokens (B, T, width)."""
    check_latent_shape(latents, channels)
    check_width(appearance, width)
    if len(appearance) != len(latents):
        raise AnchorError(
            f"Got appearance tokens for {len(appearance)} windows and latents for {len(latents)}: "
            "give one set of tokens per window."
        )


def check_latent_shape(latents: torch.Tensor, channels: int) -> None:
    """Raise AnchorError unless latents are (B, F, channels, h, w)."""
    if latents.ndim != 5 or latents.shape[2] != channels:
        raise AnchorError(
            f"Latents have shape {tuple(latents.shape)}: this model needs (B, F, {channels}, h, w)."
        )


def check_width(appearance: torch.Tensor, width: int) -> None:
    """Raise AnchorError unless appearance tokens are (B, T, width)."""
    if appearance.ndim != 3 or appearance.shape[2] != width:
        raise AnchorError(
            f"Appearance tokens have shape {tuple(appearance.shape)} and this model needs (B, T, {width}): "
            "encode the picture with the vision model of this anchor."
        )


def check_pose_features(pose_features: torch.Tensor, latents: torch.Tensor, stride: int) -> None:
    """Raise AnchorError unless pose features and latents (B, F, C, h, w) belong to the same windows."""
    batch, frames, _, height, width = latents.shape
    if pose_features.ndim != 5 or pose_features.shape[0] not in (1, batch):
        raise AnchorError(
            f"Pose features have shape {tuple(pose_features.shape)}: give ({batch}, {frames}, C, h, w)."
        )
    if pose_features.shape[1] != frames:
        raise AnchorError(
            f"Got {pose_features.shape[1]} pose frames for {frames} frames of latents: give one per frame."
        )
    if pose_features.shape[3:] != latents.shape[3:]:
        rows, columns = pose_features.shape[3:]
        raise AnchorError(
            f"Pose frames are {columns * stride} x {rows * stride} pixels and the latents stand for "
            f"{width * stride} x {height * stride}: render the pose at the size of the video."
        )


def check_timestep(timestep: torch.Tensor | float) -> None:
    """Raise AnchorError unless `timestep` is one number."""
    if isinstance(timestep, torch.Tensor) and timestep.numel() != 1:
        raise AnchorError(
            f"Got {timestep.numel()} time steps for guided windows, which take a step together: "
            "give one number."
        )


def check_inpaint(inpaint: torch.Tensor | None, needed: int) -> None:
    """Raise AnchorError unless the further channels of the U-Net are given exactly when it needs them."""
    given = 0 if inpaint is None else inpaint.shape[2]
    if needed != given:
        raise AnchorError(
            f"The U-Net needs {needed} inpainting channels and got {given}: "
            "use a body model for body frames and a face model for face crops."
        )


def check_recomputation(network: Any, latents: torch.Tensor) -> None:
    """Raise AnchorError where gradient checkpointing would compute a window a second time as single frames.

    The second time comes during the backward pass, when the window has been left.
    """
    frames = latents.shape[1]
    if frames > 1 and network.training and torch.is_grad_enabled() and network.is_gradient_checkpointing:
        raise AnchorError(
            f"Gradient checkpointing is on and the window has {frames} frames: "
            "switch it off, or train on single frames."
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, list)) else value


def can_be_walked(unet: Any, controlnet: Any) -> bool:
    """Whether `walk` knows every part of the two networks, as it does for Stable Diffusion's kinds."""
    blocks = {"CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", None}
    return all(
        set(network.config.get(f"{way}_block_types") or ()) <= blocks
        and isinstance(network.mid_block, nn.Module)
        and type(network.mid_block).__name__ == "UNetMidBlock2DCrossAttn"
        and network.config.get("attention_type", "default") == "default"
        and not any(network.config.get(name) for name in _UNKNOWN)
        for network in (unet, controlnet)
        for way in ("down", "up")
    )
