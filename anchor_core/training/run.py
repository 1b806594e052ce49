"""A whole training from its job: data, cache, networks, steps, and the anchor file at the end.

Every part goes on where it was stopped, so the same call continues a training that was interrupted and gives
the same file. Several processes (`accelerate launch`) all call it; the main one writes.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..anchor.base_file import describe_base
from ..anchor.published import read_json
from ..anchor.use import noise_schedule, sampler_settings
from ..errors import AnchorError
from ..files import atomic_path
from ..progress import StepFactory, silent_step
from .cache import Parts, cached_set, samples_digest
from .checkpoint import CHECKPOINT
from .config import SGDMConfig
from .export import check_export, export
from .job import AUTO, TrainingJob
from .optimiser import make_optimiser
from .report import StepReport, Watch
from .sets import JobData, read_data
from .start import Start, load_start
from .trainer import train_sgdm
from .workers import Workers, join_workers

log = logging.getLogger("anchor")

CACHE, BEGUN = "cache", "begun.json"


def run_job(job: TrainingJob, step: StepFactory = silent_step, watch: Watch | None = None) -> Path:
    """Make or finish a training; returns the anchor file.

    step(name, unit): progress bars. watch: called with each `StepReport`, after loss curve and samples were
    written into the job's folder. Raises AnchorError for all that is wrong with configuration and data,
    before anything is computed as far as it can be known; see `fit` for what can happen later.
    """
    workers = join_workers(device_of(job))
    step = step if workers.main else silent_step
    with step("reading data", " parts") as bar:
        data = read_data(job)
        bar(1, 2, None)
        config = config_of(job, data, workers.device)
        make_optimiser([torch.zeros(1, requires_grad=True)], config)  # it may need what is not installed
        start = load_start(job)
        check_export(job, start)
        bar(2, 2, None)
    if workers.main:
        _begin(job, data)
    monitor = _monitor(job, data, start) if workers.main else None
    tensors = _cached(job, data, config, start, workers, step)
    schedule = noise_schedule(start.anchor.card)

    def report(state: StepReport) -> None:
        if monitor is not None:
            monitor(state)
        if watch is not None:
            watch(state)

    try:
        with step(f"training the {job.stage}", " steps") as bar:
            train_sgdm(start.sgdm, start.vision, tensors, schedule, config, job.folder, bar, report)
    finally:
        if monitor is not None:
            monitor.close()
    if workers.main:
        export(job, start, data, config)
    workers.wait()
    return job.out


def device_of(job: TrainingJob) -> str:
    """The device that "auto" means here."""
    if job.train.device != AUTO:
        return job.train.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def config_of(job: TrainingJob, data: JobData, device: str) -> SGDMConfig:
    """The settings of the trainer: with a device, and with what the data allow."""
    config = replace(job.train, device=device, dataset_hash=samples_digest(data.samples))
    if config.perturbation and not data.samples[0].perturbed:
        why = "of faces there are none" if job.stage == "face" else "prepare --perturbed makes them"
        log.warning("the data have no perturbed meshes (%s): training without perturbation", why)
        config = replace(config, perturbation=0.0)
    return config


def _begin(job: TrainingJob, data: JobData) -> None:
    """Note what the training starts from, for `check_same` of those who go on."""
    facts = check_same(job, data)
    with atomic_path(job.folder / BEGUN) as partial:
        partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def check_same(job: TrainingJob, data: JobData) -> dict[str, Any]:
    """What the training starts from, as plain facts.

    Raises AnchorError where the folder holds a training of another start; the settings of the trainer are
    compared by its checkpoint.
    """
    place = job.folder / BEGUN
    facts: dict[str, Any] = {
        "stage": job.stage,
        "start.networks": job.start.networks.name,
        "data.size": data.size,
    }
    if job.train.lora_rank:  # its checkpoints do not hold the weights that it stands on
        facts["the SHA-256 of start.networks"] = describe_base(job.start.networks).sha256
    saved = read_json(place) if place.is_file() and (job.folder / CHECKPOINT).is_file() else facts
    for key, value in facts.items():
        if saved.get(key) != value:
            raise AnchorError(
                f"the training in {job.folder} was begun with {key} = {saved.get(key)} and now it is {value};"
                " going on needs the same; delete that folder or choose another as folder"
            )
    return facts


def _cached(
    job: TrainingJob, data: JobData, config: SGDMConfig, start: Start, workers: Workers, step: StepFactory
) -> Any:
    """The training set; one process computes what is missing, the others wait for it."""
    folder = job.data.cache or job.folder / CACHE
    parts = Parts(start.vae, start.vision, start.null, job.train.train_vision)
    place: dict[str, Any] = {"folder": folder, "digest": config.dataset_hash}
    tensors = None
    if workers.main:
        for network in (start.vae, start.vision):
            network.to(workers.device)
        tensors = cached_set(data.samples, data.size, parts, step=step, **place)
        # From here on they are asked for a few samples now and then: their memory is worth more.
        for network in (start.vae, start.vision):
            network.to("cpu")
    workers.wait()
    return tensors or cached_set(data.samples, data.size, parts, fill=False, **place)


def _monitor(job: TrainingJob, data: JobData, start: Start) -> Any:
    """Loss curve and, where there are held-out samples, what the network makes of them."""
    from .monitor import TrainingMonitor
    from .samples import held_out_pictures, held_out_sampler

    if not job.monitor.every or data.held_out is None:
        if job.monitor.every:
            log.warning("there are no held-out samples (data.held_out): no pictures while it trains")
        return TrainingMonitor(job.folder, None, tensorboard=job.monitor.tensorboard)
    pictures = held_out_pictures(data.held_out, job.monitor.samples, data.size)
    if (pictures.mask is not None) != (job.stage == "face"):
        raise AnchorError(
            f"{data.held_out} is not of the stage {job.stage}; need its own held-out manifest; correct"
            " data.held_out"
        )
    settings = sampler_settings(start.anchor.card, stage=job.stage)
    schedule = noise_schedule(start.anchor.card)
    sampler = held_out_sampler(
        start.sgdm, start.vae, start.vision, pictures, schedule, settings, start.null, job.monitor.samples
    )
    return TrainingMonitor(job.folder, sampler, job.monitor.every, job.monitor.tensorboard)
