"""The inputs that say how frames are denoised: of the sampler of the body, and of that of the face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..anchor_core.sampling.presets import DEFAULT_PRESET, PRESETS
from ..anchor_core.sampling.sampler import SamplerSettings
from ..anchor_core.sampling.schedulers import SCHEDULERS
from ._types import advanced
from ._windows import overlap_input, schedule_input, weighting_input, window_size_input

if TYPE_CHECKING:
    from ..anchor_core.anchor.card import AnchorCard
    from ..anchor_core.anchor.use import Stage

AS_ANCHOR = "as the anchor says"
_UNSET = {"steps": 0, "condition_scale": -1}
"""Values that mean the same."""
_PUBLISHED_CFG = {"body": "7.5", "face": "3.5"}
_SCALES = {
    "body": "2 for published anchors, 1 for the demo; other values break the picture quickly",
    "face": "1 for published anchors and the demo",
}


def settings_from(
    card: AnchorCard,
    stage: Stage = "body",
    *,
    preset: str = DEFAULT_PRESET,
    cfg: float,
    window_size: int,
    overlap: int,
    scheduler: str,
    **widgets: Any,
) -> SamplerSettings:
    """The sampler's settings: the card's, changed by the preset, changed by what the widgets say."""
    from ..anchor_core.anchor.use import face_card, sampler_settings
    from ..anchor_core.sampling.presets import preset_overrides

    chosen = preset_overrides(preset, card, stage)
    own = card if stage == "body" else face_card(card)
    window = window_size or chosen.get("window_size") or own.window_size
    if overlap == -1:
        overlap = min(own.overlap, window // 2)
    given = {
        **widgets,
        "guidance_scale": cfg if cfg != -1 else None,
        "window_size": window,
        "overlap": overlap,
        "scheduler": scheduler if scheduler != AS_ANCHOR else None,
    }
    said = {name: value for name, value in given.items() if not _unsaid(name, value, chosen)}
    return sampler_settings(card, stage, **chosen | said)


def _unsaid(name: str, value: Any, chosen: dict[str, Any]) -> bool:
    """Whether a widget leaves its value to preset and anchor."""
    if name in chosen and name in ("schedule", "weighting"):  # they have no value that says so
        return bool(value == getattr(SamplerSettings, name))
    return value is None or (name in _UNSET and value == _UNSET[name])


def preset_input(optional: bool = True) -> io.Input:
    """Settings that belong together. optional: for nodes that workflows held before they had it."""
    return io.Combo.Input(
        "preset",
        options=list(PRESETS),
        default=DEFAULT_PRESET,
        optional=optional,
        tooltip="Settings that belong together; what the other inputs say goes first. default: as the anchor "
        "says. faithful: the published inference. fast: fewer steps, less guidance, coarser attention to far "
        "frames; changes the picture a little. distilled: only for anchors distilled to few steps.",
    )


def sampling_inputs(stage: Stage) -> list[io.Input]:
    """Strengths, windows, solver and noise, in the order in which saved workflows hold them."""
    return [
        *_strength_inputs(stage),
        window_size_input(0, least=0, note=" 0 = as the anchor says."),
        overlap_input(-1, least=-1, note=" -1 = as the anchor says, at most half a window."),
        schedule_input(SamplerSettings.schedule),
        weighting_input(SamplerSettings.weighting),
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
    ]


def _strength_inputs(stage: Stage) -> list[io.Input]:
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
            tooltip="Guidance: how hard to insist on the appearance. 1 = off, half the time; "
            f"{_PUBLISHED_CFG[stage]} for published anchors. -1 = as the anchor says.",
        ),
        io.Float.Input(
            "condition_scale",
            default=-1.0,
            min=-1.0,
            max=10.0,
            step=0.05,
            tooltip=f"Strength of the mesh (W_c in the paper): {_SCALES[stage]}. -1 = as the anchor says.",
        ),
    ]
