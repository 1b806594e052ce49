"""How a step that takes long reports what it has done, and how its caller shows that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

Progress = Callable[[int, int, Any], None]
"""Called with how much is done, how much there is, and the newest frame (H, W, 3) uint8 or None; may raise to
stop."""
StepFactory = Callable[[str, str], AbstractContextManager[Progress]]
"""Name and unit of a step to a context manager that gives the step its Progress."""


@contextmanager
def silent_step(_name: str, _unit: str) -> Iterator[Progress]:
    """A StepFactory that shows nothing."""
    yield lambda done, total, preview: None


def count_windows(progress: Progress | None) -> Callable[[int, int, int, int, object], None]:
    """The sampler's callback that moves a bar by one with each window of each step."""

    def count(step: int, window: int, n_steps: int, n_windows: int, _preview: object) -> None:
        if progress is not None:
            progress(step * n_windows + window + 1, n_steps * n_windows, None)

    return count
