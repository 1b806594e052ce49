"""SGDM: the U-Net and the ControlNet of Make-Your-Anchor, working on windows of frames (sections 3.2, 3.3).

Both networks are the 2-D ones of diffusers, adapted in place: same configs, same state dict, same
forward pass. What makes them one video model sits in `attention` and `normalization`.

`fidelity` chooses between the two behaviours of the published code. It trains with residuals added to
copies of the skip connections ("trained", as diffusers does). Its inference adds the last residual in
place, into a tensor that also is the input of the mid block, so the mid block sees it too ("reference").
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import nn

from ..errors import AnchorError
from . import walk
from .attention import AttentionFunction, KeysValues, adapt_attention, number_context_layers
from .checks import (
    can_be_walked,
    check_inpaint,
    check_latents,
    check_networks,
    check_pose,
    check_pose_features,
    check_recomputation,
)
from .contexts import ContextMemory
from .deep import DeepFeatures
from .far_keys import largest_attentions
from .guided import GuidedWindows, check_guided, predict_by_batch, predict_by_walk
from .normalization import adapt_normalization
from .window import Window

Fidelity = Literal["trained", "reference"]
ControlInit = Literal["zero", "half"]


class Residuals(NamedTuple):
    """What the ControlNet adds to the U-Net, scaled: a ((B F), C, h, w) per skip connection and the mid."""

    down: list[torch.Tensor]
    mid: torch.Tensor


class PoseEmbedding(nn.Module):
    """The condition embedding of a ControlNet, kept out of its forward pass.

    It does not depend on the step, so it is computed once per clip by `embed`. Inside of a window the
    ControlNet therefore is given embedded poses, and `forward` hands them through.
    """

    def __init__(self, embedding: Any, window: Window) -> None:
        super().__init__()
        self.conv_in: nn.Conv2d = embedding.conv_in
        self.blocks: nn.ModuleList = embedding.blocks
        self.conv_out: nn.Conv2d = embedding.conv_out
        self.window = window

    def forward(self, pose: torch.Tensor) -> torch.Tensor:
        return pose if self.window.entered_now else self.embed(pose)

    def embed(self, pose: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) pictures to (N, C, h, w) features, frame by frame."""
        features = nn.functional.silu(self.conv_in(pose))
        for block in self.blocks:
            features = nn.functional.silu(block(features))
        return self.conv_out(features)


class SGDM(nn.Module):
    """U-Net and ControlNet of diffusers as one model of a window of frames.

    unet, controlnet: `UNet2DConditionModel` and `ControlNetModel` of any size; both are changed in place
    and belong to this SGDM from then on.
    fidelity: "trained" or "reference", see the module.
    """

    def __init__(self, unet: Any, controlnet: Any, *, fidelity: Fidelity = "trained") -> None:
        super().__init__()
        if fidelity not in get_args(Fidelity):
            raise AnchorError(f"fidelity is {fidelity!r}: choose 'trained' or 'reference'.")
        check_networks(unet, controlnet)
        self.fidelity = fidelity
        self.window = Window()
        self.unet = unet
        self.controlnet = controlnet
        for network in (unet, controlnet):
            adapt_normalization(network, self.window)
        self._processors = [
            *adapt_attention(unet, self.window, across_frames=True),
            *adapt_attention(controlnet, self.window, across_frames=False),
        ]
        largest: list[Any] = largest_attentions(unet)
        for attn in largest:
            attn.processor.reduces = True
        self._context_layers = {
            "unet": number_context_layers(unet),
            "controlnet": number_context_layers(controlnet),
        }
        self._context_memory = ContextMemory()
        self._walkable = can_be_walked(unet, controlnet)
        self.passes = walk.PLAIN
        self.feed_forward_chunk = 0
        controlnet.controlnet_cond_embedding = PoseEmbedding(
            controlnet.controlnet_cond_embedding, self.window
        )
        # A bound method: deep copies of the model hook their own window.
        unet.mid_block.register_forward_pre_hook(self.window.add_to_mid_input)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents that are denoised: 4 for Stable Diffusion."""
        return int(self.unet.config.out_channels)

    @property
    def inpaint_channels(self) -> int:
        """Channels that the U-Net takes besides the latents: mask and masked latents of the face stage."""
        return int(self.unet.config.in_channels) - self.latent_channels

    @property
    def appearance_width(self) -> int:
        """Width of the appearance tokens: 768 for Stable Diffusion 1.5."""
        return int(self.unet.config.cross_attention_dim)

    @property
    def pose_stride(self) -> int:
        """Pixels of the pose picture per latent pixel: 8 for Stable Diffusion."""
        return int(2 ** (len(self.controlnet.config.conditioning_embedding_out_channels) - 1))

    def set_attention(self, attention: AttentionFunction) -> None:
        """Compute attention by `attention(query, key, value)` on (B, heads, tokens, c) in both networks."""
        for processor in self._processors:
            processor.attention = attention

    def one_clip(self) -> AbstractContextManager[None]:
        """Inside of the block, `guided` projects every context once, as long as it is given the same tensor.

        Nothing is remembered outside. A context that was written to, or other weights, are projected anew.
        """
        return self._context_memory.one_clip()

    def embed_pose(self, pose: torch.Tensor) -> torch.Tensor:
        """Features of pose pictures, the same in all steps: compute them once per clip.

        pose: (N, 3, H, W) in [0, 1], RGB. Returns (N, C, h, w), H = h * `pose_stride`.
        Raises AnchorError when the size does not fit the latent grid.
        """
        check_pose(pose, int(self.controlnet.config.conditioning_channels), self.pose_stride)
        return self.controlnet.controlnet_cond_embedding.embed(pose)

    def control(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor | float,
        appearance: torch.Tensor,
        pose_features: torch.Tensor,
        condition_scale: float = 1.0,
    ) -> Residuals:
        """Residuals of the ControlNet for windows, times `condition_scale` (W_c); shapes as in `forward`."""
        check_latents(latents, self.latent_channels, appearance, self.appearance_width)
        check_pose_features(pose_features, latents, self.pose_stride)
        check_recomputation(self.controlnet, latents)
        batch, frames = latents.shape[:2]
        poses = pose_features.expand(batch, *pose_features.shape[1:]).flatten(0, 1)
        with self.window.entered(frames):
            down, mid = self.controlnet(
                latents.flatten(0, 1),
                per_frame(timestep, batch, frames),
                encoder_hidden_states=appearance,
                controlnet_cond=poses,
                conditioning_scale=float(condition_scale),
                return_dict=False,
            )
        return Residuals(list(down), mid)

    def forward(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor | float,
        appearance: torch.Tensor,
        pose_features: torch.Tensor,
        condition_scale: float = 1.0,
        inpaint: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict the noise (or v) of windows of frames. Windows of a batch do not see each other.

        latents: (B, F, C, h, w), any h and w; timestep: one number or (B,); appearance: (B, T, D);
        pose_features: (B, F, c, h, w) or (1, F, c, h, w) of `embed_pose`; condition_scale: W_c, at 0 the
        ControlNet is not run; inpaint: (B, F, C_extra, h, w), further channels for the U-Net alone.
        Returns (B, F, C, h, w). Raises AnchorError when shapes do not fit.
        """
        residuals = None
        if condition_scale != 0:
            residuals = self.control(latents, timestep, appearance, pose_features, condition_scale)
        return self.denoise(latents, timestep, appearance, residuals, inpaint)

    def denoise(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor | float,
        appearance: torch.Tensor,
        residuals: Residuals | None = None,
        inpaint: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The U-Net's half of `forward`, with residuals of `control` or without."""
        check_latents(latents, self.latent_channels, appearance, self.appearance_width)
        check_inpaint(inpaint, self.inpaint_channels)
        check_recomputation(self.unet, latents)
        batch, frames = latents.shape[:2]
        sample = latents if inpaint is None else torch.cat([latents, inpaint], dim=2)
        mid_extra = residuals.down[-1] if residuals and self.fidelity == "reference" else None
        with self.window.entered(frames, mid_extra):
            (prediction,) = self.unet(
                sample.flatten(0, 1),
                per_frame(timestep, batch, frames),
                encoder_hidden_states=appearance,
                down_block_additional_residuals=residuals.down if residuals else None,
                mid_block_additional_residual=residuals.mid if residuals else None,
                return_dict=False,
            )
        return prediction.unflatten(0, (batch, frames))

    @torch.no_grad()
    def guided(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor | float,
        contexts: torch.Tensor,
        pose_features: torch.Tensor,
        condition_scale: float = 1.0,
        inpaint: torch.Tensor | None = None,
        *,
        far_keys: int = 1,
        deep: DeepFeatures | None = None,
    ) -> torch.Tensor:
        """Predict windows of frames under several contexts at once, for guidance: (B, W, F, C, h, w).

        Equal to `forward` on the windows repeated per context, up to rounding, and faster: see `walk`.
        latents: (W, F, C, h, w), W windows of F frames; timestep: one number; contexts: (B, T, D), usually
        [null, appearance]; pose_features: (W or 1, F, c, h, w); condition_scale, inpaint: as in `forward`.
        Not exact: far_keys > 1, see the module `far_keys`; deep: of these windows, filled in a full step
        and reused in the steps after, see the module `deep`.
        Without gradients. Raises AnchorError when shapes do not fit.
        """
        given = GuidedWindows(
            latents, timestep, contexts, pose_features, float(condition_scale), inpaint, far_keys, deep
        )
        check_guided(self, given)
        return predict_by_walk(self, given) if self._walkable else predict_by_batch(self, given)

    def project_contexts(self, part: str, contexts: torch.Tensor) -> list[KeysValues]:
        """Keys and values of contexts (B, T, D) in the cross-attention layers of "unet" or "controlnet"."""
        return self._context_memory.project(self._context_layers[part], contexts)


def per_frame(timestep: torch.Tensor | float, batch: int, frames: int) -> torch.Tensor | float:
    """A time step per window, (B,), to one per frame, ((B F),); a single one stays as it is."""
    if isinstance(timestep, torch.Tensor) and timestep.ndim == 1 and len(timestep) == batch:
        return timestep.repeat_interleave(frames)
    return timestep


def build_sgdm(
    unet_config: Mapping[str, Any],
    controlnet_config: Mapping[str, Any],
    *,
    fidelity: Fidelity = "trained",
    init_control: ControlInit = "zero",
    empty: bool = False,
) -> SGDM:
    """SGDM from two diffusers configs.

    init_control: start of the convolutions through which the ControlNet speaks. "zero" (ControlNet,
    section 3.1) for fine-tuning of a trained U-Net; "half", half of the usual start, learns faster when
    everything is trained from nothing.
    empty: parameters without memory ("meta"), to be filled by `load_state_dict(..., assign=True)`.
    """
    from diffusers import ControlNetModel, UNet2DConditionModel

    if init_control not in get_args(ControlInit):
        raise AnchorError(f"init_control is {init_control!r}: choose 'zero' or 'half'.")
    with torch.device("meta" if empty else torch.get_default_device()):
        unet = UNet2DConditionModel.from_config(dict(unet_config))
        controlnet = ControlNetModel.from_config(dict(controlnet_config))
        sgdm = SGDM(unet, controlnet, fidelity=fidelity)
    if init_control == "half" and not empty:
        start_control_at_half(sgdm)
    return sgdm


@torch.no_grad()
def start_control_at_half(sgdm: SGDM) -> None:
    """Start the zero convolutions of the ControlNet at half of torch's default instead."""
    controlnet = sgdm.controlnet
    outputs = [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]
    for convolution in (*outputs, controlnet.controlnet_cond_embedding.conv_out):
        convolution.reset_parameters()
        for parameter in convolution.parameters():
            parameter.mul_(0.5)
