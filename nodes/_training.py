"""A training in the graph: the job of its widgets, and what the node shows while it runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..anchor_core.errors import AnchorError
from . import _folders, _host
from ._loading import AnchorSource

if TYPE_CHECKING:
    from ..anchor_core.progress import Progress
    from ..anchor_core.training.job import TrainingJob
    from ..anchor_core.training.report import StepReport
    from ._types import AnchorDataset

log = logging.getLogger("anchor")

AUTOMATIC = "automatic"
AS_PRESET = "as the preset says"
_CARDS = ((36.0, "40gb"), (22.0, "24gb"), (15.0, "16gb"), (0.1, "12gb"))
"""Least memory in 10^9 bytes, and the preset that fits into it; a CPU gets the plain defaults."""
_UNSET: dict[str, Any] = {
    "learning_rate": 0.0,
    "batch_size": 0,
    "precision": AS_PRESET,
    "lora_rank": -1,
    "perturbation": -1.0,
    "null_probability": -1.0,
    "min_snr_gamma": -1.0,
}
"""Values of widgets that leave a setting to the preset."""
_REPORTS, _MOST_STEPS = 40, 50
"""At least so many looks at a training, and at most so many steps between two of them."""
_UNITS = 1000
_BEFORE = 0.1
"""Share of the bar for what comes before the first step."""
_GAP = 8  # pixels


def training_folder(name: str, stage: str) -> Path:
    """Where checkpoints, losses and pictures of a training lie."""
    return _folders.output_folder(_folders.TRAININGS, f"{_folders.check_folder_name(name)}_{stage}")


def preset_for(name: str) -> str:
    """The preset of this name, or the one for the host's device; "" on a CPU."""
    if name != AUTOMATIC:
        return name
    memory = _host.device_gb()
    return next((preset for least, preset in _CARDS if memory >= least), "")


def make_job(
    dataset: AnchorDataset,
    source: AnchorSource,
    device: torch.device,
    *,
    stage: str,
    preset: str,
    name: str,
    licence: str,
    sample_every: int,
    kept: Path | None = None,
    **train: Any,
) -> TrainingJob:
    """The job of the widgets; train: settings of `SGDMConfig`, those in `_UNSET` left to the preset.

    kept: an anchor file whose other stage goes into the result. Raises AnchorError for settings out of their
    range, and where another anchor would be written over.
    """
    from ..anchor_core.training.job import job_from

    given = {key: value for key, value in train.items() if key not in _UNSET or value != _UNSET[key]}
    if "lora_rank" in given:
        given["lora_alpha"] = float(given["lora_rank"] or 1)
    steps = int(train["steps"])
    given |= {"device": str(device), "log_every": max(1, min(_MOST_STEPS, steps // _REPORTS))}
    out, folder = _folders.new_anchor_path(name), training_folder(name, stage)
    start = {
        "networks": str(source.path.absolute()),
        "vae": str(source.vae or ""),
        "clip_vision": str(source.clip_vision or ""),
        "text_encoder": str(source.text_encoder or ""),
    }
    job = job_from(
        {
            "preset": preset_for(preset),
            "stage": stage,
            "name": name,
            "out": str(out),
            "folder": str(folder),
            "data": {"sets": [str(dataset.folder)]},
            "start": start,
            "train": given,
            "monitor": {"every": sample_every},
            "licence": licence.strip(),
            "consent": dataset.consent,
        },
        command="Train Anchor in ComfyUI",
    )
    into = _into(job, kept)
    return replace(job, start=replace(job.start, into=into))


def _into(job: TrainingJob, kept: Path | None) -> Path | None:
    """The file whose other stage stays. Raises AnchorError where there would be a face and no body."""
    there = other_stage_of(job.out, job.stage, job.folder)
    if job.train.lora_rank:
        if there or kept not in (None, job.start.networks):
            raise AnchorError(
                f"low-rank layers (lora_rank {job.train.lora_rank}) belong to one file and cannot join "
                "an anchor that holds another stage: choose lora_rank 0, or another name and no anchor"
            )
        return None  # it keeps all of the anchor that it stands on
    if job.stage == "face" and not (there or kept):
        raise AnchorError(
            f"there is no body yet for the face of '{job.name}': train the body with this name first, or "
            "connect an anchor that has one"
        )
    return there or kept


def other_stage_of(out: Path, stage: str, folder: Path) -> Path | None:
    """The anchor file that is to be written, if it lies there and holds the other stage, which is kept.

    Raises AnchorError where it holds this stage and no training of ours has made that.
    """
    from ..anchor_core.anchor.file import read_parts
    from ..anchor_core.training.checkpoint import CHECKPOINT

    if not out.is_file():
        return None
    held = {part.split(".")[0] for part in read_parts(out) if part.endswith(".unet")}
    if stage in held and not (folder / CHECKPOINT).is_file():
        raise AnchorError(
            f"{out.name} in models/{out.parent.name} has a {stage} already, which was not trained here "
            f"({folder} is not there): choose another name, so that it is not lost"
        )
    return out if held - {stage} else None


class TrainingView:
    """The one bar of the node, and the newest pictures of the training."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._bar, self._done = folder, _host.FrameProgress(_UNITS), 0.0

    @contextmanager
    def step(self, name: str, _unit: str) -> Iterator[Progress]:
        """A `StepFactory`; what comes before the training shares the first part of the bar."""
        begin = self._done
        # How many steps there are is not known before: each takes half of what is left.
        self._done = 1.0 if name.startswith("training") else begin + (_BEFORE - begin) / 2
        end = self._done

        def report(done: int, total: int, preview: Any) -> None:
            share = done / max(1, total)
            self._bar(round(_UNITS * (begin + (end - begin) * share)), _UNITS, preview)

        yield report

    def watch(self, report: StepReport) -> None:
        """Show what the monitor has drawn."""
        self._bar(_place(report), _UNITS, self.picture())

    def files(self) -> list[Path]:
        """Samples, where there are some, and the losses."""
        from ..anchor_core.training.monitor import LOSS_PICTURE, SAMPLE_PICTURE

        files = [self._folder / SAMPLE_PICTURE, self._folder / LOSS_PICTURE]
        return [file for file in files if file.is_file()]

    def picture(self) -> np.ndarray | None:
        """The files one below the other, (H, W, 3) uint8; None as long as there is none."""
        from ..anchor_core.video.read import read_picture

        pictures = [read_picture(file) for file in self.files()]
        return stacked(pictures) if pictures else None


def _place(report: StepReport) -> int:
    return round(_UNITS * (_BEFORE + (1 - _BEFORE) * report.step / report.steps))


def stacked(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures (H, W, 3) uint8 in a column, all as wide as the widest."""
    from PIL import Image

    width = max(picture.shape[1] for picture in pictures)
    rows: list[np.ndarray] = []
    for picture in pictures:
        height = round(picture.shape[0] * width / picture.shape[1])
        rows += [
            np.zeros((_GAP, width, 3), np.uint8),
            np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)),
        ]
    return np.concatenate(rows[1:])
