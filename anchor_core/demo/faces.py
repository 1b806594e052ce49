"""Cuts the faces out of a filmed folder: what the face network of the demo anchor is trained on.

A folder of `write_dataset` gains a folder `face/` in the same layout: `mesh/`, `frame/`, `mask/` (255 = keep,
as published), `body/`, and a manifest with the keys "mask" and "context" besides the others. Crops are
aligned by the estimated motion, as they will be when a video is made, and `body/` holds what the body pass
makes of the frame: the surroundings in which the face is to be painted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..body.model import standin_body
from ..errors import AnchorError
from ..face.inpaint import crops_of
from ..face.track import FaceTrack, track_motion
from ..files import atomic_path, write_png
from ..motion.camera import Camera
from ..progress import Progress
from ..render.mesh import to_bytes
from ..video.read import read_picture
from .dataset import CARD, MANIFEST, Clip, DatasetSettings, clip_motion

FOLDER = "face"
PICTURES = ("mesh", "frame", "mask", "body")

BodyPass = Callable[[Tensor], Tensor]
"""Mesh frames (F, H, W, 3) uint8 of one clip to the frames (F, H, W, 3) float in [0, 1] of the body pass."""


def write_faces(source: Path, crop_size: int, body_pass: BodyPass, progress: Progress | None = None) -> Path:
    """Write `source/face` for a folder of `write_dataset`; returns its manifest.

    Frames without a face are left out; AnchorError if none has one. There is a manifest only when all
    pictures are written.
    """
    card = json.loads((source / CARD).read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (source / MANIFEST).read_text(encoding="utf-8").splitlines()]
    folder = source / FOLDER
    for name in PICTURES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # of an earlier call, perhaps for crops of another size
    written: list[int] = []
    for clip in (Clip(**entry) for entry in card["clips"]):
        written += _write_clip(source, folder, clip, card, crop_size, body_pass)
        if progress is not None:
            progress(clip.first + clip.n_frames, len(rows), None)
    if not written:
        raise AnchorError(
            f"no frame of {source} shows a face that is large enough to cut out: film at a larger size"
        )
    _write_manifest(folder / MANIFEST, rows, written)
    return folder / MANIFEST


def _write_clip(
    source: Path, folder: Path, clip: Clip, card: dict[str, Any], crop_size: int, body_pass: BodyPass
) -> list[int]:
    """Write the crops of one clip; returns the numbers of the frames that have a face."""
    settings = DatasetSettings(card["size"], card["fps"], nuisance=card["nuisance"], jitter=card["jitter"])
    _, estimate = clip_motion(clip, settings)
    camera = Camera.from_dict(card["camera"])
    track = track_motion(estimate, standin_body(), camera, crop_size=crop_size)
    numbers = [clip.first + frame for frame in range(clip.n_frames)]
    mesh, frames = (_read(source / name, numbers) for name in ("mesh", "frame"))
    for frame, pictures in _crops(track, frames, body_pass(mesh)):
        for name, picture in zip(PICTURES, pictures, strict=True):
            _save(folder / name / f"{numbers[frame]:06d}.png", picture)
    return [numbers[frame] for frame in track.visible.tolist()]


def _crops(track: FaceTrack, frames: Tensor, body: Tensor) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Pictures of the visible faces, in the order of PICTURES, with the number of the frame."""
    for frame in track.visible.tolist():
        cut = [crops_of(clip, track, torch.tensor([frame]))[0] for clip in (frames, body)]
        yield frame, (track.mesh[frame], cut[0], 255 - track.mask[frame], cut[1])


def _read(folder: Path, numbers: list[int]) -> Tensor:
    return torch.stack([torch.from_numpy(read_picture(folder / f"{number:06d}.png")) for number in numbers])


def _save(path: Path, picture: Tensor) -> None:
    pixels = picture.numpy() if picture.dtype == torch.uint8 else to_bytes(picture)
    write_png(path, pixels, compress_level=1)


def _write_manifest(path: Path, rows: list[dict[str, Any]], written: list[int]) -> None:
    """One line per frame with a face; the reference is the face of the same reference frame, or its own."""
    faces = {f"frame/{number:06d}.png" for number in written}
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as handle:
        for number in written:
            row = dict(rows[number], mask=f"mask/{number:06d}.png", context=f"body/{number:06d}.png")
            if row["reference"] not in faces:
                row["reference"] = row["target"]
            handle.write(json.dumps(row) + "\n")
