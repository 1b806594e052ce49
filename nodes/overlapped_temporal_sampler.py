"""Denoise a clip in overlapping windows (Make-Your-Anchor, Algorithm 1)."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..anchor_core.sampling.sampler import SamplerSettings
from . import _host
from ._anchor import LoadedAnchor
from ._resume import kept
from ._sampling import preset_input, sampling_inputs, settings_from
from ._types import AnchorSocket, advanced, schema
from ._windows import refused_windows

_FIDELITIES = ("auto", "trained", "reference")


class OverlappedTemporalSampler(io.ComfyNode):
    """Mesh frames and appearance tokens to latents of the video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: anchor, pose, tokens; strengths; windows."""
        return schema(
            node_id="OverlappedTemporalSampler",
            display_name="Overlapped Temporal Sampler",
            search_aliases=["make your anchor", "context windows", "ksampler"],
            description="Makes the frames of the person from mesh frames: windows of the clip are denoised "
            "together and averaged where they overlap, at every step, so that a clip of any length stays "
            "consistent.",
            inputs=[
                AnchorSocket.Input("anchor", tooltip="The person; from Load Anchor."),
                io.Image.Input(
                    "pose",
                    tooltip="Mesh frames at the anchor's resolution; from Render SMPL-X Mesh. One per "
                    "video frame.",
                ),
                io.Conditioning.Input(
                    "positive", tooltip="What the person looks like; from Appearance CLIP Encode."
                ),
                *sampling_inputs("body"),
                *_advanced_inputs(),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="What to guide away from, used when cfg is above 1; from Appearance CLIP "
                    "Encode. Empty: the anchor's own.",
                ),
                preset_input(),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="One latent per frame; for VAE Decode with the anchor's VAE.",
                )
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
        pose: torch.Tensor,
        positive: list[list[Any]],
        fidelity: str,
        negative: list[list[Any]] | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Check what the graph brings, sample, hand out the latents."""
        from ..anchor_core.anchor.use import noise_schedule
        from ..anchor_core.sampling.conditioning import Conditioning
        from ..anchor_core.sampling.sampler import sample

        settings = settings_from(anchor.card, **widgets)
        anchor.check_pose(pose)
        tokens = anchor.tokens_of(positive, "positive")
        conditioning = Conditioning(pose[..., :3], tokens, anchor.null_of(negative, tokens.shape[1]))
        network, place = _host.place_network(anchor, "body", settings, conditioning, fidelity)
        callback = _host.WindowProgress(anchor, settings, len(pose))
        with kept(anchor, "body", settings, conditioning, fidelity) as keep:
            latents = sample(
                network,
                conditioning,
                settings,
                noise_schedule(anchor.card),
                callback=callback,
                keep=keep,
                **place,
            )
        return io.NodeOutput({"samples": _host.to_host(anchor.unscaled(latents))})


def _advanced_inputs() -> list[io.Input]:
    return [
        advanced(
            _share_input("condition_start", SamplerSettings.condition_start, "starts to act (0 = at once)")
        ),
        advanced(_share_input("condition_end", SamplerSettings.condition_end, "stops to act (1 = never)")),
        advanced(
            io.Combo.Input(
                "fidelity",
                options=list(_FIDELITIES),
                default="auto",
                tooltip="How the mesh's last residual enters. trained: as in training. reference: as in "
                "the published inference, which adds it twice. auto: as the anchor says.",
            )
        ),
    ]


def _share_input(name: str, default: float, what: str) -> io.Input:
    return io.Float.Input(
        name,
        default=default,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip=f"Share of the steps after which the mesh {what}.",
    )
