"""The noise schedule of a trained network and the solvers that run it backwards, on diffusers' schedulers.

Make-Your-Anchor samples with DDIM, 20 steps. The other solvers work on the same prediction: the windows
are averaged first (Algorithm 1 of the paper), then one solver step is made for all frames of the clip, so
the history of a multistep solver belongs to whole frames and never to a window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from ..errors import AnchorError
from .noise import NoiseStream

SchedulerName = Literal["ddim", "dpm++2m", "unipc", "euler", "lcm"]
PredictionType = Literal["epsilon", "v_prediction", "sample"]

SCHEDULERS: tuple[str, ...] = get_args(SchedulerName)
LCM_STEPS = 50
"""Consistency models are distilled on a grid of this many steps and can use no finer one."""


def _check_word(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise AnchorError(f"{what} is {given!r}: need one of {', '.join(known)}")


@dataclass(frozen=True)
class NoiseSchedule:
    """How the network was trained to see noise. Defaults: Stable Diffusion 1.5, hence the published weights.

    prediction_type: what the network predicts. zero_terminal_snr: betas rescaled so that the last training
    step is pure noise (Lin et al. 2024). timestep_spacing: where the steps of sampling lie.
    """

    prediction_type: PredictionType = "epsilon"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    train_steps: int = 1000
    zero_terminal_snr: bool = False
    timestep_spacing: str = "leading"
    steps_offset: int = 1
    set_alpha_to_one: bool = False
    clip_sample: bool = False

    def __post_init__(self) -> None:
        _check_word("prediction_type", self.prediction_type, get_args(PredictionType))
        _check_word("beta_schedule", self.beta_schedule, ("linear", "scaled_linear", "squaredcos_cap_v2"))
        _check_word("timestep_spacing", self.timestep_spacing, ("leading", "trailing", "linspace"))
        if not 0 < self.beta_start < self.beta_end < 1:
            raise AnchorError(
                f"beta_start {self.beta_start} and beta_end {self.beta_end} are no noise schedule: "
                "need 0 < beta_start < beta_end < 1; Stable Diffusion 1.5 has 0.00085 and 0.012"
            )
        if self.train_steps < 1:
            raise AnchorError(f"train_steps is {self.train_steps}: need 1 or more; usual is 1000")
        if self.zero_terminal_snr and self.prediction_type == "epsilon":
            raise AnchorError(
                "a network that predicts epsilon cannot start from zero terminal SNR, where nothing but "
                "noise is left to predict from: use prediction_type v_prediction, or zero_terminal_snr False"
            )


STABLE_DIFFUSION = NoiseSchedule()
"""Schedule of the published weights."""

ZERO_TERMINAL_SNR = NoiseSchedule(
    prediction_type="v_prediction",
    zero_terminal_snr=True,
    timestep_spacing="trailing",
    steps_offset=0,
    set_alpha_to_one=True,
)
"""Schedule for networks trained from nothing in few steps, such as the demo anchor."""


def make_scheduler(name: str, noise_schedule: NoiseSchedule) -> Any:
    """Build a diffusers scheduler; `set_timesteps` is still to be called.

    name: ddim (as published), dpm++2m (Lu et al. 2022), unipc (Zhao et al. 2023), euler (Karras et al. 2022)
    or lcm (Luo et al. 2023, only for distilled networks). Raises AnchorError for any other name.
    """
    import diffusers

    _check_word("scheduler", name, SCHEDULERS)
    options = _shared_options(noise_schedule)
    ends = {
        "set_alpha_to_one": noise_schedule.set_alpha_to_one,
        "clip_sample": noise_schedule.clip_sample,
    }
    if name == "ddim":
        return diffusers.DDIMScheduler(**options, **ends)
    if name == "lcm":
        return diffusers.LCMScheduler(**options, **ends, original_inference_steps=LCM_STEPS)
    if name == "dpm++2m":
        return diffusers.DPMSolverMultistepScheduler(**options)
    if name == "unipc":
        return diffusers.UniPCMultistepScheduler(**options)
    return diffusers.EulerDiscreteScheduler(**options)


def start_scheduler(name: str, noise_schedule: NoiseSchedule, steps: int, skip: int = 0) -> Any:
    """Build a scheduler that stands before step `skip` of `steps`.

    Raises AnchorError when there are more steps than the schedule has places for.
    """
    places = noise_schedule.train_steps
    if noise_schedule.timestep_spacing == "leading":
        places -= noise_schedule.steps_offset  # the last place would lie behind the last training step
    most = min(LCM_STEPS, places) if name == "lcm" else places
    if not 1 <= steps <= most:
        usual = "4 to 8" if name == "lcm" else "10 to 30"
        raise AnchorError(f"steps is {steps}: scheduler {name} needs 1 to {most}; usual is {usual}")
    scheduler = make_scheduler(name, noise_schedule)
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):  # DDIM has no state and no such method
        scheduler.set_begin_index(skip)
    return scheduler


def first_latents(
    scheduler: Any, noise: torch.Tensor, latents: torch.Tensor | None = None, skip: int = 0
) -> torch.Tensor:
    """Where sampling starts: pure noise, or with `skip` > 0 the clean `latents` with the noise of that step.

    noise, latents: (F, C, h, w) float32; noise has unit variance.
    """
    if skip == 0 or latents is None:
        return noise * scheduler.init_noise_sigma
    started: torch.Tensor = scheduler.add_noise(latents, noise, scheduler.timesteps[skip : skip + 1])
    return started


def solver_step(
    scheduler: Any, prediction: torch.Tensor, step: int, latents: torch.Tensor, fresh: NoiseStream | None
) -> torch.Tensor:
    """Move frames one step towards the picture: (F, C, h, w) in, (F, C, h, w) out.

    fresh: `fresh_noise` of this step, where these frames come next; None for solvers that draw none. It is
    not drawn inside diffusers, because the frames must share it as they share the first noise, on every
    device alike.
    """
    timestep = scheduler.timesteps[step]
    output = scheduler.step(prediction, timestep, latents)
    if not draws_noise(scheduler):
        moved: torch.Tensor = output.prev_sample
        return moved
    clean: torch.Tensor = output.denoised
    if step + 1 == len(scheduler.timesteps) or fresh is None:
        return clean
    noised: torch.Tensor = scheduler.add_noise(
        clean, fresh.take(len(latents)), scheduler.timesteps[step + 1 : step + 2]
    )
    return noised


def draws_noise(scheduler: Any) -> bool:
    """Whether the solver adds fresh noise in each step; LCM alone does."""
    return type(scheduler).__name__ == "LCMScheduler"


def fresh_noise(seed: int, step: int, shape: tuple[int, int, int], *, shared: bool) -> NoiseStream:
    """The noise that a stochastic solver adds at the end of a step. shape: (C, h, w) of a frame."""
    return NoiseStream((seed + 1 + step) % 2**64, shape, shared=shared)


def predict_clean(scheduler: Any, prediction: torch.Tensor, step: int, latents: torch.Tensor) -> torch.Tensor:
    """The clean latents that the network sees behind `latents` at this step; for previews.

    prediction and latents: any equal shape; latents as the solver holds them (before scale_model_input).
    """
    if type(scheduler).__name__ == "EulerDiscreteScheduler":  # holds variance-exploding latents
        sigma = float(scheduler.sigmas[step])
        alpha = 1.0 / (1.0 + sigma**2)
        latents = latents * math.sqrt(alpha)
    else:
        alpha = float(scheduler.alphas_cumprod[int(scheduler.timesteps[step])])
    kind = scheduler.config.prediction_type
    if kind == "sample":
        return prediction
    if kind == "v_prediction":
        return math.sqrt(alpha) * latents - math.sqrt(1 - alpha) * prediction
    return (latents - math.sqrt(1 - alpha) * prediction) / math.sqrt(alpha)


def _shared_options(noise_schedule: NoiseSchedule) -> dict[str, Any]:
    return {
        "num_train_timesteps": noise_schedule.train_steps,
        "beta_start": noise_schedule.beta_start,
        "beta_end": noise_schedule.beta_end,
        "beta_schedule": noise_schedule.beta_schedule,
        "prediction_type": noise_schedule.prediction_type,
        "rescale_betas_zero_snr": noise_schedule.zero_terminal_snr,
        "timestep_spacing": noise_schedule.timestep_spacing,
        "steps_offset": noise_schedule.steps_offset,
    }
