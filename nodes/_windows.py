"""The inputs that say how a clip is cut into windows: of the sampler, and of the picture of its plan."""

from __future__ import annotations

from comfy_api.latest import io

from ..anchor_core.errors import AnchorError
from ..anchor_core.sampling.windows import SCHEDULES, WEIGHTINGS, check_windows

_MAX_FRAMES = 4096


def window_size_input(default: int, least: int, note: str = "") -> io.Input:
    """Frames per window."""
    return io.Int.Input(
        "window_size",
        default=default,
        min=least,
        max=_MAX_FRAMES,
        tooltip="Frames that are denoised together (ws in the paper, 16). They agree with each other; "
        "memory and time grow with it. A clip that is shorter becomes one window." + note,
    )


def overlap_input(default: int, least: int, note: str = "") -> io.Input:
    """Frames that neighbours share."""
    return io.Int.Input(
        "overlap",
        default=default,
        min=least,
        max=_MAX_FRAMES - 1,
        tooltip="Frames that neighbouring windows share (os in the paper, 4) and average, so that no seam "
        "shows. More is smoother and slower; must be smaller than window_size." + note,
    )


def schedule_input(default: str) -> io.Input:
    """Where the windows lie."""
    return io.Combo.Input(
        "schedule",
        options=list(SCHEDULES),
        default=default,
        tooltip="static: the same windows at each step, the last moved back to full length. reference: as "
        "published, with a short last window. uniform: seams move from step to step. looped: for clips "
        "that repeat.",
    )


def weighting_input(default: str) -> io.Input:
    """How overlapping windows are averaged."""
    return io.Combo.Input(
        "weighting",
        options=list(WEIGHTINGS),
        default=default,
        tooltip="How shared frames are averaged. flat: all windows alike, as published. pyramid: the "
        "middle of a window counts most. overlap-linear: one window fades into the next.",
    )


def refused_windows(window_size: int | None, overlap: int | None) -> str | None:
    """Why these two make no plan, or None; values that come over a link (None) are checked on execution."""
    if window_size is None or overlap is None or window_size == 0:
        return None
    if window_size > _MAX_FRAMES:  # the host no longer checks a range whose input is checked here
        return f"window_size is {window_size}: choose 1 to {_MAX_FRAMES} frames"
    try:
        check_windows(window_size, max(overlap, 0))
    except AnchorError as error:
        return str(error)
    return None
