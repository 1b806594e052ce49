"""Overlapped temporal denoising (Make-Your-Anchor, section 3.3, Algorithm 1).

At each step every window of the clip is predicted on its own, the guided predictions are averaged where
windows overlap, and one solver step moves all frames. With DDIM, schedule `reference`, weighting `flat` and
a network of fidelity `reference` this equals the published sampler up to rounding.

Deviations: predictions are guided before they are averaged (equal, because guidance is linear, and one
accumulator instead of two), sums and latents are float32 in any network type, noise comes from the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from ..errors import AnchorError
from .conditioning import Conditioning, Network, PoseFeatures, check_conditioning, select_frames
from .noise import check_seed, draw_noise
from .schedulers import NoiseSchedule, first_latents, predict_clean, solver_step, start_scheduler
from .windows import Window, check_weighting, check_windows, plan_weights, plan_windows

WindowCallback = Callable[[int, int, int, int, torch.Tensor], None]
"""(step, window, n_steps, n_windows, preview) after each window. preview: (window frames, C, h, w), the clean
latents as the network sees them now. n_windows may differ from step to step. Raise to interrupt."""


@dataclass(frozen=True)
class SamplerSettings:
    """How a clip is denoised. Defaults: the published inference, except for the last window and the solver's
    name, which `schedule` and `scheduler` tell.

    steps: solver steps. guidance_scale: classifier-free guidance; 1 or less runs no unconditional pass.
    condition_scale: strength of the pose (W_c of the paper). condition_start, condition_end: the share of the
    steps, 0 to 1, in which the pose acts. window_size, overlap: frames (ws, os). schedule, weighting: see
    windows.py. scheduler: see schedulers.py. shared_noise: all frames start from one noise.
    denoise: share of the steps that is run, from given latents if below 1.
    """

    steps: int = 20
    guidance_scale: float = 7.5
    condition_scale: float = 2.0
    condition_start: float = 0.0
    condition_end: float = 1.0
    window_size: int = 16
    overlap: int = 4
    schedule: str = "static"
    weighting: str = "flat"
    scheduler: str = "ddim"
    shared_noise: bool = True
    seed: int = 0
    denoise: float = 1.0

    def __post_init__(self) -> None:
        check_windows(self.window_size, self.overlap, self.schedule)
        check_weighting(self.weighting)
        check_seed(self.seed)
        if self.steps < 1:
            raise AnchorError(f"steps is {self.steps}: need 1 or more; usual is 10 to 30")
        for name in ("guidance_scale", "condition_scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise AnchorError(f"{name} is {value}: need 0 or more; usual is what the anchor's card says")
        if not 0 <= self.condition_start <= self.condition_end <= 1:
            raise AnchorError(
                f"the pose acts from {self.condition_start} to {self.condition_end} of the steps: "
                "need 0 <= condition_start <= condition_end <= 1"
            )
        if not 0 < self.denoise <= 1:
            raise AnchorError(
                f"denoise is {self.denoise}: need more than 0 and at most 1; 1 starts from pure noise"
            )

    @property
    def guided(self) -> bool:
        """Whether there is an unconditional pass."""
        return self.guidance_scale > 1

    @property
    def skipped_steps(self) -> int:
        """Steps left out at the noisy end because of `denoise`; at least one step is run."""
        return self.steps - max(1, round(self.steps * self.denoise))

    def scale_at(self, step: int) -> float:
        """Strength of the pose at a step, 0 .. steps - 1."""
        begin, end = self.condition_start * self.steps, self.condition_end * self.steps
        return self.condition_scale if begin <= step < end else 0.0


@dataclass(frozen=True)
class Memory:
    """What may be spent on the device; no choice changes the result.

    pose_gib: pose features of the clip up to this size are kept. split_guidance: run the unconditional and
    the conditional pass one after the other, for about two thirds of a window's memory.
    """

    pose_gib: float = 2.0
    split_guidance: bool = False


@dataclass(frozen=True)
class _Run:
    """What stays the same during one call."""

    network: Network
    settings: SamplerSettings
    conditioning: Conditioning
    features: PoseFeatures
    tokens: torch.Tensor
    scheduler: Any
    split: bool
    callback: WindowCallback | None


def sample_latents(
    sgdm: Network,
    pose_frames: torch.Tensor | np.ndarray,
    appearance: torch.Tensor,
    null: torch.Tensor | None,
    settings: SamplerSettings,
    noise_schedule: NoiseSchedule,
    **options: Any,
) -> torch.Tensor:
    """Denoise a clip from pose frames and appearance tokens: (F, C, h, w) float32 on the CPU.

    pose_frames: (F, H, W, 3) or (F, 3, H, W), float in [0, 1] or uint8. appearance: (1, T, D).
    null: (1, T, D), needed where guidance_scale is above 1. options: the keywords of `sample`.
    Raises AnchorError for settings and tensors that do not fit, and when the numbers overflow.
    """
    return sample(sgdm, Conditioning(pose_frames, appearance, null), settings, noise_schedule, **options)


@torch.no_grad()
def sample(
    network: Network,
    conditioning: Conditioning,
    settings: SamplerSettings,
    noise_schedule: NoiseSchedule,
    *,
    noise: torch.Tensor | None = None,
    latents: torch.Tensor | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    memory: Memory | None = None,
    callback: WindowCallback | None = None,
) -> torch.Tensor:
    """Denoise a clip: (F, C, h, w) float32 on the CPU.

    noise: (F, C, h, w) to start from instead of the seed's. latents: (F, C, h, w) clean latents, used where
    settings.denoise is below 1. device, dtype: where and in which type the network works; if given, it is
    moved there, as `Module.to` does. callback: see WindowCallback; what it raises passes through, and
    nothing is left behind. The result depends on nothing but these arguments.
    """
    check_conditioning(conditioning)
    memory = memory or Memory()
    place = _place(network, device, dtype)
    skip = settings.skipped_steps
    scheduler = start_scheduler(settings.scheduler, noise_schedule, settings.steps, skip)
    tokens = conditioning.tokens(settings.guided, *place)
    features = PoseFeatures(network, conditioning, settings.window_size, memory.pose_gib * 2**30, place)
    shape = (conditioning.n_frames, network.latent_channels, *features.latent_size)
    start = _start(settings, shape, noise, latents)
    current = first_latents(scheduler, *start, skip=skip)
    run = _Run(network, settings, conditioning, features, tokens, scheduler, memory.split_guidance, callback)
    for step in range(skip, settings.steps):
        prediction = _predict_clip(run, current, step)
        current = solver_step(scheduler, prediction, step, current, (settings.seed, settings.shared_noise))
        _check_finite(current, step, settings.steps)
    return current


def _predict_clip(run: _Run, latents: torch.Tensor, step: int) -> torch.Tensor:
    """The windows' guided predictions, averaged by their weights: (F, C, h, w) float32."""
    settings = run.settings
    windows = plan_windows(len(latents), settings.window_size, settings.overlap, settings.schedule, step)
    closed = settings.schedule == "looped"
    weights = plan_weights(windows, settings.weighting, settings.overlap, closed)
    seen = run.scheduler.scale_model_input(latents, run.scheduler.timesteps[step])
    total = torch.zeros_like(latents)
    counted = torch.zeros(len(latents), 1, 1, 1)
    for index, window in enumerate(windows):
        prediction = _predict_window(run, select_frames(seen, window), window, step)
        weight = torch.tensor(weights[index]).view(-1, 1, 1, 1)
        frames = torch.tensor(window)
        total.index_add_(0, frames, prediction * weight)
        counted.index_add_(0, frames, weight)
        _report(run, (step, index, len(windows)), prediction, select_frames(latents, window))
    return total / counted


def _predict_window(run: _Run, latents: torch.Tensor, window: Window, step: int) -> torch.Tensor:
    """The guided prediction for one window: (F, C, h, w) float32 on the CPU."""
    tokens = run.tokens
    features = run.features.window(window)[None]
    noisy = latents.to(tokens.device, tokens.dtype)[None]
    timestep = run.scheduler.timesteps[step].to(tokens.device)
    scale = run.settings.scale_at(step)
    extra = run.conditioning.extra_window(window, tokens.device, tokens.dtype)

    def predict(batch: torch.Tensor) -> torch.Tensor:
        repeated = partial(torch.Tensor.expand, size=(len(batch), -1, -1, -1, -1))  # views of one window
        options = {name: repeated(value) for name, value in extra.items()}
        return run.network(repeated(noisy), timestep, batch, repeated(features), scale, **options).float()

    both = torch.cat([predict(one) for one in tokens.split(1)]) if run.split else predict(tokens)
    return guide(both, run.settings.guidance_scale).cpu()


def guide(predictions: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """Classifier-free guidance of a batch [null, appearance] (or [appearance] alone): (B, ...) -> (...)."""
    if len(predictions) == 1:
        return predictions[0]
    null, conditional = predictions
    return null + guidance_scale * (conditional - null)


def _report(run: _Run, place: tuple[int, int, int], prediction: torch.Tensor, latents: torch.Tensor) -> None:
    if run.callback is None:
        return
    step, window, n_windows = place
    skip = run.settings.skipped_steps
    preview = predict_clean(run.scheduler, prediction, step, latents)
    run.callback(step - skip, window, run.settings.steps - skip, n_windows, preview)


def _place(
    network: Network, device: torch.device | str | None, dtype: torch.dtype | None
) -> tuple[torch.device, torch.dtype]:
    """Device and type that the network works in, after moving it there if it is not."""
    weight = next(iter(network.parameters()))
    device, dtype = torch.device(device or weight.device), dtype or weight.dtype
    # "cuda" names the current card: an index is compared only where one is asked for.
    at_home = weight.device.type == device.type and device.index in (None, weight.device.index)
    if isinstance(network, torch.nn.Module) and not (at_home and weight.dtype == dtype):
        network.to(device=device, dtype=dtype)
    return device, dtype


def _start(
    settings: SamplerSettings,
    shape: tuple[int, int, int, int],
    noise: torch.Tensor | None,
    latents: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Checked noise and clean latents, float32 on the CPU."""
    if settings.skipped_steps and latents is None:
        raise AnchorError(
            f"denoise is {settings.denoise} and there are no latents to start from: "
            "give latents, or set denoise to 1"
        )
    for name, given in (("noise", noise), ("latents", latents)):
        if given is not None and tuple(given.shape) != shape:
            raise AnchorError(
                f"{name} has the shape {tuple(given.shape)}: need {shape} (frames, channels, height, width) "
                "for these pose frames"
            )
    if noise is None:
        noise = draw_noise(settings.seed, *shape, shared=settings.shared_noise)
    return noise.float().cpu(), None if latents is None else latents.float().cpu()


def _check_finite(latents: torch.Tensor, step: int, steps: int) -> None:
    if not bool(torch.isfinite(latents).all()):
        raise AnchorError(
            f"step {step + 1} of {steps} gave numbers that are not finite: run the network in float32 or "
            "bfloat16, lower guidance_scale or condition_scale, or check the anchor's weights"
        )
