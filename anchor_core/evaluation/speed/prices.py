"""What the approximations cost in quality: each alone, and the presets, on motion that was never trained on.

Beside the truth, each result is compared with what it approximates: the preset `default`, or its like with
guidance where the anchor itself has none. Landmarks are found by DWPose where its weights are given, and
otherwise by a small detector that is trained on the demo world first, in about two minutes. Times are CPU
seconds of the denoising, the least of several rounds in which all rows take turns.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...anchor.card import AnchorCard
from ...anchor.file import Anchor
from ...anchor.use import appearance_tokens, noise_schedule, sampler_settings
from ...demo.dataset import DatasetSettings, write_dataset
from ...progress import StepFactory, count_windows, silent_step
from ...render.mesh import to_bytes
from ...sampling.presets import FAR_KEYS, GUIDANCE, PRESETS, is_distilled, preset_overrides
from ...sampling.sampler import SamplerSettings, sample_latents
from ...sgdm.vae import decode_frames
from ...training.config import LoopConfig
from ...training.data import load_pictures
from ...video.sheet import save_sheet
from ..frechet import FvdMeter
from ..guide import Hint
from ..held_out import HeldOutClip, film_held_out, load_demo_anchor
from ..landmarks import LandmarkMeter, load_dwpose
from ..meter import Meter, Pair
from ..method.points import PointDetector, distances, film_points, find_points, load_detector, train_detector
from ..method.points import true_points as points_of
from ..metrics import flicker, psnr
from ..tables import Columns, table

N_FRAMES = 40
"""Three whole windows of 16 with overlap 4; the published plan has a tail of four frames besides."""
GUIDED = "guidance 2 in all steps"
SHEET = "presets.png"
_FILM_FRAMES, _FILM_SEED = 160, 400_000  # of the detector's training; no network has seen this motion
_DETECTOR = LoopConfig(steps=240, learning_rate=2e-3)

COLUMNS: Columns = (
    ("PSNR dB", 2),
    ("to what it stands for", 1),
    ("flicker", 3),
    ("LMD face px", 2),
    ("LMD body px", 2),
    ("LMD hands px", 2),
    ("FVD", 1),
    ("CPU s", 1),
    ("times as fast", 2),
)


@dataclass(frozen=True)
class Price:
    """settings: where they differ from the card's. beside: the row whose result this one approximates."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    beside: str = "default"


@dataclass(frozen=True)
class PriceRow:
    """One line of the table; see `metrics` for the units, nan where something is not measured.

    approximation: PSNR to the row that it stands for. speed: CPU time of `faithful` over its own.
    """

    name: str
    psnr: float
    approximation: float
    flicker: float
    lmd_face: float
    lmd_body: float
    lmd_hands: float
    fvd: float
    seconds: float
    speed: float


@dataclass(frozen=True)
class PriceWeights:
    """Files of DWPose and I3D; without them, a detector of our own finds landmarks and FVD is left out."""

    landmarks: Path | None = None
    i3d: Path | None = None


def plan_prices(card: AnchorCard) -> list[Price]:
    """The presets, then every approximation alone, as they suit the card."""
    presets = [name for name in PRESETS if name != "distilled" or is_distilled(card)]
    rows = [Price(name, preset_overrides(name, card)) for name in presets]
    rows += [Price(f"far_keys {side}", {"far_keys": side}) for side in (FAR_KEYS, 2 * FAR_KEYS)]
    rows += [Price(f"reuse {every}", {"reuse": every}) for every in (2, 3)]
    if not is_distilled(card):
        for share, solver in ((0.6, "dpm++2m"), (0.4, "dpm++2m"), (0.4, "unipc"), (0.4, "ddim")):
            steps = max(2, math.ceil(card.steps * share))
            rows.append(Price(f"{steps} steps of {solver}", {"steps": steps, "scheduler": solver}))
    rows.append(Price("windows of 8, overlap 2", {"window_size": 8, "overlap": 2}))
    return rows + _guidance_rows(card)


def _guidance_rows(card: AnchorCard) -> list[Price]:
    """Guidance in the middle steps alone; for anchors without guidance, beside a like with some."""
    name = "guidance in {guidance_start:.0%} to {guidance_end:.0%} of the steps".format(**GUIDANCE)
    if card.guidance_scale > 1:
        return [Price(name, dict(GUIDANCE))]
    guided = {"guidance_scale": 2.0}
    return [Price(GUIDED, guided), Price(f"guidance 2, {name[9:]}", {**guided, **GUIDANCE}, GUIDED)]


def measure_prices(
    anchor_path: str | Path,
    n_frames: int = N_FRAMES,
    *,
    prices: Sequence[Price] | None = None,
    weights: PriceWeights | None = None,
    out: Path | None = None,
    rounds: int = 2,
    step: StepFactory | None = None,
) -> list[PriceRow]:
    """Render the held-out clip in all ways, measure, and give a row for each.

    prices: rows, `faithful` and `default` among them. out: a folder for a contact sheet of the presets.
    Raises AnchorError for an anchor that is not of the demo world.
    """
    step = step or silent_step
    anchor = load_demo_anchor(anchor_path)
    prices = plan_prices(anchor.card) if prices is None else list(prices)
    clip = film_held_out(anchor, n_frames)
    judge = _Judge(anchor, clip, weights or PriceWeights(), step)
    latents, seconds = _render(anchor, clip, prices, rounds, step)
    frames = {name: decode_frames(anchor.vae, made) for name, made in latents.items()}
    rows = []
    with step("measuring", " rows") as bar:
        for price in prices:
            row = judge.row(price, frames[price.name], frames[price.beside])
            spent = seconds[price.name]
            rows.append(replace(row, seconds=spent, speed=seconds["faithful"] / spent))
            bar(len(rows), len(prices), None)
    if out is not None:
        _save_sheet(out / SHEET, clip, frames)
    return rows


def price_table(rows: Sequence[PriceRow], weights: PriceWeights | None = None) -> str:
    """The rows as Markdown, and what their columns mean where it depends on what was given."""
    weights = weights or PriceWeights()
    notes = ["LMD by DWPose" if weights.landmarks else "LMD by a detector trained on the demo world"]
    if weights.i3d is None:
        notes.append("FVD left out: no weights given (--i3d FILE)")
    return table(rows, COLUMNS) + f"\n\n{'; '.join(notes)}."


def _render(
    anchor: Anchor, clip: HeldOutClip, prices: Sequence[Price], rounds: int, step: StepFactory
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Latents of each row, and the least CPU seconds that they took."""
    assert anchor.body is not None  # `load_demo_anchor` has seen it
    body, (tokens, null) = anchor.body.eval(), appearance_tokens(anchor)
    schedule = noise_schedule(anchor.card)
    latents: dict[str, Tensor] = {}
    seconds: dict[str, float] = {}
    for number in range(rounds):
        for price in prices:
            settings: SamplerSettings = sampler_settings(anchor.card, **price.settings)
            with step(f"{price.name}, {number + 1} of {rounds}", " windows") as bar:
                started = time.process_time()
                made = sample_latents(
                    body, clip.mesh, tokens, null, settings, schedule, callback=count_windows(bar)
                )
                spent = time.process_time() - started
            latents[price.name] = made
            seconds[price.name] = min(spent, seconds.get(price.name, math.inf))
    return latents, seconds


class _Judge:
    """Measures results against the truth of a clip."""

    def __init__(self, anchor: Anchor, clip: HeldOutClip, weights: PriceWeights, step: StepFactory) -> None:
        self._clip, self._weights = clip, weights
        self._truth = clip.truth.float() / 255
        self._size = anchor.card.resolution[0]
        self._known = points_of(clip.motion, self._size)
        self._detector: PointDetector | None = None
        if weights.landmarks is None:
            self._detector = _own_detector(anchor, step)
            self._found = find_points(self._detector, self._truth, "cpu")

    def row(self, price: Price, frames: Tensor, beside: Tensor) -> PriceRow:
        """All numbers but the times."""
        near = psnr(frames, beside)
        found = self._measured(frames)
        return PriceRow(
            price.name,
            psnr=psnr(frames, self._truth),
            approximation=math.nan if math.isinf(near) else near,
            flicker=flicker(frames, self._truth),
            **{name: found.get(name, math.nan) for name in ("lmd_face", "lmd_body", "lmd_hands", "fvd")},
            seconds=math.nan,
            speed=math.nan,
        )

    def _measured(self, frames: Tensor) -> dict[str, float]:
        found: dict[str, float] = {}
        meters: list[Meter] = []
        if self._detector is not None:
            points = find_points(self._detector, frames, "cpu")
            found |= distances(points, self._found, self._known, self._size)
        elif self._weights.landmarks is not None:
            meters.append(LandmarkMeter(*load_dwpose(self._weights.landmarks)))
        if self._weights.i3d is not None:
            meters.append(FvdMeter(self._weights.i3d, torch.device("cpu")))
        if meters:
            rows = zip(to_bytes(frames), self._clip.truth.numpy(), self._clip.mesh.numpy(), strict=True)
            for index, (result, truth, mesh) in enumerate(rows):
                for meter in meters:
                    meter.add(Pair.of(index, result, truth, Hint(mesh)))
        return found | {one.key: one.value for meter in meters for one in meter.measurements()}


def _own_detector(anchor: Anchor, step: StepFactory) -> PointDetector:
    """A detector of the demo presenter's landmarks, on other motion than the clip's."""
    card = anchor.card
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = DatasetSettings(card.resolution[0], card.fps / 2, clip_frames=20)
        with step("filming for the landmarks", " frames") as bar:
            manifest = write_dataset(
                folder / "film", (0,), _FILM_FRAMES, seed=_FILM_SEED, settings=settings, progress=bar
            )
        frames, points = load_pictures(manifest).target, film_points(folder / "film", card.resolution[0])
        with step("training the landmarks", " steps") as bar:
            return load_detector(train_detector(frames, points, anchor.vae, _DETECTOR, folder, bar), "cpu")


def _save_sheet(path: Path, clip: HeldOutClip, frames: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    presets = {name: to_bytes(frames[name]) for name in PRESETS if name in frames}
    rows = {"truth": clip.truth.numpy(), **presets}
    save_sheet(path, rows, n_columns=5, tile_width=2 * clip.truth.shape[2])
