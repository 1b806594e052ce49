"""Load an anchor: the networks of one person."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..anchor_core.errors import AnchorError
from . import _host
from ._types import AnchorSocket, advanced, schema

if TYPE_CHECKING:
    from ..anchor_core.anchor.file import Anchor

logger = logging.getLogger("anchor")

AUTO = "auto"


class LoadAnchorSGDM(io.ComfyNode):
    """An anchor file, or a folder in the published layout, as ANCHOR and VAE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Widgets: the file, and where the parts come from that it may not hold."""
        return schema(
            node_id="LoadAnchorSGDM",
            display_name="Load Anchor (SGDM)",
            search_aliases=["make your anchor", "digital presenter", "avatar"],
            description="Loads a person that was trained with Make-Your-Anchor: the networks that turn "
            "mesh renders into video frames of that person, and the VAE that decodes them. 'demo' ships "
            "with the pack.",
            inputs=[
                io.Combo.Input(
                    "anchor",
                    options=_host.anchor_names(),
                    default=_host.DEMO,
                    tooltip="An anchor file (.safetensors) or a published folder (body/unet, "
                    "body/controlnet) in models/anchors. 'demo' ships with the pack.",
                ),
                _part_input("vae", _host.VAE_FOLDERS, "VAE or checkpoint of Stable Diffusion 1.5"),
                _part_input(
                    "clip_vision", _host.VISION_FOLDERS, "CLIP ViT-B/32, which looks at the reference picture"
                ),
                advanced(
                    _part_input(
                        "text_encoder",
                        _host.TEXT_FOLDERS,
                        "Text encoder of Stable Diffusion 1.5, for the empty prompt that guidance needs",
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "precision",
                        options=["auto", *_host.PRECISIONS],
                        default="auto",
                        tooltip="Number type of the networks. auto: what ComfyUI would choose for this "
                        "machine (fp16 on a GPU, fp32 on a CPU). bf16 is visibly coarser after guidance.",
                    )
                ),
            ],
            outputs=[
                AnchorSocket.Output(
                    display_name="anchor",
                    tooltip="The person's networks and card, for the other nodes of this pack.",
                ),
                io.Vae.Output(
                    display_name="vae", tooltip="Decodes the sampler's latents; for VAE Decode (also tiled)."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(
        cls, anchor: str, vae: str, clip_vision: str, text_encoder: str, precision: str
    ) -> str:
        """Load again when one of the files has changed."""
        chosen = (
            (_host.VAE_FOLDERS, vae),
            (_host.VISION_FOLDERS, clip_vision),
            (_host.TEXT_FOLDERS, text_encoder),
        )
        parts = [_host.model_path(folders, name) for folders, name in chosen if name != AUTO]
        return "|".join(map(_host.file_stamp, [_host.anchor_path(anchor), *parts]))

    @classmethod
    def execute(
        cls, anchor: str, vae: str, clip_vision: str, text_encoder: str, precision: str
    ) -> io.NodeOutput:
        """Read the files, hand the networks to the host."""
        from ..anchor_core.anchor.file import load_anchor
        from ..anchor_core.anchor.published import load_published

        stored, computed = _host.network_types(precision)
        path = _host.anchor_path(anchor)
        loaded = (load_published if path.is_dir() else load_anchor)(path, stored)
        managed = _host.manage(_completed(loaded, vae, clip_vision, text_encoder), computed)
        return io.NodeOutput(managed, managed.vae)


def _completed(anchor: Anchor, vae: str, clip_vision: str, text_encoder: str) -> Anchor:
    """The anchor with the chosen parts, and with those of the host's folders where it has none of its own."""
    from ..anchor_core.anchor import base_parts

    seen, read = base_parts.find_vae, base_parts.load_vae
    chosen_vae = _part(anchor.vae, vae, _host.VAE_FOLDERS, seen, read)
    seen, read = base_parts.find_vision, base_parts.load_vision
    vision = _part(anchor.vision, clip_vision, _host.VISION_FOLDERS, seen, read)
    try:
        seen, read = base_parts.find_text_encoder, base_parts.load_null_appearance
        null = _part(anchor.null_appearance, text_encoder, _host.TEXT_FOLDERS, seen, read)
    except AnchorError as error:
        if text_encoder != AUTO:
            raise
        # Only guidance needs it; the sampler says so where it is used.
        logger.warning("%s Until then only cfg 1 works with this anchor.", error)
        null = None
    return replace(anchor, vae=chosen_vae, vision=vision, null_appearance=null)


def _part(
    own: Any, choice: str, folders: tuple[str, ...], find: Callable[..., Path], load: Callable[..., Any]
) -> Any:
    if choice != AUTO:
        return load(_host.model_path(folders, choice))
    return own if own is not None else load(find(_host.model_folders(folders)))


def _part_input(name: str, folders: tuple[str, ...], what: str) -> io.Input:
    places = " or ".join(f"models/{folder}" for folder in folders)
    return io.Combo.Input(
        name,
        options=[AUTO, *_host.model_names(folders)],
        default=AUTO,
        tooltip=f"{what}. auto: the anchor's own, else the first fitting file in {places}. The demo holds "
        "its own; published anchors need the file.",
    )
