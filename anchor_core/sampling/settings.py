"""How a clip is denoised, and what may be spent on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import AnchorError
from .noise import check_seed
from .windows import FIXED_SCHEDULES, check_weighting, check_windows


@dataclass(frozen=True)
class SamplerSettings:
    """How a clip is denoised. Defaults: the published inference, except for the last window and the solver's
    name, which `schedule` and `scheduler` tell.

    steps: solver steps. guidance_scale: classifier-free guidance; 1 or less runs no unconditional pass.
    condition_scale: strength of the pose (W_c of the paper). condition_start, condition_end: the share of the
    steps, 0 to 1, in which the pose acts. window_size, overlap: frames (ws, os). schedule, weighting: see
    windows.py. scheduler: see schedulers.py. shared_noise: all frames start from one noise.
    denoise: share of the steps that is run, from given latents if below 1.
    guidance_start, guidance_end: the share of the steps, 0 to 1, in which guidance acts; in the others the
    unconditional pass is left out (Kynkaanniemi et al. 2024). far_keys: in the largest layers the keys of the
    other frames of a window are averaged over blocks of this many by this many pixels; 1: none are.
    reuse: the inner layers are computed in the first step and in every `reuse`-th after it, in the last, and
    where guidance begins or ends; between, their features are reused (Ma et al. 2024). 1: in every step.
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
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    far_keys: int = 1
    reuse: int = 1

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
        self._check_interval("the pose", "condition")
        self._check_interval("guidance", "guidance")
        if not 0 < self.denoise <= 1:
            raise AnchorError(
                f"denoise is {self.denoise}: need more than 0 and at most 1; 1 starts from pure noise"
            )
        if self.far_keys < 1:
            raise AnchorError(f"far_keys is {self.far_keys}: need 1 or more; 1 is exact, usual is 2")
        self._check_reuse()

    def _check_reuse(self) -> None:
        if self.reuse < 1:
            raise AnchorError(f"reuse is {self.reuse}: need 1 or more; 1 is exact, usual is 2")
        if self.reuse > 1 and self.schedule not in FIXED_SCHEDULES:
            raise AnchorError(
                f"reuse is {self.reuse} and the windows of schedule {self.schedule} move from step to step: "
                f"need schedule {' or '.join(FIXED_SCHEDULES)}, or reuse 1"
            )

    def _check_interval(self, what: str, name: str) -> None:
        start, end = getattr(self, f"{name}_start"), getattr(self, f"{name}_end")
        if not 0 <= start <= end <= 1:
            raise AnchorError(
                f"{what} acts from {start} to {end} of the steps: need 0 <= {name}_start <= {name}_end <= 1"
            )

    @property
    def guided(self) -> bool:
        """Whether some step has an unconditional pass."""
        return any(self.guided_at(step) for step in range(self.skipped_steps, self.steps))

    @property
    def skipped_steps(self) -> int:
        """Steps left out at the noisy end because of `denoise`; at least one step is run."""
        return self.steps - max(1, round(self.steps * self.denoise))

    def scale_at(self, step: int) -> float:
        """Strength of the pose at a step, 0 .. steps - 1."""
        inside = self._inside(step, self.condition_start, self.condition_end)
        return self.condition_scale if inside else 0.0

    def guided_at(self, step: int) -> bool:
        """Whether a step, 0 .. steps - 1, has an unconditional pass."""
        return self.guidance_scale > 1 and self._inside(step, self.guidance_start, self.guidance_end)

    def computes_deep(self, step: int) -> bool:
        """Whether a step, 0 .. steps - 1, computes the inner layers anew, for itself and those after it."""
        if step == self.steps - 1:  # what it leaves out, no later step can mend
            return True
        first = self.skipped_steps
        return (step - first) % self.reuse == 0 or self.guided_at(step) != self.guided_at(step - 1)

    def _inside(self, step: int, start: float, end: float) -> bool:
        return start * self.steps <= step < end * self.steps


@dataclass(frozen=True)
class Memory:
    """What may be spent on the device; no choice changes the result but by rounding.

    pose_gib: pose features of the clip up to this size are kept. split_guidance: run the unconditional and
    the conditional pass one after the other, for about two thirds of a window's memory.
    windows_at_once: windows of one length that go through the network together.
    feed_forward_chunk: the feed-forward layers work on so many images at a time; 0: on all at once.
    """

    pose_gib: float = 2.0
    split_guidance: bool = False
    windows_at_once: int = 1
    feed_forward_chunk: int = 0

    def __post_init__(self) -> None:
        for name, least in (("windows_at_once", 1), ("feed_forward_chunk", 0), ("pose_gib", 0)):
            if not getattr(self, name) >= least:
                raise AnchorError(f"{name} is {getattr(self, name)}: need {least} or more")
