"""The training loop: one loop for every network; what is learned is a function from a step to a loss.

    for each step:  draw a batch -> loss -> gradients -> clip -> AdamW -> average of the weights
    now and then:   a line in the loss log, a report to whoever watches, a checkpoint

All randomness comes from one generator on the CPU whose state is part of the checkpoint, so a training
that was stopped and resumed gives the same numbers as one that was not (bit-equal on the CPU).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..progress import Progress
from .checkpoint import CHECKPOINT
from .config import LoopConfig
from .report import Meter, Watch
from .steps import Objective, Run
from .workers import join_workers

__all__ = ["CHECKPOINT", "LOSS_LOG", "Objective", "batch_indices", "fit"]

LOSS_LOG = "loss.jsonl"


def fit(
    network: nn.Module,
    objective: Objective,
    config: LoopConfig,
    folder: Path,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> list[float]:
    """Train `network` in place and leave the average of its weights in it; return the losses of this run.

    Resumes from `folder`'s checkpoint; a finished one is only loaded. Ctrl-C, and whatever `progress` or
    `watch` raises, is raised after a checkpoint was saved. Raises AnchorError when the loss or its gradient
    is not finite, when the disk is full (the last checkpoint stays in both cases), or when the checkpoint
    belongs to other settings. Under `accelerate launch` every process calls this; the main one writes and
    reports.
    """
    workers = join_workers(config.device)
    run = Run(network, replace(config, device=workers.device), folder / CHECKPOINT, workers)
    meter = Meter(folder / LOSS_LOG, config, *run.resume(), write=workers.main)
    losses = []
    with run.saved_when_stopped(meter.state):
        while run.done < config.steps:
            losses.append(run.step(objective))
            report = meter.add(run.done, losses[-1], run.learning_rate, run.averaged)
            if run.done % config.checkpoint_every == 0 or run.done == config.steps:
                run.save(meter.state())
            if progress and workers.main:
                progress(run.done, config.steps, None)
            if watch and report and workers.main:
                watch(report)
            run.stop_if_asked()
    run.average.apply()
    network.eval()
    workers.wait()
    return losses


def batch_indices(count: int, batch_size: int, step: int, seed: int) -> Tensor:
    """Samples that step `step` sees, (B,) int64: every epoch is a new permutation, known without state."""
    places = torch.arange(step * batch_size, (step + 1) * batch_size)
    epochs = places // count
    orders = {int(epoch): _permutation(count, seed, int(epoch)) for epoch in epochs.unique()}
    return torch.stack([orders[int(e)][p] for e, p in zip(epochs, places % count, strict=True)])


def _permutation(count: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator("cpu").manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator)
