"""Ctrl-C that waits for a moment at which a training is whole: between two steps, never inside of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Holds Ctrl-C back during blocks that must not be broken off."""

    def __init__(self) -> None:
        self.pending = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Run the block with Ctrl-C noted in `pending` instead of raised.

        Only the main thread gets signals, so in any other this does nothing; nor does it where the handler
        was not installed from Python.
        """
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(handler):
            yield
            return
        signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.pending = True
