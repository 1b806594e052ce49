"""What a training says while it runs: a line in the loss log, the time left, a report to whoever watches."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AnchorError
from ..files import atomic_path
from .config import LoopConfig

log = logging.getLogger("anchor")

Averaged = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class StepReport:
    """Where a training stands.

    step: steps that are done, of `steps`. loss: mean since the last report. rate: learning rate of the last
    step. seconds_left: at the speed so far. averaged: a context manager; inside of it the network is in eval
    mode, holds the averaged weights and keeps no gradients; afterwards everything is as before, random
    states included.
    """

    step: int
    steps: int
    loss: float
    rate: float
    seconds_left: float
    averaged: Averaged


Watch = Callable[[StepReport], None]
"""Called every `log_every` steps and at the end, by the main process alone; may raise to stop."""


class Meter:
    """Writes the mean loss of every `log_every` steps to a JSON-lines file, and says the time left."""

    def __init__(
        self, path: Path, config: LoopConfig, first: int, state: dict[str, Any], write: bool
    ) -> None:
        """first: steps that are done; state: of `state()` at that moment, or empty; write: keep the log."""
        self.path, self.config, self.first, self.write = path, config, first, write
        self.recent: list[float] = list(state.get("recent", ()))
        self.spent_before = float(state.get("seconds", 0.0))
        self.started = time.monotonic()
        if write:
            self._drop_lines_after(first)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: losses that are not in the log yet, seconds spent so far."""
        return {"recent": list(self.recent), "seconds": self.spent}

    @property
    def spent(self) -> float:
        """Seconds, those before an interruption included."""
        return self.spent_before + time.monotonic() - self.started

    def add(self, done: int, loss: float, rate: float, averaged: Averaged) -> StepReport | None:
        """Take in the loss of a step; a report when one is due. done: steps made, this one included."""
        self.recent.append(loss)
        if done % self.config.log_every and done != self.config.steps:
            return None
        mean = sum(self.recent) / len(self.recent)
        self.recent.clear()
        speed = (time.monotonic() - self.started) / (done - self.first)
        report = StepReport(done, self.config.steps, mean, rate, speed * (self.config.steps - done), averaged)
        if self.write:
            self._log(report)
        return report

    def _log(self, report: StepReport) -> None:
        line = {"step": report.step, "loss": report.loss, "rate": report.rate, "seconds": self.spent}
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
        except OSError as error:
            raise AnchorError(
                f"{self.path} cannot be written ({error.strerror or error}): free space and start again,"
                " training goes on from its checkpoint"
            ) from error
        log.info(
            "%s: step %d/%d, loss %.4f, %.1f min left",
            self.path.parent.name,
            report.step,
            report.steps,
            report.loss,
            report.seconds_left / 60,
        )

    def _drop_lines_after(self, first: int) -> None:
        """Steps after the checkpoint are made again, so their lines go, and a line that a kill cut off."""
        text = self.path.read_text(encoding="utf-8") if first and self.path.is_file() else ""
        kept = "".join(line + "\n" for line in text.splitlines() if _step_of(line) <= first)
        if kept != text or not first:
            with atomic_path(self.path) as partial:
                partial.write_text(kept, encoding="utf-8")


def _step_of(line: str) -> float:
    """Step of a line of the log, infinite where the line is not whole."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
