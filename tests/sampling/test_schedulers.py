"""Solvers: DDIM as published, and each solver against a network whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anchor_core.errors import AnchorError
from anchor_core.sampling.noise import draw_noise
from anchor_core.sampling.schedulers import (
    SCHEDULERS,
    STABLE_DIFFUSION,
    ZERO_TERMINAL_SNR,
    NoiseSchedule,
    first_latents,
    fresh_noise,
    make_scheduler,
    predict_clean,
    solver_step,
    start_scheduler,
)

MEAN, SPREAD = 0.7, 0.5
"""The pictures that the exact network below knows: one Gaussian."""


def exact_prediction(scheduler: object, step: int, latents: torch.Tensor) -> torch.Tensor:
    """What a perfectly trained network says if all pictures come from N(MEAN, SPREAD**2)."""
    timestep = scheduler.timesteps[step]  # type: ignore[attr-defined]
    seen = scheduler.scale_model_input(latents, timestep).double()  # type: ignore[attr-defined]
    alpha = scheduler.alphas_cumprod[int(timestep)].double()  # type: ignore[attr-defined]
    noise = (1 - alpha).sqrt() * (seen - alpha.sqrt() * MEAN) / (alpha * SPREAD**2 + 1 - alpha)
    if scheduler.config.prediction_type == "epsilon":  # type: ignore[attr-defined]
        return noise.float()
    clean = (
        (seen - (1 - alpha).sqrt() * noise) / alpha.sqrt() if alpha > 1e-6 else torch.full_like(seen, MEAN)
    )
    return (alpha.sqrt() * noise - (1 - alpha).sqrt() * clean).float()


def solve(name: str, schedule: NoiseSchedule, steps: int, shared: bool = True) -> torch.Tensor:
    scheduler = start_scheduler(name, schedule, steps)
    latents = first_latents(scheduler, draw_noise(0, 3, 4, 8, 8, shared=shared))
    for step in range(steps):
        fresh = fresh_noise(0, step, (4, 8, 8), shared=shared)
        latents = solver_step(scheduler, exact_prediction(scheduler, step, latents), step, latents, fresh)
    return latents


@pytest.mark.parametrize("chain", ["chain4", "chain20"])
def test_ddim_equals_the_published_steps(goldens: Path, chain: str) -> None:
    tensors = load_file(goldens / "d_ddim" / "tensors.safetensors")
    steps = int(chain.removeprefix("chain"))
    scheduler = start_scheduler("ddim", STABLE_DIFFUSION, steps)
    latents = first_latents(scheduler, tensors[f"{chain}.x_init"])
    for step in range(steps):
        prediction = tensors[f"{chain}.model_outputs"][step]
        clean = predict_clean(scheduler, prediction, step, latents)
        torch.testing.assert_close(
            clean, tensors[f"{chain}.pred_original_samples"][step], rtol=1e-5, atol=1e-5
        )
        latents = solver_step(scheduler, prediction, step, latents, None)
        wanted = tensors[f"{chain}.prev_samples"][step]
        assert (latents - wanted).abs().max() < 1e-6 * wanted.abs().max()  # the last bit differs between CPUs


def test_ddim_has_the_published_alphas_and_timesteps(goldens: Path) -> None:
    tensors = load_file(goldens / "d_ddim" / "tensors.safetensors")
    config = json.loads((goldens / "d_ddim" / "config.json").read_text())
    scheduler = make_scheduler("ddim", NoiseSchedule())
    assert torch.equal(scheduler.alphas_cumprod, tensors["alphas_cumprod"])
    assert float(scheduler.final_alpha_cumprod) == float(tensors["final_alpha_cumprod"])
    for steps, wanted in config["timesteps_by_num_inference_steps"].items():
        assert start_scheduler("ddim", NoiseSchedule(), int(steps)).timesteps.tolist() == wanted


def test_zero_terminal_snr_starts_from_nothing_but_noise() -> None:
    scheduler = start_scheduler("ddim", ZERO_TERMINAL_SNR, 20)
    assert scheduler.timesteps[0] == 999
    assert scheduler.alphas_cumprod[-1] == 0
    assert scheduler.final_alpha_cumprod == 1


@pytest.mark.parametrize("schedule", [STABLE_DIFFUSION, ZERO_TERMINAL_SNR], ids=["sd15", "zero_snr"])
@pytest.mark.parametrize("name", ["ddim", "dpm++2m", "unipc", "euler"])
def test_solvers_converge_to_one_answer(name: str, schedule: NoiseSchedule) -> None:
    answer = solve("ddim", schedule, 999)
    errors = [(solve(name, schedule, steps) - answer).square().mean().sqrt().item() for steps in (20, 40)]
    assert errors[1] < errors[0] * 0.6
    # What is left comes from where 20 steps start and end, so higher order helps less than it could.
    assert errors[0] < (0.045 if name in ("dpm++2m", "unipc") else 0.07), errors


@pytest.mark.parametrize("schedule", [STABLE_DIFFUSION, ZERO_TERMINAL_SNR], ids=["sd15", "zero_snr"])
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_few_steps_stay_finite_and_frames_alike(name: str, steps: int, schedule: NoiseSchedule) -> None:
    latents = solve(name, schedule, steps)
    assert bool(torch.isfinite(latents).all())
    assert latents.abs().max() < 6
    assert torch.equal(latents, latents[:1].expand_as(latents))  # shared noise: also in the stochastic LCM


def test_lcm_draws_noise_per_frame_when_frames_do_not_share_it() -> None:
    latents = solve("lcm", STABLE_DIFFUSION, 4, shared=False)
    assert not torch.allclose(latents[0], latents[1])
    assert torch.equal(latents, solve("lcm", STABLE_DIFFUSION, 4, shared=False))


@pytest.mark.parametrize("schedule", [STABLE_DIFFUSION, ZERO_TERMINAL_SNR], ids=["sd15", "zero_snr"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_predicted_clean_latents(name: str, schedule: NoiseSchedule) -> None:
    step = 6
    scheduler = start_scheduler(name, schedule, 10, skip=step)
    clean = torch.full((2, 4, 3, 3), 0.3)
    noise = draw_noise(0, 2, 4, 3, 3)
    latents = first_latents(scheduler, noise, clean, skip=step)
    alpha = scheduler.alphas_cumprod[int(scheduler.timesteps[step])]
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
    prediction = velocity if schedule.prediction_type == "v_prediction" else noise
    torch.testing.assert_close(
        predict_clean(scheduler, prediction, step, latents), clean, atol=1e-4, rtol=1e-3
    )


def test_samples_may_be_predicted_directly() -> None:
    scheduler = start_scheduler("ddim", replace(STABLE_DIFFUSION, prediction_type="sample"), 4)
    clean = torch.ones(1, 4, 2, 2)
    assert predict_clean(scheduler, clean, 0, 5 * clean) is clean


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction_type": "x"}, "prediction_type is 'x': need one of epsilon, v_prediction, sample"),
        ({"timestep_spacing": "even"}, "timestep_spacing is 'even'"),
        ({"beta_schedule": "cubic"}, "beta_schedule is 'cubic'"),
        ({"beta_start": 0.5, "beta_end": 0.1}, "need 0 < beta_start < beta_end < 1"),
        ({"train_steps": 0}, "train_steps is 0"),
        ({"zero_terminal_snr": True}, "predicts epsilon cannot start from zero terminal SNR"),
    ],
)
def test_bad_schedules_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        NoiseSchedule(**changes)


def test_bad_solvers_are_refused() -> None:
    with pytest.raises(AnchorError, match=r"scheduler is 'heun': need one of ddim, dpm\+\+2m, unipc"):
        make_scheduler("heun", STABLE_DIFFUSION)
    with pytest.raises(AnchorError, match="steps is 60: scheduler lcm needs 1 to 50; usual is 4 to 8"):
        start_scheduler("lcm", STABLE_DIFFUSION, 60)
    with pytest.raises(AnchorError, match="steps is 0: scheduler ddim needs 1 to 999"):
        start_scheduler("ddim", STABLE_DIFFUSION, 0)
