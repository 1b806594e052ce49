"""The window that a pass works on, shared by every adapted layer of one SGDM.

Layers see frames as plain images, `(B F) C h w`. How many consecutive images make one window reaches
them through this object, so that the networks keep the forward passes, and the state dicts, that they
have in diffusers. Outside of `entered()` the window is one frame long: then the layers do what they
did before they were adapted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Window:
    """Length of the window in work (`frames`), and what the mid block of the U-Net additionally gets."""

    def __init__(self) -> None:
        self.frames = 1
        self.entered_now = False
        self.mid_extra: torch.Tensor | None = None
        self._lock = threading.RLock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Window:
        # A copied network gets a window of its own: a lock cannot be copied, and the state is that of a pass.
        memo[id(self)] = fresh = Window()
        return fresh

    def __reduce__(self) -> tuple[type[Window], tuple[()]]:
        return Window, ()

    @contextmanager
    def entered(self, frames: int, mid_extra: torch.Tensor | None = None) -> Iterator[None]:
        """Run the block with windows of `frames` images. A second thread waits for the first to leave."""
        with self._lock:
            before = self.frames, self.entered_now, self.mid_extra
            self.frames, self.entered_now, self.mid_extra = frames, True, mid_extra
            try:
                yield
            finally:
                self.frames, self.entered_now, self.mid_extra = before

    def add_to_mid_input(self, _mid_block: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Forward pre-hook of the U-Net's mid block: adds `mid_extra` to its input, if there is one."""
        if self.mid_extra is None:
            return args
        return (args[0] + self.mid_extra, *args[1:])
