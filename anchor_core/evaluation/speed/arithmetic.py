"""How much the presets and approximations compute at the size of Stable Diffusion 1.5: arithmetic, no times.

Floating-point operations are counted by torch on networks without memory (meta tensors), for each kind of
window that occurs, and added up over the steps of a clip. Kernels do not run all operations alike: attention
of heads with 40 channels is slower than its count, so times are another matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from ...anchor.base_unet import UNET_CONFIG, controlnet_config
from ...anchor.card import AnchorCard
from ...anchor.use import sampler_settings
from ...sampling.sampler import SamplerSettings
from ...sampling.windows import plan_windows
from ...sgdm.deep import DeepFeatures
from ...sgdm.network import SGDM, build_sgdm
from ..tables import Columns, table
from .prices import plan_prices

TOKENS = 50
"""Of a reference picture by CLIP ViT-B/32."""
CONDITION_CHANNELS = (16, 32, 96, 256)
"""Of the condition embedding of the published ControlNet."""
COLUMNS: Columns = (("PFLOP", 2), ("share of faithful", 3), ("PFLOP per step", 3))


@dataclass(frozen=True)
class ArithmeticRow:
    """One line: what a clip takes in all, as a share of the published inference, and per step on average."""

    name: str
    petaflop: float
    share: float
    per_step: float


@dataclass(frozen=True)
class _Kind:
    """What the cost of a window depends on. half: deep features are reused."""

    frames: int
    contexts: int
    posed: bool
    far_keys: int
    half: bool


def count_arithmetic(n_frames: int = 300, size: int = 512) -> list[ArithmeticRow]:
    """All rows of `plan_prices` for networks of Stable Diffusion 1.5; size: of the pictures, pixels."""
    card = AnchorCard(name="Stable Diffusion 1.5", resolution=(size, size))
    sgdm = stable_diffusion_sgdm()
    count = cache(lambda kind: window_flops(sgdm, kind, size // 8))
    rows: list[ArithmeticRow] = []
    for price in plan_prices(card):
        settings = sampler_settings(card, **price.settings)
        total = sum(count(kind) for kind in _kinds(settings, n_frames)) / 1e15
        share = total / rows[0].petaflop if rows else 1.0
        rows.append(ArithmeticRow(price.name, total, share, total / settings.steps))
    return rows


def arithmetic_table(rows: Sequence[ArithmeticRow]) -> str:
    """The rows as Markdown."""
    return table(rows, COLUMNS)


def stable_diffusion_sgdm() -> SGDM:
    """Networks of that size without memory."""
    control = {**controlnet_config(UNET_CONFIG), "conditioning_embedding_out_channels": CONDITION_CHANNELS}
    return build_sgdm(UNET_CONFIG, control, empty=True).eval()


def _kinds(settings: SamplerSettings, n_frames: int) -> Iterator[_Kind]:
    """Every window of every step."""
    for step in range(settings.steps):
        contexts = 2 if settings.guided_at(step) else 1
        half = not settings.computes_deep(step)
        posed = settings.scale_at(step) != 0
        for window in plan_windows(n_frames, settings.window_size, settings.overlap, settings.schedule, step):
            yield _Kind(len(window), contexts, posed, settings.far_keys, half)


@torch.no_grad()
def window_flops(sgdm: SGDM, kind: _Kind, side: int) -> int:
    """Operations of U-Net and ControlNet for one window in one step. side: of the latents."""
    with torch.device("meta"):
        latents = torch.empty(1, kind.frames, sgdm.latent_channels, side, side)
        contexts = torch.empty(kind.contexts, TOKENS, sgdm.appearance_width)
        channels = sgdm.unet.config.block_out_channels[0]
        pose = torch.empty(1, kind.frames, channels, side, side)
        deep = None
        if kind.half:
            deep = DeepFeatures()
            deep.keep(torch.empty(kind.contexts * kind.frames, channels, side, side))
        timestep = torch.empty(())
    with FlopCounterMode(display=False) as counter:
        sgdm.guided(latents, timestep, contexts, pose, float(kind.posed), far_keys=kind.far_keys, deep=deep)
    return int(counter.get_total_flops())
