"""Which frames are denoised together: the windows of overlapped temporal denoising (paper, Algorithm 1).

A clip of any length is cut into windows of `window_size` (ws) frames; neighbours share `overlap` (os)
frames, whose predictions are averaged at every step. Pure Python: no tensors here.

Deviation: the published plan (`reference`) leaves a last window of 1 .. ws-1 frames, often inside the
previous one, where group norm and attention see almost no context. `static`, our default, moves the last
window back to full length. `uniform` and `looped` are not in the paper.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from ..errors import AnchorError

ScheduleName = Literal["static", "reference", "uniform", "looped"]
Weighting = Literal["flat", "pyramid", "overlap-linear"]
Window = tuple[int, ...]

SCHEDULES: tuple[str, ...] = get_args(ScheduleName)
WEIGHTINGS: tuple[str, ...] = get_args(Weighting)
FIXED_SCHEDULES = ("static", "reference")
"""Those whose windows are the same in all steps."""


def plan_windows(
    n_frames: int, window_size: int, overlap: int, schedule: str = "static", step: int = 0
) -> list[Window]:
    """Cut a clip into windows for one denoising step; each window is a tuple of frame indices.

    static: the same windows at each step, the last one moved back to full length.
    reference: as published, with a short last window. uniform: the seams move from step to step.
    looped: windows wrap from the last frame to the first, for clips that repeat; seams move as well.
    Every frame is covered; except in `reference` every window has min(window_size, n_frames) frames and
    neighbours share at least `overlap`. step: 0, 1, ..; only `uniform` and `looped` look at it.
    Raises AnchorError for numbers that make no plan.
    """
    check_windows(window_size, overlap, schedule)
    if n_frames < 1:
        raise AnchorError(f"the clip has {n_frames} frames: need 1 or more; choose a motion that has frames")
    stride = window_size - overlap
    if schedule == "reference":
        starts = list(range(0, n_frames, stride))
    elif n_frames <= window_size:
        starts = [0]
    elif schedule == "looped":
        return _looped(n_frames, window_size, stride, step)
    else:
        offset = _moving_offset(stride, step) if schedule == "uniform" else 0
        starts = _full_starts(n_frames, window_size, stride, offset)
    return [tuple(range(start, min(start + window_size, n_frames))) for start in starts]


def window_weights(
    length: int, weighting: str = "flat", overlap: int = 0, is_first: bool = False, is_last: bool = False
) -> tuple[float, ...]:
    """How much each frame of a window counts in the average; `length` numbers in (0, 1].

    flat: all alike, as published. pyramid: rising to the middle. overlap-linear: a ramp over the `overlap`
    frames shared with each neighbour, so that one window fades into the next; no ramp at the clip's ends
    (is_first, is_last). The sampler divides by the sum of the weights of each frame.
    """
    check_weighting(weighting)
    if weighting == "flat":
        return (1.0,) * length
    if weighting == "pyramid":
        top = (length + 1) // 2
        return tuple(min(i + 1, length - i) / top for i in range(length))
    rise = [1.0 if is_first else (i + 1) / (overlap + 1) for i in range(length)]
    fall = [1.0 if is_last else (length - i) / (overlap + 1) for i in range(length)]
    return tuple(min(1.0, up, down) for up, down in zip(rise, fall, strict=True))


def plan_weights(
    windows: list[Window], weighting: str = "flat", overlap: int = 0, closed: bool = False
) -> list[tuple[float, ...]]:
    """The weights of each window of a plan; closed: the clip is a loop without first and last window."""
    last = len(windows) - 1
    alone = last == 0
    return [
        window_weights(
            len(window),
            weighting,
            overlap,
            is_first=alone or (i == 0 and not closed),
            is_last=alone or (i == last and not closed),
        )
        for i, window in enumerate(windows)
    ]


def check_windows(window_size: int, overlap: int, schedule: str = "static") -> None:
    """Raise AnchorError, in one sentence, unless these can make a plan for some clip."""
    if schedule not in SCHEDULES:
        raise AnchorError(f"schedule is {schedule!r}: need one of {', '.join(SCHEDULES)}")
    if window_size < 1:
        raise AnchorError(f"window_size is {window_size}: need 1 or more frames; usual is 16")
    if overlap < 0:
        raise AnchorError(f"overlap is {overlap}: need 0 or more frames; usual is a quarter of window_size")
    if overlap >= window_size:
        raise AnchorError(
            f"overlap {overlap} is not smaller than window_size {window_size}: windows would never move on; "
            f"choose an overlap from 0 to {window_size - 1}"
        )


def check_weighting(weighting: str) -> None:
    """Raise AnchorError unless `weighting` is a known one."""
    if weighting not in WEIGHTINGS:
        raise AnchorError(f"weighting is {weighting!r}: need one of {', '.join(WEIGHTINGS)}")


def _full_starts(n_frames: int, window_size: int, stride: int, offset: int) -> list[int]:
    """Starts stride apart, all moved `offset` to the left; those outside are pushed in until they fit."""
    latest = n_frames - window_size
    count = math.ceil((latest + offset) / stride) + 1
    return [min(max(k * stride - offset, 0), latest) for k in range(count)]


def _looped(n_frames: int, window_size: int, stride: int, step: int) -> list[Window]:
    """As few windows as the stride allows, spread evenly round the loop."""
    count = math.ceil(n_frames / stride)
    offset = _moving_offset(stride, step)
    starts = [k * n_frames // count - offset for k in range(count)]
    return [tuple((start + i) % n_frames for i in range(window_size)) for start in starts]


def _moving_offset(stride: int, step: int) -> int:
    """0 .. stride-1: step 0 gives 0, later ones lie far from those before (van der Corput, base 2)."""
    fraction, place = 0.0, 0.5
    while step:
        step, bit = divmod(step, 2)
        fraction += bit * place
        place /= 2
    return int(fraction * stride)
