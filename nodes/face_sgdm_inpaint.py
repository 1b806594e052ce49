"""Paint the faces of finished frames anew (Make-Your-Anchor, section 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io

from ..anchor_core.face.blend import MODES, BlendOptions
from . import _host
from ._anchor import LoadedAnchor
from ._resume import kept
from ._sampling import preset_input, sampling_inputs, settings_from
from ._types import AnchorSocket, FaceTrackSocket, schema
from ._windows import refused_windows

if TYPE_CHECKING:
    from ..anchor_core.face.track import FaceTrack
    from ..anchor_core.progress import StepFactory
    from ..anchor_core.sampling.conditioning import Conditioning
    from ..anchor_core.sampling.sampler import SamplerSettings

_SHARES = (0.05, 0.85, 0.05, 0.05)
"""Of the bar: cutting and encoding, denoising, decoding, blending."""


class FaceSGDMInpaint(io.ComfyNode):
    """Frames of the body pass to frames with faces from the anchor's face network."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: anchor, frames, track, tokens; those of the sampler; how faces are put back."""
        return schema(
            node_id="FaceSGDMInpaint",
            display_name="Face SGDM Inpaint",
            search_aliases=["make your anchor", "face detailer", "face restore", "inpaint"],
            description="Paints the face of every frame anew with the anchor's face network, which sees the "
            "face alone and larger: mouth, eyes and identity become right. Frames that show no face stay as "
            "they are.",
            inputs=[
                AnchorSocket.Input("anchor", tooltip="The person, with a face network; from Load Anchor."),
                io.Image.Input(
                    "images",
                    tooltip="The decoded frames of the body pass; from VAE Decode. Alpha is dropped.",
                ),
                FaceTrackSocket.Input(
                    "face_track",
                    tooltip="Where the faces are; from Face Track from Mesh, or from Points.",
                ),
                io.Conditioning.Input(
                    "positive",
                    tooltip="What the face looks like; from Appearance CLIP Encode with stage face.",
                ),
                *sampling_inputs("face"),
                *_blend_inputs(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Your own mask on the frames, in their size: 1 = paint; one for all frames, or "
                    "one each. Leave hair and background black. Empty: the face of the mesh.",
                ),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="What to guide away from, used when cfg is above 1; from Appearance CLIP "
                    "Encode. Empty: the anchor's own.",
                ),
                preset_input(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="The frames with new faces; for Create Video."
                ),
                io.Image.Output(
                    display_name="crops", tooltip="The aligned faces as the network made them, for viewing."
                ),
                io.Mask.Output(
                    display_name="mask", tooltip="What was painted in the aligned crops: 1 = painted."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, window_size: int | None, overlap: int | None) -> bool | str:
        """Refuse windows that never move on before anything runs."""
        return refused_windows(window_size, overlap) or True

    @classmethod
    def execute(
        cls,
        anchor: LoadedAnchor,
        images: torch.Tensor,
        face_track: FaceTrack,
        positive: list[list[Any]],
        blend: str,
        feather: float,
        color_match: bool,
        mask: torch.Tensor | None = None,
        negative: list[list[Any]] | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Check what the graph brings, paint, hand out frames and crops."""
        from ..anchor_core.face.checks import check_face_network, check_frames
        from ..anchor_core.face.inpaint import face_conditioning
        from ..anchor_core.face.passes import paste_faces
        from ..anchor_core.face.stream import PassOptions
        from ..anchor_core.face.track import with_mask

        codec, settings = anchor.codec(), settings_from(anchor.card, "face", **widgets)
        check_face_network(anchor.network("face"), codec, face_track.crop_size)
        tokens = anchor.tokens_of(positive, "positive", "face")
        null = anchor.null_of(negative, tokens.shape[1], "face")
        frames = check_frames(images[..., :3], face_track)
        track = face_track if mask is None else with_mask(face_track, mask.float().cpu())
        options = PassOptions(BlendOptions(blend, feather=feather, color_match=color_match))
        step = _host.PartProgress(*_SHARES)
        latents = torch.empty(0, codec.channels, 1, 1)
        if len(track.visible):
            conditioning = face_conditioning(codec, frames, track, tokens, null, step=step)
            latents = denoised(anchor, conditioning, settings, step)
        take = paste_faces(codec, latents, frames, track, options, step=step)
        return io.NodeOutput(*map(_host.to_host, (take.frames, take.crops, take.mask)))


def denoised(
    anchor: LoadedAnchor, conditioning: Conditioning, settings: SamplerSettings, step: StepFactory
) -> torch.Tensor:
    """Latents (N, C, h, w) of the faces, by the anchor's network where the host has made room for it."""
    from ..anchor_core.anchor.use import noise_schedule
    from ..anchor_core.sampling.sampler import sample

    network, place = _host.place_network(anchor, "face", settings, conditioning, "trained")
    with (
        step("denoising faces", " windows") as bar,
        kept(anchor, "face", settings, conditioning, "trained") as keep,
    ):
        return sample(
            network,
            conditioning,
            settings,
            noise_schedule(anchor.card),
            callback=_host.WindowProgress(anchor, settings, conditioning.n_frames, bar),
            keep=keep,
            **place,
        )


def _blend_inputs() -> list[io.Input]:
    usual = BlendOptions()
    return [
        io.Combo.Input(
            "blend",
            options=list(MODES),
            default=usual.mode,
            tooltip="What is put back. face: the painted face with a soft rim; hair and background stay. "
            "crop: the whole crop with soft edges. square: the whole crop as published.",
        ),
        io.Float.Input(
            "feather",
            default=usual.feather,
            min=0.0,
            max=0.5,
            step=0.01,
            tooltip="Width of the soft rim around the face, as a share of the crop's side; used by blend "
            "face. 0.02 to 0.08 are usual.",
        ),
        io.Boolean.Input(
            "color_match",
            default=usual.color_match,
            tooltip="Shift the colours of the face to those of the frame around it, steadily over the clip, "
            "so that no edge shows. Not used by blend square.",
        ),
    ]
