"""Writes the pictures of one clip: frames, meshes and face crops, a few frames at a time.

The video is decoded once, from the first frame that is not written yet; nothing but the frames at hand is in
memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from ..body.model import BodyModel
from ..errors import AnchorError
from ..face.inpaint import crops_of
from ..face.track import FaceTrack, track_chunks
from ..files import write_png
from ..motion.file import save_motion
from ..motion.motion import Motion
from ..motion.perturb import perturb_motion
from ..progress import Progress
from ..render.mesh import to_bytes
from ..render.motion import render_chunks
from ..video.read import read_picture
from .alignment import AlignmentMeter
from .alignment_picture import draw_alignment
from .crop import cut
from .footage import SLACK, Footage, pictures_in
from .journal import ClipState, Journal
from .lists import picture_name
from .matte import composite, read_mattes
from .plan import ClipPlan
from .recording import PrepareOptions
from .verdict import Alignment

logger = logging.getLogger("anchor")

CHUNK = 16
"""Frames that are drawn, written and noted down together."""
_COMPRESSION = 1  # half of the time of the usual 6 or less, for a seventh more bytes
HEAD = ("head/image", "head/mesh", "head/mask")


@dataclass(frozen=True, eq=False)
class _Frames:
    """Some frames in a row: image, mesh (n, S, S, 3) uint8, perturbed: the same of other meshes; track: their
    faces; matte: (n, S, S) uint8 or None."""

    image: np.ndarray
    mesh: np.ndarray
    perturbed: tuple[np.ndarray, ...]
    track: FaceTrack
    matte: np.ndarray | None


def write_clip(
    plan: ClipPlan,
    folder: Path,
    journal: Journal,
    options: PrepareOptions,
    body: BodyModel,
    progress: Progress | None = None,
) -> Alignment:
    """Write what is missing of a clip and measure how mesh and picture fit; notes down each step.

    Raises AnchorError where the video ends before its motion, and where a picture cannot be written.
    """
    state, motion = journal.begin(plan.name), plan.motion(options)
    if (whole := _whole_frames(folder, state, options)) < state.frames:
        logger.warning("%s: pictures from frame %d on are lost and are made again", plan.name, whole)
        journal.rewind(plan.name, whole)
    meter = AlignmentMeter(size=(options.size, options.size), fps=motion.fps)
    _measure_written(meter, plan, folder, options, state)
    for part in _frames(plan, motion, options, body, state.frames):
        faces = _save(folder, state.first + state.frames, part)
        meter.add(part.image, part.mesh, part.matte)
        journal.wrote(plan.name, len(part.image), [state.frames + face for face in faces])
        if progress is not None:
            progress(state.frames, plan.n_frames, part.image[-1])
    _check_whole(plan, state, options)
    save_motion(motion.sliced(0, state.frames), folder / "motion" / f"{plan.name}.npz")
    alignment = meter.result()
    picture = draw_alignment(alignment, meter.examples(), title=plan.name)
    write_png(folder / "alignment" / f"{plan.name}.png", picture)
    journal.finished(plan.name, alignment.to_dict())
    return alignment


def _frames(
    plan: ClipPlan, motion: Motion, options: PrepareOptions, body: BodyModel, start: int
) -> Iterator[_Frames]:
    """The frames from `start` on; fewer than planned where the video ends early."""
    if start >= plan.n_frames:
        return
    side = options.size
    images = _cut_frames(plan.footage.frames(start, plan.n_frames), plan, side)
    meshes = _meshes(plan, motion, side, body, start)
    seeds = [options.seed * 1000 + k for k in range(1, options.perturbed + 1)]
    others = [_drawn(perturb_motion(motion, seed, options.perturb_amount), body, start) for seed in seeds]
    assert motion.camera is not None  # `ClipPlan.motion` gives it that of the crop
    tracks = track_chunks(motion, body, motion.camera, crop_size=options.head_size, chunk=CHUNK, start=start)
    mattes = _mattes(plan, side, start)
    while len(image := _taken(images)):
        n = len(image)
        matte = None if mattes is None else _taken(mattes)
        if matte is not None:
            _check_mattes(plan, n, matte)
            image = composite(image, matte, options.background)
        yield _Frames(
            image, next(meshes)[:n], tuple(next(other)[:n] for other in others), next(tracks), matte
        )


def _meshes(plan: ClipPlan, motion: Motion, side: int, body: BodyModel, start: int) -> Iterator[np.ndarray]:
    if plan.meshes is None:
        yield from _drawn(motion, body, start)
        return
    files = tuple(pictures_in(plan.meshes))
    given = Footage(plan.meshes, plan.footage.size, plan.footage.fps, len(files), pictures=files)
    pictures = _cut_frames(given.frames(start, plan.n_frames), plan, side, rings=False)
    while len(chunk := _taken(pictures)):
        yield chunk


def _drawn(motion: Motion, body: BodyModel, start: int) -> Iterator[np.ndarray]:
    """Mesh renders (n, S, S, 3) uint8 of the frames from `start` on, CHUNK at a time."""
    assert motion.camera is not None
    rest = motion.sliced(start)
    for part in render_chunks(rest, body, motion.camera, chunk=CHUNK):
        yield to_bytes(part.image)


def _cut_frames(
    frames: Iterator[np.ndarray], plan: ClipPlan, side: int, rings: bool = True
) -> Iterator[np.ndarray]:
    for frame in frames:
        _check_size(plan, frame)
        yield cut(frame, plan.crop, side, rings)


def _mattes(plan: ClipPlan, side: int, start: int) -> Iterator[np.ndarray] | None:
    if plan.recording.matte is None:
        return None
    footage = plan.footage
    rate = None if footage.steady else footage.fps
    mattes = read_mattes(plan.recording.matte, footage.size, start, plan.n_frames, rate)
    return (cut(matte, plan.crop, side, rings=False) for matte in mattes)


def _taken(pictures: Iterator[np.ndarray]) -> np.ndarray:
    """The next pictures in one array, at most CHUNK; empty at the end."""
    found = list(islice(pictures, CHUNK))
    return np.stack(found) if found else np.zeros((0, 1, 1, 3), np.uint8)


def _save(folder: Path, first: int, part: _Frames) -> list[int]:
    """Write the pictures; returns the places in `part` of the frames with a face crop."""
    names = _body_folders(len(part.perturbed))
    for name, pictures in zip(names, (part.image, part.mesh, *part.perturbed), strict=True):
        for place, picture in enumerate(pictures):
            write_png(folder / picture_name(name, first + place), picture, _COMPRESSION)
    faces = [face for face in part.track.visible.tolist() if face < len(part.image)]
    if faces:
        crops = to_bytes(crops_of(torch.from_numpy(part.image), part.track, torch.tensor(faces)))
        for crop, face in zip(crops, faces, strict=True):
            # Masks of the pack say what to paint, files what to keep: as published.
            parts = (crop, part.track.mesh[face].numpy(), 255 - part.track.mask[face].numpy())
            for name, picture in zip(HEAD, parts, strict=True):
                write_png(folder / picture_name(name, first + face), picture, _COMPRESSION)
    return faces


def _whole_frames(folder: Path, state: ClipState, options: PrepareOptions) -> int:
    """Frames whose pictures are there: a power cut can leave the last ones empty."""
    bodies = _body_folders(options.perturbed)
    faces = set(state.faces)
    for frame in range(state.frames):
        names = (*bodies, *HEAD) if frame in faces else bodies
        files = (folder / picture_name(name, state.first + frame) for name in names)
        if not all(file.is_file() and file.stat().st_size for file in files):
            return frame // CHUNK * CHUNK
    return state.frames


def _body_folders(perturbed: int) -> tuple[str, ...]:
    return ("image", "mesh", *(f"mesh_{k}" for k in range(1, perturbed + 1)))


def _measure_written(
    meter: AlignmentMeter, plan: ClipPlan, folder: Path, options: PrepareOptions, state: ClipState
) -> None:
    """What an earlier run wrote, read back."""
    mattes = _mattes(plan, options.size, 0) if state.frames else None
    for start in range(0, state.frames, CHUNK):
        numbers = range(state.first + start, state.first + min(start + CHUNK, state.frames))
        image, mesh = (
            np.stack([read_picture(folder / picture_name(name, number)) for number in numbers])
            for name in ("image", "mesh")
        )
        meter.add(image, mesh, None if mattes is None else np.stack(list(islice(mattes, len(numbers)))))


def _check_size(plan: ClipPlan, frame: np.ndarray) -> None:
    if frame.shape[1::-1] != plan.footage.size:
        got, need = frame.shape[1::-1], plan.footage.size
        raise AnchorError(
            f"{plan.footage.path} has a frame of {got[0]} x {got[1]} pixels, the others have {need[0]} x "
            f"{need[1]}: convert it to one size."
        )


def _check_mattes(plan: ClipPlan, n_frames: int, matte: np.ndarray) -> None:
    if len(matte) < n_frames:
        raise AnchorError(
            f"the matte {plan.recording.matte} ends before {plan.footage.path.name}, which goes on: give one "
            "matte per frame."
        )


def _check_whole(plan: ClipPlan, state: ClipState, options: PrepareOptions) -> None:
    missing = plan.n_frames - state.frames
    if not state.frames:
        raise AnchorError(f"{plan.footage.path.name} holds no frame that can be read: give a whole video.")
    if missing > SLACK and not options.trim:
        raise AnchorError(
            f"{plan.footage.path.name} ends after {state.frames} of {plan.n_frames} frames, it is cut off: "
            "give the whole video, or trim (--trim) to use what is there; what is written is kept."
        )
