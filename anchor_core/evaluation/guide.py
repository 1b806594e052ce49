"""What the motion tells about each frame of a result: its mesh, and where its face is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from ..body.model import BodyModel
from ..errors import AnchorError
from ..face.track import TrackOptions, track_motion
from ..motion.motion import Motion
from ..render.mesh import to_bytes
from ..render.motion import fit_camera, render_chunks
from .frames import Clip

CROP = 128
"""Side of the face crops that are compared: about what a face has in frames of 512 pixels."""
_CHUNK = 16


@dataclass(frozen=True, eq=False)
class Guide:
    """motion: frame by frame that of the result, with the camera that shows it; None where there is none.

    body: of the motion. meshes: renders that lie there already; else they are drawn from the motion.
    """

    motion: Motion | None = None
    body: BodyModel | None = None
    meshes: Clip | None = None


@dataclass(frozen=True, eq=False)
class FaceView:
    """Where a face is. matrix: (2, 3) float64, frame to crop of side CROP. mask: (CROP, CROP) bool."""

    matrix: Tensor
    mask: Tensor


@dataclass(frozen=True, eq=False)
class Hint:
    """Of one frame. mesh: (H, W, 3) uint8 on black, or None. face: None where it is hidden or not known."""

    mesh: np.ndarray | None = None
    face: FaceView | None = None


def hints(guide: Guide | None, size: tuple[int, int]) -> Iterator[Hint]:
    """A hint per frame, endless without a guide. size: (width, height) of the result. A few frames at a time.

    Raises AnchorError for a motion without a camera or without a body.
    """
    if guide is None or (guide.motion is None and guide.meshes is None):
        yield from repeat(Hint())
        return
    faces = repeat(None) if guide.motion is None else _faces(guide.motion, _body(guide), size)
    for mesh, face in zip(_meshes(guide, size), faces, strict=False):
        yield Hint(mesh, face)


def check_guide(guide: Guide | None, n_frames: int, trim: bool = False) -> None:
    """Raise AnchorError unless the motion has a camera and n_frames frames; trim: or more."""
    motion = None if guide is None else guide.motion
    if motion is None:
        return
    if motion.camera is None:
        raise AnchorError("the motion has no camera, so nothing tells where its face is: give the --anchor")
    fits = motion.n_frames >= n_frames if trim else motion.n_frames == n_frames
    if n_frames and not fits:
        raise AnchorError(
            f"the motion has {motion.n_frames} frames and {n_frames} are compared: give the motion that the "
            "result was made of, with the same --start and --frames"
        )


def _body(guide: Guide) -> BodyModel:
    if guide.body is None:
        raise AnchorError("a motion without a body cannot be drawn: give the body too")
    return guide.body


def _meshes(guide: Guide, size: tuple[int, int]) -> Iterator[np.ndarray]:
    if guide.meshes is not None:
        yield from (_sized(mesh, size) for mesh in guide.meshes.read())
        return
    assert guide.motion is not None
    camera = fit_camera(guide.motion.camera, size)
    for part in render_chunks(guide.motion, _body(guide), camera, chunk=_CHUNK):
        yield from to_bytes(part.image)


def _sized(mesh: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mesh at (width, height) pixels; what is black stays black."""
    from PIL import Image

    if mesh.shape[1::-1] == size:
        return mesh
    return np.asarray(Image.fromarray(mesh).resize(size, Image.Resampling.NEAREST))


def _faces(motion: Motion, body: BodyModel, size: tuple[int, int]) -> Iterator[FaceView | None]:
    """Each frame aligned on its own: both clips are cut by the same matrix, so none of its noise is seen."""
    options = TrackOptions(smoothing=0)
    silent = replace(motion, sound=None)
    for start in range(0, motion.n_frames, _CHUNK):
        part = silent.sliced(start, min(start + _CHUNK, motion.n_frames))
        track = track_motion(part, body, size=size, crop_size=CROP, options=options)
        matrices = track.crop_matrices
        for frame, why in enumerate(track.hidden):
            mask = track.mask[frame] > 0
            shown = not why and bool(mask.any())
            yield FaceView(matrices[frame], mask) if shown else None


def person(hint: Hint) -> Tensor | None:
    """(H, W) bool: pixels of the mesh, or None where there is none."""
    return None if hint.mesh is None else torch.from_numpy((hint.mesh > 0).any(axis=2))
