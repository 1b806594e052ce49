"""Encode a picture of the person: what the presenter looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io

from . import _host
from ._anchor import LoadedAnchor
from ._types import AnchorSocket, advanced, schema

if TYPE_CHECKING:
    from ..anchor_core.anchor.use import Stage


class AppearanceCLIPEncode(io.ComfyNode):
    """A reference picture as CONDITIONING: tokens of a CLIP vision tower in the place of text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: the anchor, a picture, and optionally another vision tower."""
        return schema(
            node_id="AppearanceCLIPEncode",
            display_name="Appearance CLIP Encode",
            search_aliases=["clip vision", "reference image"],
            description="Encodes one picture of the person into the tokens that the anchor takes in the "
            "place of text. Without a picture the one inside the anchor file is used.",
            inputs=[
                AnchorSocket.Input("anchor", tooltip="The person; from Load Anchor."),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="One picture of the same person in the same clothes, best a frame of the "
                    "training video. Its centre square is used; alpha is dropped, grey is fine. For the "
                    "face: one crop of Face Crop. Empty: the anchor's own picture.",
                ),
                advanced(
                    io.ClipVision.Input(
                        "clip_vision",
                        optional=True,
                        tooltip="A vision model of ComfyUI in the place of the anchor's; its tokens must "
                        "be as wide as the anchor wants them. Needs a picture.",
                    )
                ),
                io.Combo.Input(
                    "stage",
                    options=["body", "face"],
                    default="body",
                    optional=True,
                    tooltip="What the tokens are for, and so which picture of the anchor file is used where "
                    "none is connected: body for the Overlapped Temporal Sampler, face for Face SGDM "
                    "Inpaint. A connected picture is used as it is.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="positive", tooltip="Tokens of the picture, for the sampler."
                ),
                io.Conditioning.Output(
                    display_name="negative",
                    tooltip="The anchor's tokens of no appearance; empty where it has none (then cfg must "
                    "be 1).",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        anchor: LoadedAnchor,
        image: torch.Tensor | None = None,
        clip_vision: Any = None,
        stage: Stage = "body",
    ) -> io.NodeOutput:
        """Encode the picture on the host's device."""
        from ..anchor_core.anchor.use import appearance_tokens

        anchor.network(stage)  # an anchor without this network is refused before the work
        picture = None if image is None else one_picture(image)
        null = anchor.anchor.null_appearance
        if clip_vision is not None:
            tokens = _host.native_tokens(clip_vision, picture)
        else:
            with _host.tower_on_device(anchor.anchor) as device:
                tokens, null = appearance_tokens(anchor.anchor, picture, device, stage)
        anchor.check_tokens(tokens, stage=stage)
        positive = [[_host.to_host(tokens), {}]]
        return io.NodeOutput(positive, [] if null is None else [[_host.to_host(null), {}]])


def one_picture(image: torch.Tensor) -> torch.Tensor:
    """The only picture of an IMAGE (B, H, W, C), as (H, W, C)."""
    from ..anchor_core.errors import AnchorError

    if len(image) != 1:
        raise AnchorError(
            f"image holds {len(image)} pictures and one is needed: choose one with 'ImageFromBatch', or "
            "load a single picture"
        )
    return image[0]
