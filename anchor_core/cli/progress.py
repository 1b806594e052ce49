"""Progress bars that name the step."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


class StepBar:
    """One bar for one step; call it with (done, total, preview). Closed by the `with` block."""

    def __init__(self, label: str, unit: str) -> None:
        self._bar: Any = tqdm(desc=f"{label:<28}", unit=unit, file=sys.stderr, leave=True, dynamic_ncols=True)

    def __enter__(self) -> StepBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, done: int, total: int, preview: object = None) -> None:
        """Move the bar to `done` of `total`."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)


def step_bar(label: str, unit: str = " frames") -> StepBar:
    """A progress bar for a step of the pipeline."""
    return StepBar(label, unit)
