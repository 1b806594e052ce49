"""Measures an anchor of the demo world on motion that it never saw, ingredient by ingredient.

    python -m anchor_core benchmark --frames 48 --out benchmark.json

The demo world is synthetic, so the true frames of any motion can be filmed again from a seed: no data set
is shipped. Times are CPU seconds of the process, which other jobs on the machine do not change.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..anchor.file import Anchor, load_anchor
from ..anchor.use import appearance_tokens, noise_schedule, sampler_settings
from ..errors import AnchorError
from ..files import atomic_path
from ..progress import Progress, StepFactory, count_windows, silent_step
from ..render.mesh import to_bytes
from ..sampling.sampler import SamplerSettings, sample_latents
from ..sampling.windows import plan_windows
from ..sgdm.network import SGDM
from ..sgdm.vae import decode_frames, encode_frames
from .experiments import EXPERIMENTS, Experiment, prepared
from .metrics import acceleration_ratio, background_deviation, flicker, psnr, ssim

DIGITS = (2, 2, 4, 2, 2, 2, 2, 1)
"""Decimals of the columns of the table."""


@dataclass(frozen=True)
class HeldOutClip:
    """Motion that was not trained on: mesh renders and true frames, (F, H, W, 3) uint8."""

    mesh: Tensor
    truth: Tensor


@dataclass(frozen=True)
class Row:
    """One line of the table; see `metrics` for the units.

    psnr_person: PSNR on the pixels of the mesh. seams: flicker between frames that different windows made.
    """

    name: str
    psnr: float
    psnr_person: float
    ssim: float
    flicker: float
    seams: float
    acceleration: float
    background: float
    seconds: float


def benchmark_demo(
    anchor_path: str | Path,
    n_frames: int = 48,
    out: Path | None = None,
    experiments: Sequence[Experiment] = EXPERIMENTS,
    step: StepFactory | None = None,
) -> str:
    """Run all experiments on the held-out clip; returns the table, and writes it as JSON to `out`.

    The meshes jitter as those of a real estimator do. Raises AnchorError for an anchor without a VAE or
    vision tower of its own: it is none of the demo world.
    """
    if n_frames < 2:
        raise AnchorError(f"the held-out clip has {n_frames} frames: need 2 or more, to measure flicker")
    anchor = load_demo_anchor(anchor_path)
    clip = film_held_out(anchor, n_frames)
    rows = [vae_ceiling(anchor, clip)]
    for experiment in experiments:
        with (step or silent_step)(experiment.name, " windows") as bar:
            rows.append(measure(anchor, clip, experiment, bar))
    if out is not None:
        write_json(out, rows, anchor, n_frames)
    return table(rows)


def held_out_rows(anchor_path: str | Path, n_frames: int = 48, step: StepFactory | None = None) -> list[Row]:
    """The VAE's own limit, and the anchor's settings on clean and on jittering meshes."""
    anchor = load_demo_anchor(anchor_path)
    clips = {
        "clean meshes": film_held_out(anchor, n_frames, 0.0),
        "jittering meshes": film_held_out(anchor, n_frames),
    }
    rows = [vae_ceiling(anchor, clips["clean meshes"])]
    for name, clip in clips.items():
        with (step or silent_step)(name, " windows") as bar:
            rows.append(measure(anchor, clip, Experiment(name), bar))
    return rows


def load_demo_anchor(path: str | Path) -> Anchor:
    """An anchor with VAE and tower of its own, as those of the demo world are."""
    anchor = load_anchor(path)
    if anchor.vae is None or anchor.vision is None or anchor.body is None:
        raise AnchorError(
            f"'{anchor.card.name}' has no VAE and vision tower of its own, so it is not of the demo world,"
            " whose test motion is needed here; choose the demo anchor"
        )
    return anchor


def film_held_out(anchor: Anchor, n_frames: int, jitter: float = 1.0) -> HeldOutClip:
    """Film the held-out motion at the size of the anchor."""
    from ..demo.dataset import HELD_OUT_SEED, Clip, DatasetSettings, render_clip

    card = anchor.card
    settings = DatasetSettings(size=card.resolution[0], fps=card.fps, jitter=jitter)
    mesh, truth, _ = render_clip(Clip(0, HELD_OUT_SEED, 0, n_frames), settings)
    return HeldOutClip(*(torch.from_numpy(to_bytes(frames)) for frames in (mesh, truth)))


def film(
    anchor: Anchor,
    sgdm: SGDM,
    mesh: Tensor,
    settings: SamplerSettings,
    progress: Progress | None = None,
) -> Tensor:
    """Frames for mesh renders: (F, H, W, 3) in, float [0, 1] of the same shape out."""
    appearance, null = appearance_tokens(anchor)
    schedule = noise_schedule(anchor.card)
    callback = count_windows(progress)
    latents = sample_latents(sgdm, mesh, appearance, null, settings, schedule, callback=callback)
    return decode_frames(anchor.vae, latents)


def measure(
    anchor: Anchor, clip: HeldOutClip, experiment: Experiment, progress: Progress | None = None
) -> Row:
    """One row: sample the clip as the experiment says and compare with the truth."""
    settings = sampler_settings(anchor.card, **experiment.settings)
    started = time.process_time()
    with prepared(anchor.body, experiment) as sgdm:
        frames = film(anchor, sgdm, clip.mesh, settings, progress)
    row = compare(experiment.name, frames, clip, time.process_time() - started)
    return replace(row, seams=seam_flicker(frames, clip, settings))


def seam_flicker(frames: Tensor, clip: HeldOutClip, settings: SamplerSettings) -> float:
    """Flicker between neighbouring frames that different windows made; nan where there are none."""
    windows = plan_windows(len(frames), settings.window_size, settings.overlap, settings.schedule)
    members = [[frame in window for window in windows] for frame in range(len(frames))]
    seams = [t for t in range(len(frames) - 1) if members[t] != members[t + 1]]
    truth = clip.truth.float() / 255
    values = [flicker(frames[t : t + 2], truth[t : t + 2]) for t in seams]
    return sum(values) / len(values) if values else math.nan


def vae_ceiling(anchor: Anchor, clip: HeldOutClip) -> Row:
    """What the VAE makes of the true frames: no denoiser behind it can do better."""
    started = time.process_time()
    frames = decode_frames(anchor.vae, encode_frames(anchor.vae, clip.truth))
    return compare(
        "VAE ceiling (true frames, encoded and decoded)", frames, clip, time.process_time() - started
    )


def compare(name: str, frames: Tensor, clip: HeldOutClip, seconds: float) -> Row:
    """All metrics of a result."""
    truth = clip.truth.float() / 255
    return Row(
        name,
        psnr=psnr(frames, truth),
        psnr_person=psnr(frames, truth, (clip.mesh > 0).any(dim=-1)),
        ssim=ssim(frames, truth),
        flicker=flicker(frames, truth),
        seams=math.nan,
        acceleration=acceleration_ratio(frames, truth),
        background=background_deviation(frames, truth, uncovered(clip.mesh)),
        seconds=seconds,
    )


def uncovered(mesh: Tensor) -> Tensor:
    """(H, W) bool: pixels that the person, with clothes and hair, covers in no frame of (F, H, W, 3)."""
    covered = (mesh > 0).any(dim=-1).any(dim=0).float()
    margin = max(1, mesh.shape[1] // 12)  # clothes and hair stand out this far from the mesh
    grown = functional.max_pool2d(covered[None, None], 2 * margin + 1, stride=1, padding=margin)[0, 0]
    return grown == 0


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| | PSNR dB | on the person | SSIM | flicker | at seams | acceleration | background | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        _, *numbers = asdict(row).values()
        cells = ["–" if math.isnan(n) else f"{n:.{d}f}" for n, d in zip(numbers, DIGITS, strict=True)]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_json(path: Path, rows: Sequence[Row], anchor: Anchor, n_frames: int) -> None:
    """The rows with what they were measured on."""
    facts = {
        "anchor": anchor.card.name,
        "frames": n_frames,
        "resolution": anchor.card.resolution,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "rows": [plain(row) for row in rows],
    }
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def plain(row: Row) -> dict[str, Any]:
    """The row for JSON, which knows no nan."""
    return {key: None if value != value else value for key, value in asdict(row).items()}
