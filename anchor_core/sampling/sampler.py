"""Overlapped temporal denoising (Make-Your-Anchor, section 3.3, Algorithm 1).

At each step every window of the clip is predicted on its own, the guided predictions are averaged where
windows overlap, and one solver step moves all frames. With DDIM, schedule `reference`, weighting `flat` and
a network of fidelity `reference` this equals the published sampler up to rounding.

Deviations: predictions are guided before they are averaged (equal, because guidance is linear, and one
accumulator instead of two), sums and latents are float32 in any network type, noise comes from the CPU.

Of the clip's length there are only the latents, one sum, and what a multistep solver remembers; they lie on
the CPU. Devices hold a window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..errors import AnchorError, is_out_of_memory
from .conditioning import (
    Conditioning,
    Network,
    Place,
    PoseFeatures,
    check_conditioning,
    select_frames,
    stack_frames,
)
from .dealing import Job, make_jobs, predictions
from .keeping import Keeping
from .noise import draw_noise
from .predictor import Predictor, guide
from .ranks import Ranks, share_of
from .schedulers import NoiseSchedule
from .settings import Memory, SamplerSettings
from .solver import ClipSolver
from .state import SampleKeeper, SampleState
from .windows import Window, plan_weights, plan_windows

if TYPE_CHECKING:
    from ..frames import Frames

__all__ = [
    "Conditioning",
    "Memory",
    "Network",
    "PoseFeatures",
    "SamplerSettings",
    "WindowCallback",
    "guide",
    "sample",
    "sample_latents",
]

WindowCallback = Callable[[int, int, int, int, torch.Tensor], None]
"""(step, window, n_steps, n_windows, preview) after each window. preview: (window frames, C, h, w), the clean
latents as the network sees them now. n_windows may differ from step to step; of several processes each counts
its own windows. A clip that goes on begins where it stopped. Raise to interrupt."""

Device = tuple[Network, "torch.device | str | None", "torch.dtype | None"]
"""A network, and where and in which type it works: the arguments `network`, `device`, `dtype` of `sample`."""


def sample_latents(
    sgdm: Network,
    pose_frames: torch.Tensor | np.ndarray | Frames,
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
    keep: SampleKeeper | None = None,
    ranks: Ranks | None = None,
    others: Sequence[Device] = (),
) -> torch.Tensor:
    """Denoise a clip: (F, C, h, w) float32 on the CPU.

    noise: (F, C, h, w) to start from instead of the seed's. latents: (F, C, h, w) clean latents, used where
    settings.denoise is below 1. device, dtype: where and in which type the network works; if given, it is
    moved there, as `Module.to` does. callback: see WindowCallback; what it raises passes through, and
    nothing is left behind but what `keep` keeps. The result depends on nothing but these arguments.

    keep: keeps the state, and gives one to go on from, to the same bits. ranks: the processes that share the
    windows of each step; each gets the result, equal to that of one process up to the order of sums. Only
    the main one's `keep` is written to, after whole steps; all are to give the same state. others: further
    devices, which take windows of this process in threads of their own; each needs a network of its own.
    """
    check_conditioning(conditioning)
    memory = memory or Memory()
    devices = [(network, device, dtype), *others]
    dealt = _Dealt(settings, conditioning.n_frames, memory.windows_at_once, ranks)
    n_parts = len(dealt.jobs(settings.skipped_steps))
    with ExitStack() as stack:
        predictors = [
            Predictor(one, conditioning, settings, memory, _place(one, where, kind), n_parts)
            for one, where, kind in devices
        ]
        for predictor in predictors:
            stack.enter_context(predictor.prepared())
        shape = (conditioning.n_frames, network.latent_channels, *predictors[0].latent_size)
        _check_start(settings, shape, noise, latents)
        solver = ClipSolver(settings, noise_schedule, conditioning.n_frames)
        keeping = Keeping(keep, ranks, settings, solver)
        state = keeping.load(shape) or _begin(solver, settings, shape, noise, latents)
        run = _Run(settings, solver, predictors, dealt, keeping, callback)
        stack.enter_context(keeping.when_interrupted(state))
        while state.step < settings.steps:
            _make_step(run, state)
    return state.latents


class _Dealt(NamedTuple):
    """Which windows of a step this process predicts, and which of them together."""

    settings: SamplerSettings
    n_frames: int
    at_once: int
    ranks: Ranks | None

    def windows(self, step: int) -> list[Window]:
        """All windows of a step."""
        settings = self.settings
        return plan_windows(self.n_frames, settings.window_size, settings.overlap, settings.schedule, step)

    def mine(self, windows: list[Window]) -> list[int]:
        """Numbers of those of this process; attention makes their cost grow with the square of the length."""
        return share_of([len(window) ** 2 for window in windows], self.ranks)

    def jobs(self, step: int, done: int = 0) -> list[Job]:
        """Those of this process but the first `done`, put together."""
        windows = self.windows(step)
        return make_jobs(windows, self.mine(windows)[done:], self.at_once)


@dataclass(frozen=True)
class _Run:
    """What stays the same during one call."""

    settings: SamplerSettings
    solver: ClipSolver
    predictors: list[Predictor]
    dealt: _Dealt
    keeping: Keeping
    callback: WindowCallback | None


def _make_step(run: _Run, state: SampleState) -> None:
    """Sum up the windows that are not done yet, then move all frames one step."""
    settings, ranks = run.settings, run.dealt.ranks
    windows = run.dealt.windows(state.step)
    weights = plan_weights(windows, settings.weighting, settings.overlap, settings.schedule == "looped")
    total = _sum_windows(run, state, windows, weights)
    with run.keeping.change():
        if ranks is not None:
            ranks.sum(total, f"step {state.step + 1} of {settings.steps}")
        run.solver.step(state.step, state.latents, total, _sum_weights(windows, weights, len(total)))
        state.step, state.windows_done = state.step + 1, 0
    run.keeping.after_step(state)


def _sum_windows(
    run: _Run, state: SampleState, windows: list[Window], weights: list[tuple[float, ...]]
) -> torch.Tensor:
    """The windows' guided predictions times their weights, summed up: (F, C, h, w) float32."""
    if state.total is None:
        state.total = torch.zeros_like(state.latents)
    elif not state.windows_done:
        state.total.zero_()
    jobs = run.dealt.jobs(state.step, state.windows_done)
    n_windows = len(run.dealt.mine(windows))
    answers = predictions(run.predictors, jobs, partial(_start, run, state), run.settings.reuse > 1)
    with closing(answers):
        for job, answer in answers:
            with run.keeping.change():
                for number, prediction in zip(job.numbers, answer, strict=True):
                    _add(state.total, windows[number], weights[number], prediction)
                state.windows_done += len(job.numbers)
            _report(run, state, (state.windows_done - len(job.numbers), n_windows), job, answer)
            run.keeping.after_windows(state)
    return state.total


def _start(run: _Run, state: SampleState, predictor: Predictor, job: Job) -> Callable[[], torch.Tensor]:
    seen = run.solver.seen(stack_frames(state.latents, job.windows), state.step)
    return predictor.start(job.windows, seen, run.solver.timesteps[state.step], state.step)


def _add(total: torch.Tensor, window: Window, weights: Sequence[float], prediction: torch.Tensor) -> None:
    """Add what a window says, (n, C, h, w), times the weights of its frames."""
    if any(weight != 1 for weight in weights):
        prediction = prediction * torch.tensor(weights).view(-1, 1, 1, 1)
    for place in _runs(window):
        total[window[place.start] : window[place.stop - 1] + 1].add_(prediction[place])


def _sum_weights(windows: list[Window], weights: list[tuple[float, ...]], n_frames: int) -> torch.Tensor:
    """The sum of the weights of each frame: (F, 1, 1, 1) float32."""
    counted = torch.zeros(n_frames, 1, 1, 1)
    for window, weight in zip(windows, weights, strict=True):
        _add(counted, window, (1.0,), torch.tensor(weight).view(-1, 1, 1, 1))
    return counted


def _runs(window: Window) -> list[slice]:
    """Places in a window between which the frames follow each other: two where it wraps round the end."""
    breaks = [place for place in range(1, len(window)) if window[place] != window[place - 1] + 1]
    return [slice(*ends) for ends in pairwise([0, *breaks, len(window)])]


def _report(run: _Run, state: SampleState, place: tuple[int, int], job: Job, answer: torch.Tensor) -> None:
    if run.callback is None:
        return
    skip, (first, n_windows) = run.settings.skipped_steps, place
    for number, (window, prediction) in enumerate(zip(job.windows, answer, strict=True), first):
        preview = run.solver.clean(prediction, state.step, select_frames(state.latents, window))
        run.callback(state.step - skip, number, run.settings.steps - skip, n_windows, preview)


def _place(network: Network, device: torch.device | str | None, dtype: torch.dtype | None) -> Place:
    """Device and type that the network works in, after moving it there if it is not."""
    weight = next(iter(network.parameters()))
    device, dtype = torch.device(device or weight.device), dtype or weight.dtype
    # "cuda" names the current card: an index is compared only where one is asked for.
    at_home = weight.device.type == device.type and device.index in (None, weight.device.index)
    if isinstance(network, torch.nn.Module) and not (at_home and weight.dtype == dtype):
        try:
            network.to(device=device, dtype=dtype)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise AnchorError(
                f"the network's weights do not fit into the memory of {device}: end what else is using it, "
                "take a smaller number type (float16), or another device"
            ) from error
    return device, dtype


def _check_start(
    settings: SamplerSettings,
    shape: tuple[int, ...],
    noise: torch.Tensor | None,
    latents: torch.Tensor | None,
) -> None:
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


def _begin(
    solver: ClipSolver,
    settings: SamplerSettings,
    shape: tuple[int, int, int, int],
    noise: torch.Tensor | None,
    latents: torch.Tensor | None,
) -> SampleState:
    """The state before the first step."""
    if noise is None:
        start = draw_noise(settings.seed, *shape, shared=settings.shared_noise)
    else:
        start = noise.to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)
    solver.begin(start, None if latents is None else latents.float().cpu())
    return SampleState(settings.skipped_steps, 0, start)
