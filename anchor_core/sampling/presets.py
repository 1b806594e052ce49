"""Presets: named choices between the published way of sampling and the fastest that still looks like it.

faithful    the published inference: DDIM, windows with a short tail, plain averages, the face frame by frame
default     what the anchor's card says, on windows of full length
fast        fewer steps of a better solver, guidance in the middle steps, reduced keys of far frames
distilled   few steps without guidance, for networks that were distilled for it (LCM)

`fast` changes the picture a little, which is why it is no default: `python -m anchor_core bench --what
presets` measures by how much, each part alone and all together. The reuse of deep features is in none: what
it keeps grows with the clip, and fewer steps of a better solver cost about as little.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..errors import AnchorError

if TYPE_CHECKING:
    from ..anchor.card import AnchorCard
    from ..anchor.face_card import FaceCard

PresetName = Literal["faithful", "default", "fast", "distilled"]
PRESETS: tuple[str, ...] = get_args(PresetName)
DEFAULT_PRESET = "default"

FAST_SOLVER = "dpm++2m"
FAST_STEPS = 0.5
"""Share of the card's steps: 10 of 20. A solver of second order needs fewer (Lu et al. 2022)."""
FEWEST_STEPS = 4
"""Of `fast`; a card that has no more keeps its steps and its solver."""
FAR_KEYS = 2
GUIDANCE = {"guidance_start": 0.2, "guidance_end": 0.8}
"""Guidance does harm at high noise and nothing at low noise (Kynkaanniemi et al. 2024, arXiv 2404.07724)."""
DISTILLED_STEPS = 4
DISTILLED_SOLVER = "lcm"


def preset_overrides(
    name: str,
    card: AnchorCard,
    stage: Literal["body", "face"] = "body",
    *,
    distilled: bool = False,
) -> dict[str, Any]:
    """Settings of a preset where they differ from the card's, for `anchor.use.sampler_settings`.

    distilled: the weights were distilled after the card was written, by a LoRA that was added. Raises
    AnchorError for an unknown name, and for `distilled` with weights that are not.
    """
    if name not in PRESETS:
        raise AnchorError(f"the preset is {name!r}: need one of {', '.join(PRESETS)}")
    few = is_distilled(card)
    if name == "faithful":
        return _faithful(stage, few)
    if name == "fast":
        return _fast(_own(card, stage), few)
    if name == "distilled":
        return _distilled(card, distilled)
    return {}


def is_distilled(card: AnchorCard) -> bool:
    """Whether the card says that its networks were distilled to few steps."""
    return card.scheduler == DISTILLED_SOLVER


def _faithful(stage: str, few: bool) -> dict[str, Any]:
    overrides: dict[str, Any] = {"schedule": "reference", "weighting": "flat"}
    if not few:  # distilled networks know no other solver
        overrides["scheduler"] = "ddim"
    if stage == "face":
        overrides |= {"window_size": 1, "overlap": 0}
    return overrides


def _fast(own: AnchorCard | FaceCard, few: bool) -> dict[str, Any]:
    cheaper: dict[str, Any] = {"far_keys": FAR_KEYS}
    steps = max(FEWEST_STEPS, math.ceil(own.steps * FAST_STEPS))
    if few or steps >= own.steps:
        return cheaper
    return {"scheduler": FAST_SOLVER, "steps": steps, **cheaper, **GUIDANCE}


def _distilled(card: AnchorCard, distilled: bool) -> dict[str, Any]:
    if is_distilled(card):
        return {}  # the card has steps and guidance of its own
    if not distilled:
        raise AnchorError(
            f"the anchor '{card.name}' was not distilled to few steps, which the preset distilled needs: "
            "add a distilled LoRA with --lora, or choose the preset fast"
        )
    return {"scheduler": DISTILLED_SOLVER, "steps": DISTILLED_STEPS, "guidance_scale": 1.0}


def _own(card: AnchorCard, stage: str) -> AnchorCard | FaceCard:
    from ..anchor.face_card import FaceCard

    return card if stage == "body" else card.face or FaceCard()
