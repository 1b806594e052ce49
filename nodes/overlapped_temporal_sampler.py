"""Denoise a clip in overlapping windows (Make-Your-Anchor, Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io

from ..anchor_core.sampling.sampler import SamplerSettings
from ..anchor_core.sampling.schedulers import SCHEDULERS
from . import _host
from ._anchor import LoadedAnchor
from ._types import AnchorSocket, advanced, schema
from ._windows import overlap_input, refused_windows, schedule_input, weighting_input, window_size_input

if TYPE_CHECKING:
    from ..anchor_core.anchor.card import AnchorCard

AS_ANCHOR = "as the anchor says"
_UNSET = {"steps": 0, "condition_scale": -1}
"""Values that mean the same."""
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
                *_strength_inputs(),
                window_size_input(0, least=0, note=" 0 = as the anchor says."),
                overlap_input(-1, least=-1, note=" -1 = as the anchor says, at most half a window."),
                schedule_input(SamplerSettings.schedule),
                weighting_input(SamplerSettings.weighting),
                *_advanced_inputs(),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="What to guide away from, used when cfg is above 1; from Appearance CLIP "
                    "Encode. Empty: the anchor's own.",
                ),
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
        network, place = _host.place_network(anchor, settings, conditioning, fidelity)
        callback = _host.WindowProgress(anchor, settings, len(pose))
        latents = sample(
            network, conditioning, settings, noise_schedule(anchor.card), callback=callback, **place
        )
        return io.NodeOutput({"samples": _host.to_host(anchor.unscaled(latents))})


def settings_from(
    card: AnchorCard, *, cfg: float, window_size: int, overlap: int, scheduler: str, **widgets: Any
) -> SamplerSettings:
    """The sampler's settings: what the widgets say, and the anchor's card where they say "as the anchor"."""
    from ..anchor_core.anchor.use import sampler_settings

    window = window_size or card.window_size
    return sampler_settings(
        card,
        **{
            name: None if name in _UNSET and value == _UNSET[name] else value
            for name, value in widgets.items()
        },
        guidance_scale=None if cfg == -1 else cfg,
        window_size=window,
        overlap=min(card.overlap, window // 2) if overlap == -1 else overlap,
        scheduler=None if scheduler == AS_ANCHOR else scheduler,
    )


def _strength_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "seed",
            default=SamplerSettings.seed,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="Seed of the noise. The same seed and settings give the same video; noise is drawn on "
            "the CPU.",
        ),
        io.Int.Input(
            "steps",
            default=0,
            min=0,
            max=1000,
            tooltip="Denoising steps; more is finer and slower. 10 to 30 are usual (lcm 4 to 8). 0 = as "
            "the anchor says.",
        ),
        io.Float.Input(
            "cfg",
            default=-1.0,
            min=-1.0,
            max=30.0,
            step=0.1,
            tooltip="Guidance: how hard to insist on the appearance. 1 = off, half the time; 7.5 for "
            "published anchors. -1 = as the anchor says.",
        ),
        io.Float.Input(
            "condition_scale",
            default=-1.0,
            min=-1.0,
            max=10.0,
            step=0.05,
            tooltip="Strength of the mesh (W_c in the paper): 2 for published anchors, 1 for the demo; "
            "other values break the picture quickly. -1 = as the anchor says.",
        ),
    ]


def _advanced_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "scheduler",
            options=[AS_ANCHOR, *SCHEDULERS],
            default=AS_ANCHOR,
            tooltip="Solver. ddim as published; dpm++2m and unipc need fewer steps; lcm only for distilled "
            "anchors.",
        ),
        advanced(
            io.Boolean.Input(
                "shared_noise",
                default=SamplerSettings.shared_noise,
                tooltip="All frames start from the same noise, as published. Off: each frame its own, "
                "which flickers.",
            )
        ),
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
