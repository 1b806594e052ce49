"""The rows of the table: what each ablation leaves out, and what the paper says of it.

The paper's claims come with numbers of its own world (FID, FVD and landmark distances on real speakers),
which no other world can repeat; what can be repeated is the order: whether a row is worse or better than the
full method. `fvd` holds the published numbers that are known here, those of Table 2; of Table 1 the
direction alone is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..experiments import OWN_NOISE, SINGLE
from .runs import PRETRAIN, TOGETHER

Order = Literal["worse", "better", "same", "none"]
Face = Literal["own", "pretrained", "none"]


@dataclass(frozen=True)
class MethodRow:
    """One row. run: kind of body run; settings: fields of SamplerSettings that differ; face: whose face pass.

    jitter: errors of the estimates that drive the clip, 1 as in the films. table: 1 or 2 of the paper, 0 for
    a row of ours. paper: the order that the paper finds against the full method; against: the row that this
    one is compared with; judged: the metrics that stand for what the row is about.
    """

    key: str
    name: str
    run: str = "ours"
    settings: dict[str, Any] = field(default_factory=dict)
    face: Face = "own"
    jitter: float = 1.0
    table: int = 1
    paper: Order = "none"
    fvd: float | None = None
    against: str = "ours"
    judged: tuple[str, ...] = ("psnr",)


ROUGH = 6.0
"""Errors of a rough estimate, as multiples of those in the films: half a pixel to two at the quick scale."""
OURS = MethodRow("ours", "ours (two stages, windows 16/4, face pass)", fvd=139.8)
_STEADY, _PICTURE = ("flicker",), ("psnr", "lmd_body", "lmd_hands")
ROWS: tuple[MethodRow, ...] = (
    OURS,
    MethodRow(
        "no_temporal",
        "w/o temporal denoising (frame by frame, own noise each)",
        settings={**SINGLE, **OWN_NOISE},
        paper="worse",
        judged=_STEADY,
    ),
    MethodRow("no_face", "w/o face enhancement", face="none", paper="worse", judged=("psnr_face",)),
    MethodRow(
        "short",
        "w/o two-stage training: the person alone, steps of the second stage",
        run="short",
        paper="worse",
        judged=_PICTURE,
    ),
    MethodRow(
        "alone",
        "w/o two-stage training: the person alone, steps of both stages",
        run="alone",
        paper="worse",
        judged=_PICTURE,
    ),
    MethodRow(
        "together",
        "w/o two-stage training: everybody at once, steps of both stages",
        run=TOGETHER,
        paper="worse",
        judged=_PICTURE,
    ),
    MethodRow("perturbed", "+ SMPL-X perturbation", run="perturbed", paper="better", judged=_PICTURE),
    MethodRow("rough", "ours, driven by rough estimates", jitter=ROUGH, table=0, judged=_PICTURE),
    MethodRow(
        "rough_perturbed",
        "+ SMPL-X perturbation, driven by rough estimates",
        run="perturbed",
        jitter=ROUGH,
        paper="better",
        against="rough",
        judged=_PICTURE,
    ),
    MethodRow(
        "w8",
        "windows 8/2",
        settings={"window_size": 8, "overlap": 2},
        table=2,
        paper="worse",
        fvd=140.3,
        judged=_STEADY,
    ),
    MethodRow(
        "w32",
        "windows 32/8",
        settings={"window_size": 32, "overlap": 8},
        table=2,
        paper="better",
        fvd=138.5,
        judged=_STEADY,
    ),
    MethodRow(
        "shared_noise", "frame by frame, one noise for all", settings=dict(SINGLE), table=0, judged=_STEADY
    ),
    MethodRow("own_noise", "windows 16/4, own noise each", settings=dict(OWN_NOISE), table=0, judged=_STEADY),
    MethodRow(
        "pretrain",
        "pre-training alone, no fine-tuning",
        run=PRETRAIN,
        face="pretrained",
        table=0,
        judged=_PICTURE,
    ),
)
