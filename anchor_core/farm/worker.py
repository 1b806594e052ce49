"""What films the jobs: the same in a process of this machine and in an actor of Ray."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import AnchorError
from .jobs import Job

if TYPE_CHECKING:
    from ..anchor.file import Anchor


@dataclass(frozen=True)
class Outcome:
    """How a job ended. error: one sentence, None where the video is there; notes: warnings meanwhile."""

    error: str | None = None
    frames: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    place: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")


class Worker:
    """Films one job after the other; the anchor of the last one stays loaded."""

    def __init__(self) -> None:
        self._loaded: tuple[tuple, Anchor] | None = None

    def film(self, job: Job) -> Outcome:
        """Make the video of a job, or say why not: no error ends the worker."""
        began = time.monotonic()
        with _collected_warnings() as notes:
            try:
                _check_seen(job)
                frames, error = self._film(job.options), None
            except Exception as failure:  # whatever is wrong with one job, the others go on
                frames, error = 0, sentence_of(failure)
        return Outcome(error, frames, time.monotonic() - began, tuple(notes))

    def _film(self, options: argparse.Namespace) -> int:
        from ..cli.generate import film_from
        from ..progress import silent_step

        film = film_from(options, step=silent_step, anchor=self._anchor(options))
        assert film is not None  # it is for other ranks
        return film.n_frames

    def _anchor(self, options: argparse.Namespace) -> Anchor:
        from ..cli.film_options import ANCHOR_OPTIONS, anchor_with_parts

        # Weights that were rounded for one job are not those of another in finer numbers.
        names = (*ANCHOR_OPTIONS, "device", "precision")
        wanted = tuple(str(getattr(options, name)) for name in names)
        if self._loaded is None or self._loaded[0] != wanted:
            self._loaded = None  # before another one is loaded: two may be more than the memory holds
            self._loaded = (wanted, anchor_with_parts(options))
        return self._loaded[1]


def sentence_of(error: Exception) -> str:
    """One line for a person; the kind is said where the error was not meant for one."""
    if isinstance(error, (AnchorError, OSError)):
        return str(error)
    logging.getLogger("anchor").debug("a job failed", exc_info=error)
    return str(AnchorError(f"{type(error).__name__}: {error}"))


def _check_seen(job: Job) -> None:
    """AnchorError where this machine has another disk than the one that read the list."""
    missing = next((path for path, *_ in job.inputs if not os.path.exists(path)), None)
    if missing is not None:
        raise AnchorError(
            f"{socket.gethostname()} does not see {missing}; all machines of a cluster need the same storage"
            " under the same paths; put list and files there"
        )


class _Notes(logging.Handler):
    """Keeps warnings, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.messages[record.getMessage()] = None


@contextmanager
def _collected_warnings() -> Iterator[dict[str, None]]:
    """The warnings of this package during the block; they are shown with the job and not between others."""
    logger, notes = logging.getLogger("anchor"), _Notes()
    propagate = logger.propagate
    logger.addHandler(notes)
    logger.propagate = False
    try:
        yield notes.messages
    finally:
        logger.propagate = propagate
        logger.removeHandler(notes)
