"""Python processes that tests start, on one core and with the same core package."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import anchor_core


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def environment(**more: object) -> dict[str, str]:
    """That of this process, with one thread and this core package on the path."""
    root = str(Path(anchor_core.__file__).parents[1])
    own = {name: str(value) for name, value in more.items()}
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", **own}
