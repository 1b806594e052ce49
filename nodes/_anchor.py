"""What travels over the ANCHOR_SGDM socket, and the checks of what else a graph brings to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..anchor_core.errors import AnchorError

if TYPE_CHECKING:
    from ..anchor_core.anchor.card import AnchorCard
    from ..anchor_core.anchor.file import Anchor
    from ..anchor_core.motion.motion import Motion
    from ..anchor_core.sgdm.network import SGDM


@dataclass(frozen=True)
class LoadedAnchor:
    """An anchor whose networks ComfyUI places and frees.

    patcher: the host's handle of the body network; dtype: in which type it computes; vae: a VAE as ComfyUI
    knows it (anchor.vae is None); small_vae: whether it is small enough to draw previews; scaling: shift and
    factor of its latents.
    """

    anchor: Anchor
    body: SGDM
    patcher: Any
    dtype: torch.dtype
    vae: Any
    small_vae: bool
    scaling: tuple[float, float]

    @property
    def card(self) -> AnchorCard:
        """How the anchor wants to be used."""
        return self.anchor.card

    def stage(self, motion: Motion) -> Motion:
        """The motion in front of the anchor's camera, in its body shape."""
        from ..anchor_core.anchor.use import betas_of, camera_of
        from ..anchor_core.motion.place import place_motion

        return place_motion(motion, camera_of(self.card), betas_of(self.card))

    def unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents of the network to latents as the VAE decodes them, which is what a LATENT holds."""
        shift, factor = self.scaling
        return latents / factor + shift

    def check_pose(self, pose: torch.Tensor) -> None:
        """Raise AnchorError unless `pose` (F, H, W, C) has the anchor's resolution."""
        width, height = self.card.resolution
        if tuple(pose.shape[1:3]) == (height, width):
            return
        given = f"the pose frames are {pose.shape[2]} x {pose.shape[1]} pixels"
        if pose.shape[1] % self.body.pose_stride or pose.shape[2] % self.body.pose_stride:
            given += f" (no multiple of {self.body.pose_stride})"
        raise AnchorError(
            f"{given} and the anchor '{self.card.name}' was trained at {width} x {height}: connect the "
            "anchor to 'Render SMPL-X Mesh' and leave its width and height at 0, or resize the frames"
        )

    def tokens_of(self, conditioning: list[list[Any]] | None, name: str) -> torch.Tensor:
        """The tokens (1, T, D) in a CONDITIONING."""
        if not conditioning:
            raise AnchorError(f"{name} holds no conditioning: connect 'Appearance CLIP Encode'")
        tokens: torch.Tensor = conditioning[0][0]
        self.check_tokens(tokens, name)
        return tokens

    def null_of(self, conditioning: list[list[Any]] | None, n_tokens: int) -> torch.Tensor | None:
        """The unconditional tokens: the first `n_tokens` of a CONDITIONING, or the anchor's own."""
        null = self.tokens_of(conditioning, "negative") if conditioning else self.anchor.null_appearance
        return None if null is None else null.reshape(1, -1, null.shape[-1])[:, :n_tokens]

    def check_tokens(self, tokens: torch.Tensor, name: str = "the appearance") -> None:
        """Raise AnchorError unless tokens (1, T, D) are as wide as the network's."""
        width = self.body.appearance_width
        if tokens.ndim != 3 or tokens.shape[-1] != width:
            raise AnchorError(
                f"{name} has tokens {tokens.shape[-1]} wide and the anchor '{self.card.name}' needs "
                f"{width}: encode the picture with 'Appearance CLIP Encode' and this anchor, without another "
                "clip_vision"
            )
