"""The data of a job: samples of all its sets in a row, their cards, and what size they are trained at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import AnchorError
from .job import TrainingJob
from .manifest import Sample, read_manifest

MANIFESTS = {"body": ("manifest.jsonl", "held_out.jsonl"), "face": ("face.jsonl", "face_held_out.jsonl")}
"""Of a dataset folder, by stage: training part and held-out part."""
PUBLISHED_SIZE = {"body": 512, "face": 256}


@dataclass(frozen=True)
class JobData:
    """samples: of all sets, recordings of different sets apart. size: side of the pictures, pixels.
    held_out: manifest for samples while training, or None. cards: of those sets that are dataset folders.
    """

    samples: list[Sample]
    size: int
    held_out: Path | None
    cards: tuple[Any, ...]

    @property
    def card(self) -> Any:
        """The card that all samples share, or None."""
        return self.cards[0] if len(self.cards) == 1 else None


def read_data(job: TrainingJob) -> JobData:
    """Read and check all sets. Raises AnchorError for what is missing, masks of the wrong stage, and
    a fine-tuning on several people."""
    from ..dataset.card import read_dataset_card

    samples: list[Sample] = []
    for number, place in enumerate(job.data.sets):
        part = read_manifest(manifest_of(place, job.stage))
        _check_stage(job, part, place)
        samples += [replace(sample, clip=f"{number}/{sample.clip}") for sample in part]
    _check_one_person(job, samples)
    _check_alike(samples)
    cards = [read_dataset_card(place) for place in job.data.sets]
    found = tuple(card for card in cards if card is not None)
    return JobData(
        samples, _size(job, found), _held_out(job), found if len(found) == len(job.data.sets) else ()
    )


def manifest_of(place: Path, stage: str, held_out: bool = False) -> Path:
    """The manifest that a set means: its file itself, or that of the stage in a dataset folder."""
    if not place.is_dir():
        return place
    manifest = place / MANIFESTS[stage][held_out]
    if not held_out and not manifest.is_file():
        what = "faces: too small, or never seen" if stage == "face" else f"{manifest.name}"
        raise AnchorError(
            f"{place} has no {what}; need a dataset folder as prepare writes it; prepare it, or name a"
            " manifest"
        )
    return manifest


def _held_out(job: TrainingJob) -> Path | None:
    if job.data.held_out is not None:
        return manifest_of(job.data.held_out, job.stage, held_out=True)
    folders = [place for place in job.data.sets if place.is_dir()]
    manifests = [manifest_of(place, job.stage, held_out=True) for place in folders]
    return next((manifest for manifest in manifests if manifest.is_file()), None)


def _size(job: TrainingJob, cards: Sequence[Any]) -> int:
    if job.data.size:
        return job.data.size
    own = [card.size if job.stage == "body" else card.head_size for card in cards]
    return int(own[0]) if own else PUBLISHED_SIZE[job.stage]


def _check_stage(job: TrainingJob, samples: Sequence[Sample], place: Path) -> None:
    if job.stage == "face" and samples[0].mask is None:
        raise AnchorError(
            f"{place} has no masks, which the face needs; name a manifest of aligned faces, or set stage to"
            " body"
        )
    if job.stage == "body" and samples[0].mask is not None:
        raise AnchorError(
            f"{place} has masks, so it holds faces; set stage to face, or name the body's manifest"
        )


def _check_one_person(job: TrainingJob, samples: Sequence[Sample]) -> None:
    people = sorted({sample.person for sample in samples if sample.person})
    if job.mode == "finetune" and len(people) > 1:
        raise AnchorError(
            f"the data show {len(people)} people ({', '.join(people[:4])}) and a fine-tuning is for one; name"
            " the set of one, or set mode to pretrain"
        )


def _check_alike(samples: Sequence[Sample]) -> None:
    counts = sorted({len(sample.perturbed) for sample in samples})
    if len(counts) > 1:
        raise AnchorError(
            f"some sets have {counts[0]} perturbed meshes per frame and others {counts[-1]}; need equally"
            " many; prepare them with the same --perturbed"
        )
