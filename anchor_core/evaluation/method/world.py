"""The synthetic world of the benchmark: films of many people, of the test people, and held-out clips.

Meshes come from jittering estimates, and the frames hold what no mesh tells and what lasts (tie, hair,
folds, light: `demo.nuisance`), without which temporal denoising would have nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...body.model import standin_body
from ...demo.dataset import (
    CARD,
    HELD_OUT_SEED,
    MANIFEST,
    Clip,
    DatasetSettings,
    clip_motion,
    render_clip,
    write_dataset,
)
from ...demo.faces import FOLDER as FACE_FOLDER
from ...demo.faces import BodyPass, write_faces
from ...files import atomic_path
from ...motion.camera import Camera, default_camera
from ...motion.perturb import perturb_motion
from ...progress import Progress, StepFactory
from ...render.mesh import to_bytes
from ...render.motion import render_motion
from ...training.data import Pictures, load_pictures
from ..held_out import HeldOutClip
from .scale import FILM_FPS, FPS, MethodScale
from .stages import once

PEOPLE = "people"
FILMS, CLIPS, PERTURBED = "film", "clips", "perturbed.npy"
_PERTURBED_SEED = 7_000_000


def film_world(out: Path, scale: MethodScale, seed: int, step: StepFactory) -> None:
    """Film everybody, perturb the meshes of the test people, cut all faces, and film the held-out clips."""
    jobs = {PEOPLE: (list(scale.people_ids), scale.people * scale.people_frames)}
    jobs |= {film_name(person): ([person], scale.anchor_frames) for person in scale.anchor_ids}
    for name, (people, n_frames) in jobs.items():
        folder = out / FILMS / name
        with step(f"filming {name}", " frames") as bar:
            once(folder, partial(_film, folder, people, n_frames, seed, scale, bar))
    for person in scale.anchor_ids:
        folder = out / FILMS / film_name(person)
        once(folder / "perturbed", partial(write_perturbed, folder, scale))
    with step("filming held-out clips", " clips") as bar:
        once(out / CLIPS, partial(_film_clips, out / CLIPS, scale, bar))


def _film(
    folder: Path, people: list[int], n_frames: int, seed: int, scale: MethodScale, progress: Progress
) -> None:
    """A film and the true faces in it."""
    settings = DatasetSettings(scale.size, FILM_FPS, clip_frames=scale.film_frames, workers=scale.workers)
    write_dataset(folder, people, n_frames, seed=seed, settings=settings, progress=progress)
    write_faces(folder, scale.crop_size, torch.zeros_like)


def film_name(person: int) -> str:
    """Folder of a test person's film."""
    return f"anchor_{person}"


def frames_of(out: Path, name: str) -> Pictures:
    """The pictures of a film."""
    return load_pictures(out / FILMS / name / MANIFEST)


def faces_of(out: Path, name: str) -> Pictures:
    """The aligned faces of a film."""
    return load_pictures(out / FILMS / name / FACE_FOLDER / MANIFEST)


def cut_faces(out: Path, name: str, scale: MethodScale, body_pass: BodyPass) -> Pictures:
    """The aligned faces of a film in the frames of a body pass."""
    return load_pictures(write_faces(out / FILMS / name, scale.crop_size, body_pass))


def film_clips_of(folder: Path) -> Iterator[tuple[Clip, DatasetSettings]]:
    """What a film consists of, as its card says."""
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    settings = DatasetSettings(card["size"], card["fps"], nuisance=card["nuisance"], jitter=card["jitter"])
    for entry in card["clips"]:
        yield Clip(**entry), settings


def write_perturbed(folder: Path, scale: MethodScale) -> None:
    """Write (N, K, H, W, 3) uint8: the meshes of a film again, from its estimates with further errors."""
    camera = Camera.from_dict(json.loads((folder / CARD).read_text(encoding="utf-8"))["camera"])
    parts = []
    for clip, settings in film_clips_of(folder):
        _, estimate = clip_motion(clip, settings)
        seeds = [_PERTURBED_SEED + 1000 * number + clip.motion_seed for number in range(scale.perturbed)]
        motions = [perturb_motion(estimate, one, scale.perturbation_amount) for one in seeds]
        renders = [to_bytes(render_motion(motion, standin_body(), camera).image) for motion in motions]
        parts.append(np.stack(renders, axis=1))
    with atomic_path(folder / PERTURBED) as partial:
        np.save(partial, np.concatenate(parts))


def perturbed_meshes(out: Path, name: str) -> Tensor:
    """(N, K, 3, H, W) uint8 of a test person's film."""
    return torch.from_numpy(np.load(out / FILMS / name / PERTURBED)).permute(0, 1, 4, 2, 3).contiguous()


def clip_names(scale: MethodScale) -> list[tuple[int, int]]:
    """(person, number) of the held-out clips."""
    return [(person, number) for person in scale.anchor_ids for number in range(scale.clips)]


def held_out_clip(
    out: Path, scale: MethodScale, person: int, number: int, jitter: float = 1.0
) -> HeldOutClip:
    """A clip of a test person in motion that nothing was trained on; jitter: of its estimate."""
    clip, settings = _plan(scale, person, number)
    motion, estimate = clip_motion(clip, replace(settings, jitter=jitter))
    with np.load(out / CLIPS / f"{person}_{number}.npz") as file:
        mesh, truth = (torch.from_numpy(file[name]) for name in ("mesh", "truth"))
    if jitter != settings.jitter:
        camera = default_camera(scale.size, scale.size)
        mesh = torch.from_numpy(to_bytes(render_motion(estimate, standin_body(), camera).image))
    return HeldOutClip(mesh, truth, motion, estimate)


def _plan(scale: MethodScale, person: int, number: int) -> tuple[Clip, DatasetSettings]:
    clip = Clip(person, HELD_OUT_SEED + 1000 * person + number, 0, scale.clip_frames)
    return clip, DatasetSettings(scale.size, FPS)


def _film_clips(folder: Path, scale: MethodScale, progress: Progress) -> None:
    names = clip_names(scale)
    for done, (person, number) in enumerate(names):
        mesh, truth, _ = render_clip(*_plan(scale, person, number))
        with atomic_path(folder / f"{person}_{number}.npz") as partial:
            np.savez_compressed(partial, mesh=to_bytes(mesh), truth=to_bytes(truth))
        progress(done + 1, len(names), None)
