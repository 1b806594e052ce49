"""A clip is stepped in blocks of frames and in place, as if it were stepped at once."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.sampling.noise import draw_noise
from anchor_core.sampling.sampler import SamplerSettings
from anchor_core.sampling.schedulers import (
    SCHEDULERS,
    STABLE_DIFFUSION,
    ZERO_TERMINAL_SNR,
    NoiseSchedule,
    first_latents,
    fresh_noise,
    solver_step,
    start_scheduler,
)
from anchor_core.sampling.solver import ClipSolver
from anchor_core.sampling.state import SolverState

FRAMES = 11
SHAPE = (FRAMES, 4, 5, 7)
KINDS = [STABLE_DIFFUSION, ZERO_TERMINAL_SNR, replace(STABLE_DIFFUSION, prediction_type="sample")]


def predicted(latents: torch.Tensor, step: int) -> torch.Tensor:
    return torch.tanh(latents * 0.3 + step / 10)


def settings_of(scheduler: str, steps: int = 6) -> SamplerSettings:
    return SamplerSettings(steps=steps, scheduler=scheduler, seed=3, shared_noise=False)


def solved(scheduler: str, schedule: NoiseSchedule, block: int) -> torch.Tensor:
    settings = settings_of(scheduler)
    solver = ClipSolver(settings, schedule, FRAMES, block)
    latents = draw_noise(3, *SHAPE, shared=False)
    solver.begin(latents, None)
    for step in range(settings.steps):
        solver.step(step, latents, *summed(solver, latents, step))
    return latents


def summed(solver: ClipSolver, latents: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    weights = torch.linspace(0.3, 3, FRAMES).view(-1, 1, 1, 1)
    return predicted(solver.seen(latents, step), step) * weights, weights


def solved_at_once(scheduler_name: str, schedule: NoiseSchedule) -> torch.Tensor:
    settings = settings_of(scheduler_name)
    scheduler = start_scheduler(scheduler_name, schedule, settings.steps)
    latents = first_latents(scheduler, draw_noise(3, *SHAPE, shared=False))
    weights = torch.linspace(0.3, 3, FRAMES).view(-1, 1, 1, 1)
    for step in range(settings.steps):
        seen = scheduler.scale_model_input(latents, scheduler.timesteps[step])
        prediction = predicted(seen, step) * weights / weights
        fresh = fresh_noise(3, step, SHAPE[1:], shared=False)
        latents = solver_step(scheduler, prediction, step, latents, fresh)
    return latents


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("schedule", KINDS, ids=["sd15", "zero_snr", "sample"])
def test_any_blocks_give_the_bits_of_one_scheduler(scheduler: str, schedule: NoiseSchedule) -> None:
    whole = solved_at_once(scheduler, schedule)
    for block in (1, 3, 4, FRAMES, 256):
        assert torch.equal(solved(scheduler, schedule, block), whole), block


@pytest.mark.parametrize(("scheduler", "stop"), product(SCHEDULERS, range(1, 6)))
def test_a_restored_solver_goes_on_to_the_same_bits(scheduler: str, stop: int) -> None:
    settings, results = settings_of(scheduler), []
    for restored in (False, True):
        solver = ClipSolver(settings, STABLE_DIFFUSION, FRAMES, 4)
        latents = draw_noise(3, *SHAPE, shared=False)
        solver.begin(latents, None)
        for step in range(settings.steps):
            if restored and step == stop:
                state = solver.state()
                solver = ClipSolver(settings, STABLE_DIFFUSION, FRAMES, 5)
                solver.restore(step, state, SHAPE)
            solver.step(step, latents, *summed(solver, latents, step))
        results.append(latents)
    assert torch.equal(*results)


@pytest.mark.parametrize(
    ("scheduler", "clips"), [("ddim", 0), ("euler", 0), ("lcm", 0), ("dpm++2m", 1), ("unipc", 3)]
)
def test_a_solver_remembers_no_more_than_it_needs(scheduler: str, clips: int) -> None:
    settings = settings_of(scheduler)
    solver = ClipSolver(settings, STABLE_DIFFUSION, FRAMES, 4)
    latents = draw_noise(3, *SHAPE, shared=False)
    for step in range(4):
        solver.step(step, latents, *summed(solver, latents, step))
    held = [value for value in solver.state().values() if isinstance(value, torch.Tensor)]
    assert sum(value.numel() for value in held) == clips * latents.numel()
    places = {value.untyped_storage().data_ptr() for value in held}
    assert latents.untyped_storage().data_ptr() not in places  # what is written over is not remembered
    assert len(places) == clips


def test_clean_latents_are_noised_to_where_a_part_begins() -> None:
    settings = replace(settings_of("ddim", 8), denoise=0.5)
    noise, clean = draw_noise(3, *SHAPE), torch.full(SHAPE, 0.5)
    scheduler = start_scheduler("ddim", STABLE_DIFFUSION, 8, skip=4)
    wanted = first_latents(scheduler, noise, clean, skip=4)
    ClipSolver(settings, STABLE_DIFFUSION, FRAMES, 3).begin(noise, clean)
    assert torch.equal(noise, wanted)


def test_a_state_must_fit_the_solver() -> None:
    solver = ClipSolver(settings_of("unipc"), STABLE_DIFFUSION, FRAMES, 4)
    latents = draw_noise(3, *SHAPE)
    solver.step(0, latents, *summed(solver, latents, 0))
    state = solver.state()

    def refused(change: Any) -> None:
        changed: SolverState = dict(state)
        change(changed)
        with pytest.raises(AnchorError, match=r"another solver, clip or version of the program.*begin anew"):
            ClipSolver(settings_of("unipc"), STABLE_DIFFUSION, FRAMES, 4).restore(1, changed, SHAPE)

    refused(lambda state: state.pop("lower_order_nums"))
    refused(lambda state: state.update(lower_order_nums=torch.zeros(1)))
    refused(lambda state: state.update(last_sample=torch.zeros(2)))
    refused(lambda state: state.update(last_sample=1))
    refused(lambda state: state.update(another=1))
    refused(lambda state: [state.pop(name) for name in ("last_sample", "model_outputs.1")])
    wide = ClipSolver(settings_of("unipc"), STABLE_DIFFUSION, FRAMES, 256)
    wide.restore(1, state, SHAPE)  # blocks of another size are no other solver
