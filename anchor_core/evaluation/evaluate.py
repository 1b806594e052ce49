"""Result against truth: all metrics in one pass over both, a frame at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..errors import AnchorError
from ..progress import StepFactory, silent_step
from .examples import ExampleKeeper
from .face_steadiness import FaceMeter
from .frames import Clip, open_clip, pairs, shared_length
from .frechet import FidMeter, FvdMeter
from .guide import Guide, Hint, check_guide, hints
from .landmarks import LandmarkMeter, load_dwpose
from .meter import Meter, Pair
from .perceptual import LpipsMeter, PictureMeter
from .report import Curve, Evaluation, Measurement
from .steadiness import TimeMeter, Windows

_SAME_RATE = 1.01
"""29.97 and 30 frames per second are one rate."""


@dataclass(frozen=True)
class MetricWeights:
    """Files of the networks that metrics need; None leaves the metric out, and the table says so.

    inception: weights-inception-2015-12-05-6726825d.pth (FID). i3d: i3d_pretrained_400.pt (FVD). lpips:
    AlexNet or VGG-16 of torchvision. landmarks: dw-ll_ucoco_384.onnx (LMD).
    """

    inception: Path | None = None
    i3d: Path | None = None
    lpips: Path | None = None
    landmarks: Path | None = None


@dataclass(frozen=True)
class EvaluateOptions:
    """windows: of the result's denoising, None where they are not known. fps: frames per second, None for
    what the clips say. trim: end with the shorter clip. examples: frames that are kept to be looked at.
    """

    weights: MetricWeights = field(default_factory=MetricWeights)
    windows: Windows | None = None
    fps: float | None = None
    trim: bool = False
    examples: int = 6
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        if self.fps is not None and not 1 <= self.fps <= 1000:
            raise AnchorError(f"fps is {self.fps}: give frames per second, from 1 to 1000")
        if not 0 <= self.examples <= 64:
            raise AnchorError(f"examples is {self.examples}: give 0 to 64 frames to look at")


def evaluate_videos(
    result: Path,
    truth: Path,
    options: EvaluateOptions | None = None,
    step: StepFactory | None = None,
    *,
    guide: Guide | None = None,
) -> Evaluation:
    """Compare two videos, or folders of pictures. guide: what tells person and face of each frame.

    Raises AnchorError where they do not fit each other, before the work where their headers tell.
    """
    clip = open_clip(result)
    return evaluate_clips(clip, open_clip(truth, like=clip), options, step, guide=guide)


def evaluate_clips(
    result: Clip,
    truth: Clip,
    options: EvaluateOptions | None = None,
    step: StepFactory | None = None,
    *,
    guide: Guide | None = None,
) -> Evaluation:
    """The same of clips that are open. Memory does not grow with their length."""
    options, step = options or EvaluateOptions(), step or silent_step
    n_frames = shared_length(result, truth, options.trim)
    check_guide(guide, n_frames, options.trim)
    fps = options.fps or _shared_rate(result, truth)
    picture, meters = _meters(options, fps, result)
    keeper = ExampleKeeper(options.examples)
    count, size = 0, (0, 0)
    with step("measuring", " frames") as bar:
        for pair in _stream(result, truth, guide, options.trim):
            for meter in meters:
                meter.add(pair)
            keeper.add(pair, picture.last_psnr())
            count, size = pair.index + 1, (pair.result.shape[1], pair.result.shape[0])
            bar(count, max(n_frames, count), pair.result_bytes)
    check_guide(guide, count, options.trim)
    facts = {"result": result.name, "truth": truth.name, "frames": count, "size": list(size), "fps": fps}
    return Evaluation(_measured(meters), _curves(meters), facts, keeper.chosen())


def _shared_rate(result: Clip, truth: Clip) -> float:
    """Frames per second of both, 0 where neither tells. Raises AnchorError where they differ."""
    rates = [clip.fps for clip in (result, truth) if clip.fps]
    if rates and max(rates) > _SAME_RATE * min(rates):
        raise AnchorError(
            f"the result {result.name} has {result.fps:g} frames per second and the truth {truth.name} has"
            f" {truth.fps:g}: bring both to one rate, or give --fps where frame belongs to frame"
        )
    return rates[0] if rates else 0.0


def _meters(options: EvaluateOptions, fps: float, result: Clip) -> tuple[PictureMeter, list[Meter]]:
    """All meters in the order of the table; their networks are loaded here, before the first frame."""
    weights, device = options.weights, options.device
    detector, note = None, ""
    if weights.landmarks is not None:
        detector, note = load_dwpose(weights.landmarks, device.type)
    picture = PictureMeter()
    meters: list[Meter] = [
        picture,
        LpipsMeter(weights.lpips, device),
        FidMeter(weights.inception, device),
        FvdMeter(weights.i3d, device),
        LandmarkMeter(detector, note),
        TimeMeter(options.windows, fps, result.skipped, result.n_frames),
        FaceMeter(),
    ]
    return picture, meters


def _stream(result: Clip, truth: Clip, guide: Guide | None, trim: bool) -> Iterator[Pair]:
    known = None
    for index, (ours, theirs) in enumerate(pairs(result, truth, trim)):
        if known is None:
            known = hints(guide, (ours.shape[1], ours.shape[0]))
        yield Pair.of(index, ours, theirs, next(known, Hint()))


def _measured(meters: list[Meter]) -> tuple[Measurement, ...]:
    return tuple(one for meter in meters for one in meter.measurements())


def _curves(meters: list[Meter]) -> dict[str, Curve]:
    """Curves that have numbers in them; infinite ones (equal frames) do not count as such."""
    found = {key: curve for meter in meters for key, curve in meter.curves().items()}
    return {key: curve for key, curve in found.items() if _has_numbers(curve)}


def _has_numbers(curve: Curve) -> bool:
    return any(math.isfinite(value) for line in curve.values.values() for value in line)
