"""What travels over the ANCHOR_SGDM socket, and the checks of what else a graph brings to it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ..anchor_core.errors import AnchorError

if TYPE_CHECKING:
    from ..anchor_core.anchor.card import AnchorCard
    from ..anchor_core.anchor.file import Anchor
    from ..anchor_core.anchor.use import Stage
    from ..anchor_core.body.model import BodyModel
    from ..anchor_core.face.codec import LatentCodec
    from ..anchor_core.motion.motion import Motion
    from ..anchor_core.sgdm.network import SGDM
    from ._loading import AnchorSource

log = logging.getLogger("anchor")


@dataclass(frozen=True)
class LoadedAnchor:
    """An anchor whose networks ComfyUI places and frees.

    patcher: the host's handle of the body network; dtype: in which type networks compute; vae: a VAE as
    ComfyUI knows it (anchor.vae is None); small_vae: whether it is small enough to draw previews; scaling:
    shift and factor of its latents; face_patcher: the handle of the face network, None where there is none;
    source: the files it was read from; copies: of the networks, with their handles, by stage and device,
    where the host has several devices.
    """

    anchor: Anchor
    body: SGDM
    patcher: Any
    dtype: torch.dtype
    vae: Any
    small_vae: bool
    scaling: tuple[float, float]
    face_patcher: Any = None
    source: AnchorSource | None = None
    copies: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def card(self) -> AnchorCard:
        """How the anchor wants to be used."""
        return self.anchor.card

    @property
    def stamp(self) -> list[str]:
        """Changes when the files change; reading gigabytes would keep every run waiting."""
        from ._folders import file_stamp

        return [] if self.source is None else [file_stamp(path) for path in self.source.files]

    @property
    def precision(self) -> str:
        """In which numbers the weights are kept, and in which they compute: results depend on both."""
        kept = next(self.body.parameters()).dtype
        return f"{kept} in {self.dtype}".replace("torch.", "")

    def network(self, stage: Stage) -> SGDM:
        """The network of a stage; AnchorError if there is none."""
        from ..anchor_core.face.passes import face_of

        if stage not in ("body", "face"):
            raise AnchorError(f"stage is '{stage}': choose body or face")
        return self.body if stage == "body" else face_of(self.anchor)

    def codec(self) -> LatentCodec:
        """The host's VAE as the face pass uses it; the host makes room for it at each call."""
        from ..anchor_core.face.codec import LatentCodec

        def encode(pictures: torch.Tensor, _first: int) -> torch.Tensor:
            return self.scaled(self.vae.encode(pictures).float().cpu())

        def decode(latents: torch.Tensor) -> torch.Tensor:
            return self.vae.decode(self.unscaled(latents)).float().cpu()

        return LatentCodec(encode, decode, self.body.latent_channels, int(self.vae.downscale_ratio))

    def stage(
        self, motion: Motion, *, root: str = "target", lower_body: str = "target", enabled: bool = True
    ) -> Motion:
        """The motion in front of the anchor's camera, in its body shape; choices as in `retarget`."""
        from ..anchor_core.motion.retarget import retarget

        return retarget(motion, self.card, root=root, lower_body=lower_body, enabled=enabled)

    def warn_of_ranges(self, motion: Motion, body: BodyModel) -> None:
        """Log which frames of a staged motion leave what the anchor was trained on by much."""
        from ..anchor_core.motion.range_report import compare_ranges

        warning = self.card.ranges and compare_ranges(motion, self.card.ranges, body).warning()
        if warning:
            log.warning("%s 'Retarget SMPL-X Motion' draws a report.", warning)

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents of the VAE to latents as the networks denoise them."""
        shift, factor = self.scaling
        return (latents - shift) * factor

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

    def tokens_of(
        self, conditioning: list[list[Any]] | None, name: str, stage: Stage = "body"
    ) -> torch.Tensor:
        """The tokens (1, T, D) in a CONDITIONING."""
        if not conditioning:
            raise AnchorError(f"{name} holds no conditioning: connect 'Appearance CLIP Encode'")
        tokens: torch.Tensor = conditioning[0][0]
        self.check_tokens(tokens, name, stage)
        return tokens

    def null_of(
        self, conditioning: list[list[Any]] | None, n_tokens: int, stage: Stage = "body"
    ) -> torch.Tensor | None:
        """The unconditional tokens: the first `n_tokens` of a CONDITIONING, or the anchor's own."""
        own = self.anchor.null_appearance
        null = self.tokens_of(conditioning, "negative", stage) if conditioning else own
        return None if null is None else null.reshape(1, -1, null.shape[-1])[:, :n_tokens]

    def check_tokens(self, tokens: torch.Tensor, name: str = "the appearance", stage: Stage = "body") -> None:
        """Raise AnchorError unless tokens (1, T, D) are as wide as those of the stage's network."""
        width = self.network(stage).appearance_width
        if tokens.ndim != 3 or tokens.shape[-1] != width:
            raise AnchorError(
                f"{name} has tokens {tokens.shape[-1]} wide and the anchor '{self.card.name}' needs "
                f"{width}: encode the picture with 'Appearance CLIP Encode' and this anchor, without another "
                "clip_vision"
            )
