"""Load an anchor: the networks of one person."""

from __future__ import annotations

from comfy_api.latest import io

from . import _folders, _host
from ._loading import AUTO, find_source, load_source
from ._types import AnchorSocket, advanced, schema


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
                    options=_folders.anchor_names(),
                    default=_folders.DEMO,
                    tooltip="An anchor file (.safetensors) or a published folder (body/unet, "
                    "body/controlnet) in models/anchors. 'demo' ships with the pack.",
                ),
                _part_input("vae", _folders.VAE_FOLDERS, "VAE or checkpoint of Stable Diffusion 1.5"),
                _part_input(
                    "clip_vision",
                    _folders.VISION_FOLDERS,
                    "CLIP ViT-B/32, which looks at the reference picture",
                ),
                advanced(
                    _part_input(
                        "text_encoder",
                        _folders.TEXT_FOLDERS,
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
            (_folders.VAE_FOLDERS, vae),
            (_folders.VISION_FOLDERS, clip_vision),
            (_folders.TEXT_FOLDERS, text_encoder),
        )
        parts = [_folders.model_path(folders, name) for folders, name in chosen if name != AUTO]
        return "|".join(map(_folders.file_stamp, [_folders.anchor_path(anchor), *parts]))

    @classmethod
    def execute(
        cls, anchor: str, vae: str, clip_vision: str, text_encoder: str, precision: str
    ) -> io.NodeOutput:
        """Find the files, read them, hand the networks to the host."""
        source = find_source(_folders.anchor_path(anchor), vae, clip_vision, text_encoder)
        managed = load_source(source, precision)
        return io.NodeOutput(managed, managed.vae)


def _part_input(name: str, folders: tuple[str, ...], what: str) -> io.Input:
    places = " or ".join(f"models/{folder}" for folder in folders)
    return io.Combo.Input(
        name,
        options=[AUTO, *_folders.model_names(folders)],
        default=AUTO,
        tooltip=f"{what}. auto: the anchor's own, else the first fitting file in {places}. The demo holds "
        "its own; published anchors need the file.",
    )
