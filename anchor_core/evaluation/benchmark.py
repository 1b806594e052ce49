"""Measures an anchor of the demo world on motion that it never saw, ingredient by ingredient.

    python -m anchor_core benchmark --frames 48 --out benchmark.json
    python -m anchor_core benchmark --stage face

The demo world is synthetic, so the true frames of any motion can be filmed again from a seed: no data set
is shipped. Times are CPU seconds of the process, which other jobs on the machine do not change.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor
from torch.nn import functional

from ..anchor.file import Anchor
from ..anchor.use import sampler_settings
from ..errors import AnchorError
from ..face.passes import face_of
from ..progress import Progress, StepFactory, silent_step
from ..sampling.sampler import SamplerSettings
from ..sgdm.vae import decode_frames, encode_frames
from .experiments import EXPERIMENTS, Experiment, prepared
from .face_experiments import ANCHORS_OWN, FACE_EXPERIMENTS, WITHOUT, FaceExperiment
from .faces import FACE_COLUMNS, FaceRow, film_scene, measure_faces
from .held_out import HeldOutClip, film, film_held_out, load_demo_anchor
from .metrics import acceleration_ratio, background_deviation, flicker, psnr, ssim
from .steadiness import Windows, window_borders
from .tables import Columns, table, write_json

logger = logging.getLogger("anchor")

Stage = Literal["body", "face", "all"]

COLUMNS: Columns = (
    ("PSNR dB", 2),
    ("on the person", 2),
    ("SSIM", 4),
    ("flicker", 2),
    ("at seams", 2),
    ("acceleration", 2),
    ("background", 2),
    ("CPU s", 1),
)


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
    *,
    stage: Stage = "all",
    face_experiments: Sequence[FaceExperiment] = FACE_EXPERIMENTS,
) -> str:
    """Run all experiments on the held-out clip; returns a table per stage, and writes them as JSON to `out`.

    The meshes jitter as those of a real estimator do. stage: "all" leaves the face out where the anchor has
    no network for it. Raises AnchorError for an anchor without a VAE or vision tower of its own, as it is
    none of the demo world, and for the stage "face" where the anchor has none.
    """
    step = step or silent_step
    anchor = load_demo_anchor(anchor_path)
    face = _face_wanted(anchor, stage)
    clip = film_held_out(anchor, n_frames)
    rows: dict[str, list[Any]] = {"rows": []}
    texts = []
    if stage != "face":
        rows["rows"] = body_rows(anchor, clip, experiments, step)
        texts.append(table(rows["rows"], COLUMNS))
    if face:
        rows["face_rows"] = measure_faces(film_scene(anchor, clip, step), face_experiments, step)
        texts.append(table(rows["face_rows"], FACE_COLUMNS))
    if out is not None:
        write_json(out, rows, anchor, n_frames)
    return "\n\n".join(texts)


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


def face_rows(anchor_path: str | Path, n_frames: int = 48, step: StepFactory | None = None) -> list[FaceRow]:
    """The held-out clip without the face pass, and with it as the anchor wants it, on jittering meshes.

    Raises AnchorError for an anchor without a face network.
    """
    step, anchor = step or silent_step, load_demo_anchor(anchor_path)
    face_of(anchor)
    scene = film_scene(anchor, film_held_out(anchor, n_frames), step)
    return measure_faces(scene, (WITHOUT, ANCHORS_OWN), step)


def body_rows(
    anchor: Anchor, clip: HeldOutClip, experiments: Sequence[Experiment], step: StepFactory
) -> list[Row]:
    """The VAE's own limit, and a row per experiment."""
    rows = [vae_ceiling(anchor, clip)]
    for experiment in experiments:
        with step(experiment.name, " windows") as bar:
            rows.append(measure(anchor, clip, experiment, bar))
    return rows


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
    seams = window_borders(len(frames), Windows(settings.window_size, settings.overlap, settings.schedule))
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


def _face_wanted(anchor: Anchor, stage: Stage) -> bool:
    """Whether there is a face stage to measure; AnchorError where it is asked for and cannot be."""
    if stage not in get_args(Stage):
        raise AnchorError(f"the stage is {stage!r}: need one of {', '.join(get_args(Stage))}")
    if stage == "face":
        face_of(anchor)
    elif stage == "all" and anchor.face is None:
        logger.info("'%s' has no face network: only its body is measured", anchor.card.name)
    return stage != "body" and anchor.face is not None
