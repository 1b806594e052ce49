"""One training between two steps: network, optimiser, average and generator, and how a step is made of them.

A batch may be computed in parts: by several processes, and one after the other (`accumulation`). The
random numbers of the whole batch are drawn in any case, so the parts add up to the step of the whole.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from ..errors import AnchorError
from .average import WeightAverage
from .checkpoint import check_room, drop_partial, keep_checkpoint, load_checkpoint, save_checkpoint
from .config import LoopConfig
from .interrupts import Interrupts
from .optimiser import learning_rate, make_optimiser
from .workers import Workers

log = logging.getLogger("anchor")

Objective = Callable[[int, torch.Generator], Tensor]
"""(step, generator) to a scalar loss; all random numbers are drawn from the generator."""

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
_SMALLEST_SCALE = 2.0**-10
"""Loss scale of fp16 below which nothing is left to train with: it starts at 2^16, an overflow halves it."""


class Batch(Protocol):
    """All that is random in a step, for B samples."""

    def __len__(self) -> int: ...

    def part(self, rows: Tensor) -> Batch:
        """Some of the samples."""


class SplitObjective(Protocol):
    """An objective in two halves: what is drawn, and the mean loss of any part of it."""

    def draw(self, step: int, generator: torch.Generator) -> Batch: ...

    def loss(self, batch: Any) -> Tensor: ...


class Run:
    """The state of one training and its checkpoint. `done`: steps that are made."""

    def __init__(self, network: nn.Module, config: LoopConfig, path: Path, workers: Workers) -> None:
        self.network = network.to(config.device).train().requires_grad_(True)
        self.config, self.path, self.workers = config, path, workers
        check_precision(config)
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser = make_optimiser(self.parameters, config)
        self.average = WeightAverage(self.parameters, config.ema_decay)
        self.generator = torch.Generator("cpu").manual_seed(config.seed)
        self.kind = torch.device(config.device).type
        self.scaler = torch.amp.GradScaler(self.kind, enabled=config.precision == "fp16")
        self.interrupts = Interrupts()
        self.done = self.saved = 0
        self.all_stop = False  # somebody pressed Ctrl-C, and all processes know it
        self.whole = True  # false inside of a step, when weights and optimiser may be of two minds

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return learning_rate(self.config, self.done - 1)

    def step(self, objective: Objective) -> float:
        """One optimiser step; returns its loss. Ctrl-C waits until it is done."""
        with self.interrupts.held():
            self.whole = False
            try:
                loss, interrupted = self._make(objective)
            except torch.cuda.OutOfMemoryError as error:
                raise AnchorError(
                    f"the memory of {self.config.device} is full at step {self.done}; raise accumulation,"
                    f" switch gradient_checkpointing on or take a preset for less memory ({self._where()})"
                ) from error
            self.done += 1
            self.whole = True
        # Of several processes all stop after the same step: one that was told later says so in the next.
        self.all_stop = self.workers.count > 1 and interrupted > 0
        return loss

    def _make(self, objective: Objective) -> tuple[float, float]:
        """Gradients of all processes and the update; returns the loss and how many are interrupted."""
        self.optimiser.zero_grad(set_to_none=True)
        loss, interrupted = self.workers.add([self._backward(objective), float(self.interrupts.pending)])
        self._check("loss", loss)
        self.workers.add_([p.grad for p in self.parameters if p.grad is not None])
        self._update()
        self.average.update(self.done)
        return loss, interrupted

    def stop_if_asked(self) -> None:
        """Raise the Ctrl-C that was held back."""
        if self.all_stop or (self.interrupts.pending and self.workers.count == 1):
            raise KeyboardInterrupt

    def _backward(self, objective: Objective) -> float:
        """Gradients of the samples of this process; returns what they add to the loss."""
        total = 0.0
        for share, loss_of in self._parts(objective):
            with self._computing():
                loss = loss_of()
            total += share * float(loss.detach())
            self.scaler.scale(loss if share == 1 else share * loss).backward()
        return total

    def _parts(self, objective: Objective) -> Iterator[tuple[float, Callable[[], Tensor]]]:
        """Shares of the batch and how their losses are computed."""
        if self.workers.count * self.config.accumulation == 1:
            yield 1, partial(objective, self.done, self.generator)
            return
        if not hasattr(objective, "draw"):
            raise AnchorError(
                f"{self.workers.count} processes with accumulation {self.config.accumulation} were asked for"
                " and this training computes each batch at once; start one process with accumulation 1"
            )
        halves = cast(SplitObjective, objective)
        batch = halves.draw(self.done, self.generator)
        for rows in self.workers.share(len(batch)).tensor_split(self.config.accumulation):
            if len(rows):
                yield len(rows) / len(batch), partial(halves.loss, batch.part(rows))

    def _computing(self) -> Any:
        """Where losses are computed: in the configured precision."""
        if self.config.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.kind, HALF[self.config.precision])

    def _update(self) -> None:
        """Clip, set the learning rate, move the weights."""
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        if self.scaler.is_enabled():
            self._check_scale()  # the scaler itself leaves out steps whose gradient overflowed
        else:
            self._check("gradient", float(norm))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, self.done)
        self.scaler.step(self.optimiser)
        self.scaler.update()

    def _check(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise AnchorError(
                f"the {what} is {value} at step {self.done}; training diverged; lower the learning rate"
                f" ({self._where()})"
            )

    def _check_scale(self) -> None:
        scale = self.scaler.get_scale()
        if scale < _SMALLEST_SCALE:
            raise AnchorError(
                f"gradients overflow in fp16 even at a loss scale of {scale:g} at step {self.done}; they need"
                f" more range; set precision to bf16 or fp32 ({self._where()})"
            )

    def _where(self) -> str:
        kept = self.path.is_file()
        return f"the last checkpoint is {self.path}" if kept else "there was no checkpoint yet"

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside of the block: eval mode, averaged weights, no gradients. Afterwards everything as before."""
        devices = [torch.cuda.current_device()] if self.kind == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad(), self.average.swapped():
            self.network.eval()
            try:
                yield
            finally:
                self.network.train()

    @contextmanager
    def saved_when_stopped(self, more: Callable[[], dict[str, Any]]) -> Iterator[None]:
        """Save before an exception leaves the block, if steps were made since the last time.

        Not when it comes from inside of a step, or from saving itself. more: of `save`, asked then.
        """
        try:
            yield
        except BaseException:
            if self.whole and self.saved < self.done:
                try:
                    self.save(more())
                except AnchorError as error:
                    log.warning("no checkpoint at step %d: %s", self.done, error)
            raise

    def save(self, more: dict[str, Any]) -> None:
        """Write the checkpoint; more: what belongs into it besides."""
        self.saved = self.done  # also when this fails: it would fail again
        if not self.workers.main:
            return
        state = {
            "step": self.done,
            "network": self.network.state_dict(),
            "average": self.average.average,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "generator": self.generator.get_state(),
            "meter": more,
        }
        with self.interrupts.held():
            save_checkpoint(self.path, state, self.config)
            keep_checkpoint(self.path, self.done, self.config.keep_checkpoints)

    def resume(self) -> tuple[int, dict[str, Any]]:
        """Take up the checkpoint if there is one; returns the steps that are done and what else was saved."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = load_checkpoint(self.path, self.config)
        if state is not None:
            self._restore(state)
            log.info("%s: resumed at step %d of %d", self.path.parent.name, self.done, self.config.steps)
        if self.done < self.config.steps and self.workers.main:
            drop_partial(self.path)
            check_room(self.path, self._size())
        self._agree()
        return self.done, {} if state is None else state.get("meter", {})

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self.network.load_state_dict(state["network"])
            self.average.restore(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
        except torch.cuda.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, KeyError):
            raise AnchorError(
                f"the checkpoint {self.path} is of a network with other layers than the one that is trained"
                " now; start from the same file as before; delete it or choose another folder"
            ) from None
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        self.generator.set_state(state["generator"])
        self.done = self.saved = int(state["step"])

    def _agree(self) -> None:
        """Start from the main process's weights; AnchorError where processes stand at different steps."""
        total, square = self.workers.add([self.done, self.done**2])
        if total**2 != self.workers.count * square:
            raise AnchorError(
                f"the processes found different checkpoints in {self.path.parent}, here one of step"
                f" {self.done}; they need a folder that all machines share; choose one"
            )
        self.workers.copy_main_([*self.network.parameters(), *self.network.buffers()])

    def _size(self) -> int:
        """Bytes of a checkpoint, about: weights, their average, and two moments of the optimiser."""
        weights = sum(tensor.nbytes for tensor in self.network.state_dict().values())
        trained = sum(parameter.nbytes for parameter in self.parameters)
        average = sum(tensor.nbytes for tensor in self.average.average)
        return weights + average + (2 * trained if self.config.optimiser == "adamw" else trained // 2)


def check_precision(config: LoopConfig) -> None:
    """Raise AnchorError for bf16 on a GPU that is too old for it."""
    on_gpu = torch.device(config.device).type == "cuda"
    if config.precision == "bf16" and on_gpu and not torch.cuda.is_bf16_supported():
        raise AnchorError(
            f"precision is 'bf16' and {config.device} is too old for it, it came with NVIDIA's Ampere; set"
            " precision to fp16"
        )
