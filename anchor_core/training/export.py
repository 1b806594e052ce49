"""The result of a training as an anchor file: networks, reference picture, and a card for them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..anchor.base_file import describe_base, updated_stages
from ..anchor.card import AnchorCard
from ..anchor.face_card import FaceCard
from ..anchor.file import STAGES, Anchor, load_anchor, read_card, read_link, read_parts, save_anchor
from ..anchor.use import noise_schedule
from ..anchor.weights import read_header
from ..errors import AnchorError
from .cache import weights_digest
from .config import SGDMConfig
from .job import TrainingJob
from .manifest import read_squashed
from .sets import JobData
from .start import Start, start_kind

_HERE_ONLY = ("device", "dataset_hash", "log_every", "checkpoint_every", "keep_checkpoints")
"""Settings that say nothing about the weights."""
REFERENCES = {"body": "reference", "face": "face_reference"}
"""The stored picture of each stage."""


def check_export(job: TrainingJob, start: Start) -> None:
    """Raise AnchorError now for what would prevent the file after hours of training."""
    _check_out(job)
    if job.train.lora_rank:
        _check_low_rank(job)
    if job.start.into is not None:
        _check_into(job, start)


def _check_out(job: TrainingJob) -> None:
    """Nothing may be lost with the file that lies there already."""
    out = job.out
    if not out.is_file():
        return
    if job.train.lora_rank and out.resolve() == job.start.networks.resolve():
        raise AnchorError(
            f"out is {out.name}, on which the low-rank layers stand, so it has to stay; choose another name"
        )
    parts = updated_stages(read_header(out)) if read_link(out) else read_parts(out)
    lost = {part.split(".")[0] for part in parts} & set(STAGES) - {job.stage}
    if lost and (job.start.into is None or out.resolve() != job.start.into.resolve()):
        raise AnchorError(
            f"out is {out.name}, which has a {lost.pop()} that would be lost; name it as start.into too,"
            " or choose another name"
        )


def _check_low_rank(job: TrainingJob) -> None:
    kind, path = start_kind(job)
    if kind != "anchor":
        raise AnchorError(
            f"train.lora_rank is {job.train.lora_rank} and {job.start.networks} is no anchor file, on which"
            " low-rank layers stand; convert it first (python -m anchor_core convert), or set lora_rank to 0"
        )
    base = describe_base(path)
    if job.start.into is None:
        return
    link = read_link(job.start.into)
    if link is None or link.sha256 != base.sha256:
        raise AnchorError(
            f"start.into is {job.start.into.name}, which is no low-rank anchor on {path.name}; both stages of"
            " one stand on the same file; give such an anchor, or remove start.into"
        )


def _check_into(job: TrainingJob, start: Start) -> None:
    """The two stages of one file share VAE, tower, tokens of no appearance and noise schedule."""
    path = job.start.into
    assert path is not None
    other = other_stage(job)
    if f"{other}.unet" not in read_parts(path):
        raise AnchorError(
            f"start.into is {path.name}, which has no {other} to keep; name an anchor with a"
            f" {other}, or remove it"
        )
    if noise_schedule(read_card(path)) != noise_schedule(start.anchor.card):
        raise AnchorError(
            f"{path.name} was trained with another noise schedule than {job.start.networks}; both stages need"
            " one; start from the family of networks that it is of"
        )
    kept = load_anchor(path, need=())
    for part in ("vae", "vision"):
        if _digest(getattr(kept, part)) != _digest(_own(start, part)):
            raise AnchorError(
                f"{path.name} has another {part} than {job.start.networks}; the stages of an anchor share it;"
                " start from the family of networks that it is of"
            )


def other_stage(job: TrainingJob) -> str:
    """The stage that is not trained."""
    return next(stage for stage in STAGES if stage != job.stage)


def export(job: TrainingJob, start: Start, data: JobData, config: SGDMConfig) -> None:
    """Write the anchor file."""
    picture = torch.from_numpy(read_squashed([data.samples[0].reference], data.size)[0])
    kept = load_anchor(job.start.into, need=()) if job.start.into else None
    card = card_of(job, start, data, config, kept.card if kept else None)
    parts: dict[str, Any] = {REFERENCES[job.stage]: picture, "null_appearance": start.null}
    if kept is not None:
        other = other_stage(job)
        parts |= {name: getattr(kept, name) for name in (other, REFERENCES[other])}
    if config.lora_rank:
        _save_low_rank(job, start, Anchor(card, **parts))
        return
    parts |= {job.stage: start.sgdm, **{part: _own(start, part) for part in ("vae", "vision")}}
    if config.train_vision:
        parts["vision"] = start.vision
    save_anchor(Anchor(card, **parts), job.out)


def _save_low_rank(job: TrainingJob, start: Start, anchor: Anchor) -> None:
    from ..anchor.lora import read_updates, save_lora
    from .lora import lora_tensors

    _, base = start_kind(job)
    updates = read_updates(job.start.into) if job.start.into else {}
    save_lora(anchor, updates | {job.stage: lora_tensors(start.sgdm)}, base, job.out)


def _own(start: Start, part: str) -> Any:
    """The network that goes into the file; None where it is the one of Stable Diffusion 1.5."""
    return getattr(start, part) if getattr(start.anchor, part) is not None else None


def _digest(network: Any) -> str:
    """Of the weights as they are stored, in half precision."""
    if network is None:
        return ""
    from copy import deepcopy

    return weights_digest(deepcopy(network).half().cpu())


def card_of(
    job: TrainingJob, start: Start, data: JobData, config: SGDMConfig, kept: AnchorCard | None = None
) -> AnchorCard:
    """The card: how the start's networks want to be sampled, what was trained now, whom it shows.

    kept: the card of the anchor whose other stage stays.
    """
    base = start.anchor.card
    card = replace(
        kept if kept and job.stage == "face" else base,
        name=job.name,
        stage="pretrained" if job.mode == "pretrain" else "finetuned",
        seed=config.seed,
        null_appearance="stored" if start.null is not None else base.null_appearance,
        licence=job.licence,
        consent=job.consent,
        made_with=f"anchor_core {__version__}: {job.command or 'python -m anchor_core train'}",
        extra=_extra(job, data, config, kept or base),
    )
    if job.stage == "face":
        face = _face_card(card.face or base.face, data, config)
        return replace(card if kept else _with_world(card, data), face=face)
    body = replace(card, training_steps=config.steps, resolution=(data.size, data.size), fidelity="trained")
    return replace(_with_world(body, data), face=_kept_face(job, start, kept))


def _kept_face(job: TrainingJob, start: Start, kept: AnchorCard | None) -> FaceCard | None:
    """A low-rank file of the base's person keeps the base's face."""
    if kept is not None:
        return kept.face
    return start.anchor.card.face if job.train.lora_rank else None


def _face_card(face: FaceCard | None, data: JobData, config: SGDMConfig) -> FaceCard:
    # The faces of prepare are drawn in the crop, those of the published scripts warped from the frame.
    mesh = "drawn" if data.cards else "warped"
    return replace(face or FaceCard(), crop_size=data.size, training_steps=config.steps, mesh=mesh)


def _with_world(card: AnchorCard, data: JobData) -> AnchorCard:
    """Camera, shape and motion of the training; unknown where several sets or foreign ones were used."""
    own = data.card
    if own is None or len(own.people) > 1:
        return replace(card, camera=None, betas=None, ranges=None)
    return replace(
        card,
        camera=own.camera.to_dict(),
        betas=tuple(map(float, own.betas)),
        ranges=own.ranges,
        fps=float(own.fps),
    )


def _extra(job: TrainingJob, data: JobData, config: SGDMConfig, before: AnchorCard) -> dict[str, Any]:
    """What this version's card has no field for: data and settings, by stage."""
    settings = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(config).items()
        if key not in _HERE_ONLY
    }
    hashes = [card.hash for card in data.cards] or [config.dataset_hash]
    facts = {
        "mode": job.mode,
        "start": Path(job.start.networks).name,
        "dataset": hashes,
        "samples": len(data.samples),
        "people": len({sample.person for sample in data.samples}),
        "size": data.size,
        "settings": settings,
    }
    stages = dict(before.extra.get("training") or {}) if job.start.into else {}
    return {**before.extra, "training": {**stages, job.stage: facts}}
