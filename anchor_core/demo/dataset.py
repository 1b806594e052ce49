"""Writes the demo world to disk: mesh conditions, frames, and a manifest that the trainer reads.

A folder holds `mesh/` and `frame/` with one PNG per frame, `manifest.jsonl` with one
{"source": mesh, "target": frame, "reference": another frame of the person, "person": seed, "clip": number}
per line (paths relative to the manifest), and `card.json` with seed, camera, people and clips.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import AnchorError
from ..files import atomic_path, write_png
from ..motion.camera import default_camera
from ..motion.motion import Motion
from ..motion.perturb import perturb_motion
from ..progress import Progress
from ..render.mesh import to_bytes
from .gestures import make_motion
from .identity import make_identity
from .nuisance import make_nuisance

logger = logging.getLogger("anchor")

MANIFEST, CARD = "manifest.jsonl", "card.json"
HELD_OUT_SEED = 900_000
"""Motion seeds from here on are never used for training."""
_NEUTRAL_FRAMES = 8  # candidates for a person's reference: the frames nearest to a calm, frontal face


@dataclass(frozen=True)
class Clip:
    """One continuous shot of one person."""

    person: int
    motion_seed: int
    first: int  # number of its first frame in the folder
    n_frames: int


@dataclass(frozen=True)
class DatasetSettings:
    """size: side of the square pictures, pixels. nuisance, jitter: 1 is the demo world, 0 a world without."""

    size: int = 192
    fps: float = 25.0
    clip_frames: int = 125
    nuisance: float = 1.0
    jitter: float = 1.0
    workers: int = 1


def write_dataset(
    folder: str | os.PathLike[str],
    identities: Sequence[int],
    n_frames: int,
    size: int = 192,
    seed: int = 0,
    *,
    settings: DatasetSettings | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write `n_frames` pairs, shared out among people (seeds of `make_identity`); returns the manifest.

    The same arguments give the same files, whatever the number of workers. Motion of a seed at or above
    HELD_OUT_SEED is the test world: pass such a seed to write a held-out clip.
    """
    settings = settings or DatasetSettings(size=size)
    _check_request(identities, n_frames, settings)
    root = Path(folder)
    for name in ("mesh", "frame"):
        (root / name).mkdir(parents=True, exist_ok=True)
    clips = plan_clips(identities, n_frames, settings.clip_frames, seed)
    calm: list[list[int]] = []
    for done, frames in enumerate(_render_all(root, clips, settings)):
        calm.append(frames)
        if progress is not None:
            progress(clips[done].first + clips[done].n_frames, n_frames, None)
    _write_manifest(root, clips, calm, seed)
    _write_card(root, clips, seed, settings)
    return root / MANIFEST


def plan_clips(identities: Sequence[int], n_frames: int, clip_frames: int, seed: int) -> list[Clip]:
    """Equal shares of frames per person, in clips of at most `clip_frames` with motions of their own."""
    clips: list[Clip] = []
    first = 0
    shares = np.diff(np.linspace(0, n_frames, len(identities) + 1).round().astype(int))
    for person, share in zip(identities, shares, strict=True):
        for number, start in enumerate(range(0, int(share), clip_frames)):
            length = min(clip_frames, int(share) - start)
            clips.append(Clip(int(person), seed + 1000 * int(person) + number, first, length))
            first += length
    return clips


def render_clip(clip: Clip, settings: DatasetSettings) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Mesh conditions and frames (F, H, W, 3) in [0, 1], and the numbers of the calm frames, best first."""
    from ..body.model import standin_body
    from ..render.motion import render_motion
    from .presenter import Presenter

    camera = default_camera(settings.size, settings.size)
    motion, estimate = clip_motion(clip, settings)
    nuisance = make_nuisance(motion, clip.motion_seed, settings.nuisance)
    frames = Presenter(make_identity(clip.person)).render(motion, nuisance, camera)
    meshes = render_motion(estimate, standin_body(), camera).image
    turn = np.abs(motion.pose[:, [12, 15]]).sum(axis=(1, 2)) + motion.expression[:, [8, 9]].sum(axis=1)
    calm = np.argsort(turn + motion.pose[:, 22, 0], kind="stable")[:_NEUTRAL_FRAMES]
    return meshes, frames, [int(frame) for frame in calm]


def clip_motion(clip: Clip, settings: DatasetSettings) -> tuple[Motion, Motion]:
    """What the person of a clip does, and what an estimator reads of it: where meshes come from."""
    motion = make_motion(clip.motion_seed, clip.n_frames, settings.fps)
    motion = replace(motion, betas=np.array(make_identity(clip.person).betas, np.float32))
    return motion, perturb_motion(motion, clip.motion_seed, settings.jitter)


def _check_request(identities: Sequence[int], n_frames: int, settings: DatasetSettings) -> None:
    if not identities:
        raise AnchorError("The data set got no identity: give at least one seed of a person.")
    if n_frames < 2 * len(identities):
        raise AnchorError(
            f"The data set got {n_frames} frames for {len(identities)} people: give at least two per person."
        )
    if settings.size < 32 or settings.size % 8:
        raise AnchorError(
            f"The data set got pictures of {settings.size} px: give a multiple of 8, 32 or more."
        )


def _render_all(root: Path, clips: list[Clip], settings: DatasetSettings) -> Any:
    """Render and write the clips, in this process or in several; yields the calm frames of each, in order."""
    jobs = [(root, clip, settings) for clip in clips]
    if settings.workers <= 1:
        yield from map(_write_clip, jobs)
        return
    # Spawned, not forked: the parent may hold threads of torch.
    with ProcessPoolExecutor(settings.workers, get_context("spawn"), _one_thread) as pool:
        yield from pool.map(_write_clip, jobs)


def _one_thread() -> None:
    torch.set_num_threads(1)


def _write_clip(job: tuple[Path, Clip, DatasetSettings]) -> list[int]:
    root, clip, settings = job
    meshes, frames, calm = render_clip(clip, settings)
    for name, pictures in (("mesh", meshes), ("frame", frames)):
        for number, picture in enumerate(to_bytes(pictures)):
            write_png(root / name / f"{clip.first + number:06d}.png", picture, compress_level=1)
    return calm


def _write_manifest(root: Path, clips: list[Clip], calm: list[list[int]], seed: int) -> None:
    """One line per frame; its reference is a calm frame of the same person, never the frame itself."""
    rng = np.random.default_rng([seed, 555])
    pools: dict[int, list[int]] = {}
    for clip, frames in zip(clips, calm, strict=True):
        pools.setdefault(clip.person, []).extend(clip.first + frame for frame in frames)
    with atomic_path(root / MANIFEST) as partial, partial.open("w", encoding="utf-8") as handle:
        for number, clip in enumerate(clips):
            for frame in range(clip.first, clip.first + clip.n_frames):
                others = [other for other in pools[clip.person] if other != frame]
                reference = int(rng.choice(others))
                row = {
                    "source": f"mesh/{frame:06d}.png",
                    "target": f"frame/{frame:06d}.png",
                    "reference": f"frame/{reference:06d}.png",
                    "person": clip.person,
                    "clip": number,
                }
                handle.write(json.dumps(row) + "\n")


def _write_card(root: Path, clips: list[Clip], seed: int, settings: DatasetSettings) -> None:
    people = sorted({clip.person for clip in clips})
    card = {
        "seed": seed,
        "held_out": seed >= HELD_OUT_SEED,
        "size": settings.size,
        "fps": settings.fps,
        "camera": default_camera(settings.size, settings.size).to_dict(),
        "n_frames": sum(clip.n_frames for clip in clips),
        "identities": [make_identity(person).to_dict() for person in people],
        "clips": [asdict(clip) for clip in clips],
        "nuisance": settings.nuisance,
        "jitter": settings.jitter,
    }
    with atomic_path(root / CARD) as partial:
        partial.write_text(json.dumps(card, indent=1), encoding="utf-8")
