"""Watches a training: a loss curve and a sheet of held-out samples, as PNG and in TensorBoard.

fit(..., watch=TrainingMonitor(folder, held_out_sampler(...), every=500))

loss.png               drawn anew at each report
samples.png            the newest sheet: mesh, result, truth
samples_001500.png     the same, kept
tensorboard/           where the package is installed
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor

from ..errors import AnchorError
from ..files import write_png
from .curve import draw_loss
from .loop import LOSS_LOG
from .sample_sheet import draw_samples, psnr_of

if TYPE_CHECKING:
    from .report import StepReport

log = logging.getLogger("anchor")

LOSS_PICTURE, SAMPLE_PICTURE, TENSORBOARD = "loss.png", "samples.png", "tensorboard"


class Sampler(Protocol):
    """What the monitor needs of a sampler; `samples.HeldOutSampler` is one."""

    @property
    def mesh(self) -> np.ndarray:
        """(n, H, W, 3) uint8."""

    @property
    def truth(self) -> np.ndarray:
        """(n, H, W, 3) uint8."""

    def __call__(self) -> Tensor:
        """(n, H, W, 3) uint8."""


class TrainingMonitor:
    """A `watch` for `fit`.

    folder: of the training; older losses are read from its log, so the curve of a training that goes on is
    whole. sampler: None for the curve alone. every: steps between two sheets; there is one at the end too.
    tensorboard: write there as well; says so once where the package is missing.
    loss_picture, sample_picture: the newest of each, (H, W, 3) uint8, None as long as there is none.
    """

    def __init__(
        self, folder: Path, sampler: Sampler | None = None, every: int = 500, tensorboard: bool = True
    ) -> None:
        if every < 1:
            raise AnchorError(f"samples were asked for every {every} steps; need 1 or more; usual is 500")
        self.folder, self.sampler, self.every = folder, sampler, every
        self.losses = read_losses(folder / LOSS_LOG)
        self.loss_picture: np.ndarray | None = None
        self.sample_picture: np.ndarray | None = None
        self._board = Board(folder / TENSORBOARD) if tensorboard else None
        self._seen = max(self.losses, default=0)

    def __call__(self, report: StepReport) -> None:
        """Draw what is new. What the disk refuses raises AnchorError; a sample that fails is only told."""
        # A training that was stopped goes on from a checkpoint: later losses are those of a lost branch.
        self.losses = {step: loss for step, loss in self.losses.items() if step < report.step}
        self.losses[report.step] = report.loss
        self._seen = min(self._seen, report.step - 1)
        self.loss_picture = draw_loss(self.losses, report.steps, _title(report))
        write_png(self.folder / LOSS_PICTURE, self.loss_picture)
        if self._board:
            self._board.add_numbers(report.step, {"loss": report.loss, "learning_rate": report.rate})
        due = report.step // self.every > self._seen // self.every or report.step == report.steps
        self._seen = report.step
        if due and self.sampler is not None:
            self._show_samples(report, self.sampler)

    def close(self) -> None:
        """Finish the files of TensorBoard."""
        if self._board:
            self._board.close()

    def _show_samples(self, report: StepReport, sampler: Sampler) -> None:
        try:
            with report.averaged():
                result = sampler().numpy()
        except AnchorError as error:  # the training itself may still be sound
            log.warning("no samples at step %d: %s", report.step, error)
            return
        title = f"held out, after step {report.step:,} of {report.steps:,}"
        self.sample_picture = draw_samples(sampler.mesh, result, sampler.truth, title)
        for name in (SAMPLE_PICTURE, f"samples_{report.step:06d}.png"):
            write_png(self.folder / name, self.sample_picture)
        if self._board:
            psnr = float(np.mean(psnr_of(result, sampler.truth)))
            self._board.add_numbers(report.step, {"held_out_psnr": psnr})
            self._board.add_picture(report.step, "held_out", self.sample_picture)


class Board:
    """TensorBoard's files, if it is installed; otherwise nothing, said once per process."""

    missing_was_said = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None
        self._open: Callable[..., Any] | None = _summary_writer()
        if self._open is None and not Board.missing_was_said:
            Board.missing_was_said = True
            log.warning(
                "TensorBoard is not installed, so losses and samples are written as PNG only, to %s"
                " (to have both: pip install tensorboard)",
                folder.parent,
            )

    def add_numbers(self, step: int, numbers: dict[str, float]) -> None:
        """Curves, by name."""
        if writer := self._started(step):
            for name, number in numbers.items():
                writer.add_scalar(name, number, step)
            writer.flush()

    def add_picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """A picture (H, W, 3) uint8."""
        if writer := self._started(step):
            writer.add_image(name, picture, step, dataformats="HWC")
            writer.flush()

    def close(self) -> None:
        """Write what is left; a later entry opens new files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _started(self, step: int) -> Any:
        if self._writer is None and self._open is not None:
            # Entries of a branch that was lost between checkpoint and stop are hidden from here on.
            self._writer = self._open(log_dir=str(self.folder), purge_step=step)
        return self._writer


def read_losses(path: Path) -> dict[int, float]:
    """{step: loss} of a loss log; empty where there is none. Lines that are cut off are passed over."""
    losses = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            losses[int(entry["step"])] = float(entry["loss"])
        except (ValueError, TypeError, KeyError):
            log.debug("passed over in %s: %r", path, line[:80])
    return losses


def _title(report: StepReport) -> str:
    left = time_left(report.seconds_left) if report.step < report.steps else "done"
    return f"loss {report.loss:.4g} at step {report.step:,} of {report.steps:,}, {left}"


def time_left(seconds: float) -> str:
    """`2 h 05 min left`."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{max(0, round(seconds))} s left"
    return f"{minutes} min left" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min left"


def _summary_writer() -> Callable[..., Any] | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    opened: Callable[..., Any] = SummaryWriter
    return opened
