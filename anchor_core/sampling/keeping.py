"""When the state of a clip is kept: after every step, now and then within one, and when it is interrupted."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from ..errors import AnchorError
from .ranks import Ranks
from .settings import SamplerSettings
from .solver import ClipSolver
from .state import SampleKeeper, SampleState

logger = logging.getLogger("anchor")


class Keeping:
    """Hands the state of a clip to its keeper, whole or not at all.

    Of several processes the main one keeps it. They, and clips whose deep features are reused, which are not
    part of the state, can go on only from where no window is half done and no features are needed.
    """

    def __init__(
        self, keep: SampleKeeper | None, ranks: Ranks | None, settings: SamplerSettings, solver: ClipSolver
    ) -> None:
        self._keep, self._settings, self._solver = keep, settings, solver
        self._ranks, self._main = ranks, ranks is None or ranks.main
        self._within_steps = (ranks is None or ranks.world == 1) and settings.reuse == 1
        self._whole = True
        self._saved = (settings.skipped_steps, 0)
        self._saved_at = time.monotonic()

    def load(self, shape: tuple[int, int, int, int]) -> SampleState | None:
        """The state to go on from, if one was kept; the solver stands where it stood then.

        shape: (F, C, h, w) of the latents. Raises AnchorError where the state does not belong to this clip,
        and where several processes have different ones.
        """
        state = self._keep.load() if self._keep is not None else None
        if self._ranks is not None:
            _check_alike(self._ranks, state)
        if state is None:
            return None
        settings = self._settings
        for tensor in (state.latents, state.total):
            if tensor is not None and tuple(tensor.shape) != shape:
                raise AnchorError(
                    f"the saved state is of latents {tuple(tensor.shape)} and this clip has {shape}: "
                    "sample the clip that it was saved with, or begin anew without it"
                )
        if not settings.skipped_steps <= state.step <= settings.steps:
            raise AnchorError(
                f"the saved state stands before step {state.step + 1} and there are {settings.steps} steps: "
                "sample with the settings that it was saved with, or begin anew without it"
            )
        if not self._within_steps or state.total is None:  # half a step of others is of no use
            state.windows_done, state.total = 0, None
        _own(state)
        if state.step < settings.steps:
            self._solver.restore(state.step, state.solver, shape)
        self._saved = (state.step, state.windows_done)
        return replace(state, solver={})

    @contextmanager
    def change(self) -> Iterator[None]:
        """What happens inside is done wholly, or the state is not to be kept any more."""
        self._whole = False
        yield
        self._whole = True

    def after_windows(self, state: SampleState) -> None:
        """Windows of a step are done."""
        if self._keep is not None and time.monotonic() - self._saved_at >= self._keep.seconds:
            self._save(state)

    def after_step(self, state: SampleState) -> None:
        """A step is done."""
        self._save(state)

    @contextmanager
    def when_interrupted(self, state: SampleState) -> Iterator[None]:
        """Keep what is done when the block ends by an error or by Ctrl-C, which then passes on."""
        try:
            yield
        except BaseException:
            try:
                self._save(state)
            except Exception as error:
                logger.warning("the last windows are not saved: %s", error)
            raise

    def _save(self, state: SampleState) -> None:
        place = (state.step, state.windows_done)
        if self._keep is None or not (
            self._main and self._whole and place != self._saved and self._can_go_on(state)
        ):
            return
        self._whole = False  # an error of the keeper is not met by asking it again
        total = state.total if state.windows_done else None
        self._keep.save(SampleState(*place, state.latents, total, self._solver.state()))
        self._whole, self._saved, self._saved_at = True, place, time.monotonic()

    def _can_go_on(self, state: SampleState) -> bool:
        if state.windows_done:
            return self._within_steps
        return state.step == self._settings.steps or self._settings.computes_deep(state.step)


def _check_alike(ranks: Ranks, state: SampleState | None) -> None:
    """Sums of different steps would be a picture too. Each process hands in its step, 0 for a beginning."""
    steps = torch.zeros(ranks.world)
    steps[ranks.rank] = 0 if state is None else state.step + 1
    ranks.sum(steps, "the beginning")
    if bool((steps != steps[0]).any()):
        raise AnchorError(
            "the saved states of the processes stand before the steps "
            f"{[int(step) for step in steps]} (0: none): run the same command again when all machines "
            "see the same files, or begin anew without them"
        )


def _own(state: SampleState) -> None:
    """Move a state, one tensor at a time, into memory as torch lays it out.

    Tensors of a mapped file may begin anywhere, and kernels that meet such an address may round otherwise.
    """
    state.latents = state.latents.clone(memory_format=torch.contiguous_format)
    if state.total is not None:
        state.total = state.total.clone(memory_format=torch.contiguous_format)
    for name, value in state.solver.items():
        if isinstance(value, torch.Tensor):
            state.solver[name] = value.clone(memory_format=torch.contiguous_format)
