"""The ingredients of overlapped temporal denoising, each switched on and off (section 3.3).

Windows differ by the sampler's settings. Attention across frames and shared GroupNorm statistics sit inside
the network; `without` takes them out of it for the length of a block and touches no weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import AnchorError
from ..sgdm.attention import WindowAttention
from ..sgdm.network import SGDM
from ..sgdm.normalization import WindowGroupNorm
from ..sgdm.window import Window

Ingredient = Literal["attention", "normalization"]


@dataclass(frozen=True)
class Experiment:
    """One row of the table: settings that differ from the anchor's own, and what the network goes without."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    without: tuple[Ingredient, ...] = ()
    fidelity: Literal["trained", "reference"] | None = None


SINGLE = {"window_size": 1, "overlap": 0}
OWN_NOISE = {"shared_noise": False}

EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment("all ingredients (the anchor's settings)"),
    Experiment("frame by frame, own noise each", {**SINGLE, **OWN_NOISE}),
    Experiment("frame by frame, shared noise", SINGLE),
    Experiment("own noise: windows, neither attention nor norm", OWN_NOISE, ("attention", "normalization")),
    Experiment("own noise: + attention across frames", OWN_NOISE, ("normalization",)),
    Experiment("own noise: + shared norm", OWN_NOISE, ("attention",)),
    Experiment("own noise: + both", OWN_NOISE),
    Experiment("shared noise: windows, neither attention nor norm", {}, ("attention", "normalization")),
    Experiment("shared noise: + attention across frames", {}, ("normalization",)),
    Experiment("shared noise: + shared norm", {}, ("attention",)),
    Experiment("overlap 0", {"overlap": 0}),
    Experiment("overlap 0, own noise", {"overlap": 0, **OWN_NOISE}),
    Experiment("overlap 8", {"overlap": 8}),
    Experiment("windows of 8, overlap 2", {"window_size": 8, "overlap": 2}),
    Experiment("schedule reference (short last window)", {"schedule": "reference"}),
    Experiment("schedule uniform", {"schedule": "uniform"}),
    Experiment("weights pyramid", {"weighting": "pyramid"}),
    Experiment("weights overlap-linear", {"weighting": "overlap-linear"}),
    Experiment("residual into the mid block (fidelity reference)", fidelity="reference"),
    Experiment("5 steps", {"steps": 5}),
    Experiment("10 steps", {"steps": 10}),
    Experiment("20 steps", {"steps": 20}),
    Experiment("10 steps of DPM++ 2M", {"steps": 10, "scheduler": "dpm++2m"}),
    Experiment("guidance 2", {"guidance_scale": 2.0}),
    Experiment("condition scale 1.5", {"condition_scale": 1.5}),
)


@contextmanager
def prepared(sgdm: SGDM | None, experiment: Experiment) -> Iterator[SGDM]:
    """The network as the experiment wants it; as it was, afterwards. Raises AnchorError without a network."""
    if sgdm is None:
        raise AnchorError("the anchor has no body network; an experiment needs one; choose another anchor")
    before = sgdm.fidelity
    sgdm.fidelity = experiment.fidelity or before
    try:
        with without(sgdm, experiment.without):
            yield sgdm
    finally:
        sgdm.fidelity = before


@contextmanager
def without(sgdm: SGDM, ingredients: tuple[Ingredient, ...]) -> Iterator[None]:
    """Keep attention, or the statistics of GroupNorm, inside single frames for the length of the block."""
    attentions = [
        p for p in sgdm.unet.attn_processors.values() if isinstance(p, WindowAttention) and p.across_frames
    ]
    norms = [module for module in sgdm.modules() if isinstance(module, WindowGroupNorm)]
    single = Window()  # never entered, so always one frame long
    if "attention" in ingredients:
        for attention in attentions:
            attention.across_frames = False
    if "normalization" in ingredients:
        for norm in norms:
            norm.window = single
    try:
        yield
    finally:
        for attention in attentions:
            attention.across_frames = True
        for norm in norms:
            norm.window = sgdm.window
