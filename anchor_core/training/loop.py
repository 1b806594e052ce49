"""The training loop: one loop for every network; what is learned is a function from a step to a loss.

    for each step:  draw a batch -> loss -> gradients -> clip -> AdamW -> average of the weights
    now and then:   a line in the loss log, a checkpoint

All randomness comes from one generator on the CPU whose state is part of the checkpoint, so a training
that was stopped and resumed gives the same numbers as one that was not (bit-equal on the CPU).
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import AnchorError
from ..files import atomic_path
from ..progress import Progress
from .average import WeightAverage
from .checkpoint import load_checkpoint, save_checkpoint
from .config import LoopConfig

log = logging.getLogger("anchor")

Objective = Callable[[int, torch.Generator], Tensor]
"""(step, generator) to a scalar loss; all random numbers are drawn from the generator."""

CHECKPOINT = "checkpoint.pt"
LOSS_LOG = "loss.jsonl"


def fit(
    network: nn.Module,
    objective: Objective,
    config: LoopConfig,
    folder: Path,
    progress: Progress | None = None,
) -> list[float]:
    """Train `network` in place and leave the average of its weights in it; return the losses of this run.

    Resumes from `folder`'s checkpoint; a finished one is only loaded. Raises AnchorError when the loss is
    not finite, or when the checkpoint belongs to other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(network, config, folder / CHECKPOINT)
    first = run.resume()
    meter = Meter(folder / LOSS_LOG, config, first)
    losses = []
    for step in range(first, config.steps):
        loss = run.step(step, objective)
        losses.append(loss)
        meter.add(step, loss, run.learning_rate(step))
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            run.save(step + 1)
        if progress:
            progress(step + 1, config.steps, None)
    run.average.apply()
    network.eval()
    return losses


class Run:
    """Optimiser, average and generator of one training, and their checkpoint."""

    def __init__(self, network: nn.Module, config: LoopConfig, path: Path) -> None:
        self.network = network.to(config.device).train().requires_grad_(True)
        self.config = config
        self.path = path
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
        self.average = WeightAverage(self.parameters, config.ema_decay)
        self.generator = torch.Generator("cpu").manual_seed(config.seed)

    def step(self, step: int, objective: Objective) -> float:
        """One optimiser step; returns its loss."""
        loss = objective(step, self.generator)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise AnchorError(
                f"the loss is {value} at step {step}; training diverged; lower the learning rate"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(step)
        self.optimiser.step()
        self.average.update(step)
        return value

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then constant or half a cosine to zero."""
        config = self.config
        rate = config.learning_rate * min(1.0, (step + 1) / (config.warmup_steps + 1))
        if config.decay == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / config.steps))
        return rate

    def save(self, step: int) -> None:
        """Write the checkpoint after `step` steps."""
        state = {
            "step": step,
            "network": self.network.state_dict(),
            "average": self.average.average,
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
        }
        save_checkpoint(self.path, state, self.config)

    def resume(self) -> int:
        """Take up the checkpoint if there is one; returns the number of steps that are done."""
        state = load_checkpoint(self.path, self.config)
        if state is None:
            return 0
        self.network.load_state_dict(state["network"])
        self.average.restore(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        log.info("%s: resumed at step %d of %d", self.path.parent.name, state["step"], self.config.steps)
        return int(state["step"])


class Meter:
    """Writes the mean loss of every `log_every` steps to a JSON-lines file, and says the time left."""

    def __init__(self, path: Path, config: LoopConfig, first: int) -> None:
        self.path, self.config, self.first = path, config, first
        self.name = path.parent.name
        self.recent: list[float] = []
        self.started = time.monotonic()
        lines = path.read_text().splitlines() if first and path.is_file() else []
        # Steps after the checkpoint are made again, so their lines go.
        kept = [line for line in lines if json.loads(line)["step"] <= first]
        if kept != lines or not first:
            with atomic_path(path) as partial:
                partial.write_text("".join(line + "\n" for line in kept))

    def add(self, step: int, loss: float, rate: float) -> None:
        """Take in the loss of a step."""
        self.recent.append(loss)
        if (step + 1) % self.config.log_every and step + 1 != self.config.steps:
            return
        mean = sum(self.recent) / len(self.recent)
        self.recent.clear()
        spent = time.monotonic() - self.started
        left = spent / (step + 1 - self.first) * (self.config.steps - step - 1)
        with self.path.open("a") as stream:
            stream.write(json.dumps({"step": step + 1, "loss": mean, "rate": rate, "seconds": spent}) + "\n")
        log.info(
            "%s: step %d/%d, loss %.4f, %.1f min left",
            self.name,
            step + 1,
            self.config.steps,
            mean,
            left / 60,
        )


def batch_indices(count: int, batch_size: int, step: int, seed: int) -> Tensor:
    """Samples that step `step` sees, (B,) int64: every epoch is a new permutation, known without state."""
    places = torch.arange(step * batch_size, (step + 1) * batch_size)
    epochs = places // count
    orders = {int(epoch): _permutation(count, seed, int(epoch)) for epoch in epochs.unique()}
    return torch.stack([orders[int(e)][p] for e, p in zip(epochs, places % count, strict=True)])


def _permutation(count: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator("cpu").manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator)
