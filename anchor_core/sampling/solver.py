"""One solver for all frames of a clip, in the memory of some.

No solver mixes frames: each gets the same step. So the steps are made in place, on blocks of frames, and only
what a multistep solver remembers of the steps before is as long as the clip.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from ..errors import AnchorError
from .schedulers import (
    NoiseSchedule,
    draws_noise,
    first_latents,
    fresh_noise,
    predict_clean,
    solver_step,
    start_scheduler,
)
from .settings import SamplerSettings
from .state import SolverState

BLOCK = 64
"""Frames that are stepped at once: 4 MB of Stable Diffusion's latents at 512 x 512 pixels."""
# What the schedulers of diffusers remember from step to step, besides where they stand.
_TENSORS = ("last_sample",)
_LISTS = ("model_outputs",)
_NUMBERS = ("lower_order_nums", "this_order")


class ClipSolver:
    """The solver of a clip, standing before step `settings.skipped_steps`.

    block: frames that are stepped at once; memory only. Raises AnchorError as `start_scheduler` does.
    """

    def __init__(
        self, settings: SamplerSettings, noise_schedule: NoiseSchedule, n_frames: int, block: int = BLOCK
    ) -> None:
        self._settings, self._schedule, self._n_frames = settings, noise_schedule, n_frames
        self._blocks = [slice(start, min(start + block, n_frames)) for start in range(0, n_frames, block)]
        self._stand_before(settings.skipped_steps)

    def _stand_before(self, step: int) -> None:
        settings = self._settings
        first = start_scheduler(settings.scheduler, self._schedule, settings.steps, step)
        self._schedulers = [first, *(copy.deepcopy(first) for _ in self._blocks[1:])]
        self._remembered: dict[str, torch.Tensor] = {}

    @property
    def timesteps(self) -> torch.Tensor:
        """(steps,) of the training schedule, as the network takes them."""
        timesteps: torch.Tensor = self._schedulers[0].timesteps
        return timesteps

    def begin(self, noise: torch.Tensor, latents: torch.Tensor | None) -> None:
        """Turn noise (F, C, h, w) into the latents that sampling starts from, in place.

        latents: the clean ones, for a clip that is denoised only in part.
        """
        skip = self._settings.skipped_steps
        for block in self._blocks:
            clean = None if latents is None else latents[block]
            noise[block] = first_latents(self._schedulers[0], noise[block], clean, skip)

    def seen(self, latents: torch.Tensor, step: int) -> torch.Tensor:
        """Latents of any frames as the network takes them at a step; they themselves for most solvers."""
        scaled: torch.Tensor = self._schedulers[0].scale_model_input(latents, self.timesteps[step])
        return scaled

    def clean(self, prediction: torch.Tensor, step: int, latents: torch.Tensor) -> torch.Tensor:
        """The clean latents that the network sees behind those of any frames; for previews."""
        return predict_clean(self._schedulers[0], prediction, step, latents)

    def step(self, step: int, latents: torch.Tensor, total: torch.Tensor, counted: torch.Tensor) -> None:
        """Move all latents (F, C, h, w) one step, in place.

        total, counted: sum of the weighted predictions, (F, C, h, w), and of the weights, (F, 1, 1, 1).
        Raises AnchorError where numbers are not finite.
        """
        settings, scheduler = self._settings, self._schedulers[0]
        shape = (latents.shape[1], latents.shape[2], latents.shape[3])
        fresh = None
        if draws_noise(scheduler):
            fresh = fresh_noise(settings.seed, step, shape, shared=settings.shared_noise)
        for scheduler, block in zip(self._schedulers, self._blocks, strict=True):
            scheduler.scale_model_input(latents[block][:0], self.timesteps[step])  # Euler insists on it
            moved = solver_step(scheduler, total[block] / counted[block], step, latents[block], fresh)
            _check_finite(moved, step, settings.steps)
            self._remember(scheduler, block)
            latents[block] = moved

    def _remember(self, scheduler: Any, block: slice) -> None:
        """Move what a scheduler remembers of a block into tensors as long as the clip, which stay.

        Tensors that live long between such that live short would leave holes in the memory; and what it
        remembers may be the latents themselves, which are written over.
        """
        _forget(scheduler)
        for name in _tensor_names(scheduler):
            tensor = _tensor(scheduler, name)
            if tensor is not None:
                clip = self._remembered.get(name)
                if clip is None:
                    clip = self._remembered[name] = tensor.new_empty((self._n_frames, *tensor.shape[1:]))
                _set_tensor(scheduler, name, clip[block].copy_(tensor))

    def state(self) -> SolverState:
        """What a solver that has come as far as this one remembers, by name; tensors are (F, C, h, w)."""
        first = self._schedulers[0]
        numbers = {name: int(getattr(first, name)) for name in _NUMBERS if hasattr(first, name)}
        return {**numbers, **self._remembered}

    def restore(self, step: int, state: SolverState, shape: tuple[int, ...]) -> None:
        """Stand before a step as the solver did whose `state` this is; its tensors are used as they are.

        shape: (F, C, h, w) of the latents. Raises AnchorError where the state is that of another solver.
        """
        self._stand_before(step)
        first = self._schedulers[0]
        numbers = [name for name in _NUMBERS if hasattr(first, name) or name in state]
        self._remembered = {
            name: _saved_tensor(state, name, shape) for name in _tensor_names(first) if name in state
        }
        _check_saved(len(state) == len(numbers) + len(self._remembered))
        for scheduler, block in zip(self._schedulers, self._blocks, strict=True):
            for name in numbers:
                setattr(scheduler, name, _saved_number(state, name))
            for name, clip in self._remembered.items():
                _set_tensor(scheduler, name, clip[block])
            _set_timesteps(scheduler, step)
        _check_saved(bool(getattr(first, "lower_order_nums", 0)) == bool(self._remembered))


def _saved_number(state: SolverState, name: str) -> int:
    value = state.get(name)
    _check_saved(isinstance(value, int))
    return int(value)  # type: ignore[arg-type]


def _saved_tensor(state: SolverState, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    value = state[name]
    _check_saved(isinstance(value, torch.Tensor) and tuple(value.shape) == shape)
    return value  # type: ignore[return-value]


def _check_saved(fits: bool) -> None:
    if not fits:
        raise AnchorError(
            "the saved state is that of another solver, clip or version of the program: "
            "sample with the settings that it was saved with, or begin anew without it"
        )


def _tensor_names(scheduler: Any) -> list[str]:
    """Names under which a scheduler may remember tensors: "last_sample", "model_outputs.1"."""
    names = [name for name in _TENSORS if hasattr(scheduler, name)]
    lists = {name: len(getattr(scheduler, name)) for name in _LISTS if hasattr(scheduler, name)}
    return names + [f"{name}.{place}" for name, length in lists.items() for place in range(length)]


def _tensor(scheduler: Any, name: str) -> torch.Tensor | None:
    name, _, place = name.partition(".")
    value = getattr(scheduler, name)
    found: torch.Tensor | None = value[int(place)] if place else value
    return found


def _set_tensor(scheduler: Any, name: str, tensor: torch.Tensor | None) -> None:
    name, _, place = name.partition(".")
    if place:
        getattr(scheduler, name)[int(place)] = tensor
    else:
        setattr(scheduler, name, tensor)


def _set_timesteps(scheduler: Any, step: int) -> None:
    """UniPC lists the last time steps; they follow from where it stands."""
    listed = getattr(scheduler, "timestep_list", [])
    for back in range(1, min(len(listed), step) + 1):
        listed[-back] = scheduler.timesteps[step - back]


def _forget(scheduler: Any) -> None:
    """Drop what the next step would throw away unread: the oldest output of a multistep solver.

    UniPC, which keeps its last sample too, reads it once more to correct that.
    """
    outputs = getattr(scheduler, "model_outputs", None)
    if outputs and not hasattr(scheduler, "last_sample"):
        outputs[0] = None


def _check_finite(latents: torch.Tensor, step: int, steps: int) -> None:
    if not bool(torch.isfinite(latents).all()):
        raise AnchorError(
            f"step {step + 1} of {steps} gave numbers that are not finite: run the network in float32 or "
            "bfloat16, lower guidance_scale or condition_scale, or check the anchor's weights"
        )
