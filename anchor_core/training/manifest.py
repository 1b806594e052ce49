"""The list of training samples: one JSON object per line, as the published scripts read it.

    {"source": "mesh/000001.png", "target": "image/000001.png", "reference": "image/000417.png"}

Paths are relative to the manifest's folder, else to the working directory as the published scripts take
them, or absolute. `source` is the mesh render, `target` the frame to learn, `reference` the picture of the
person for the appearance tokens. A further key `clip` says which consecutive lines belong to one recording;
without it, that is the folder of the target.

Lines for the face network have one or two keys more:

    {..., "mask": "mask/000001.png", "context": "body/000001.png"}

`mask` is 255 where the picture is kept and 0 where the face is to be painted. `context`, which the published
scripts do not have, is the picture whose kept part the network sees, by default the target: at inference
that comes from the body pass, which is softer than a recording.

Two further keys are ours too: `perturbed` lists mesh renders of perturbed motion that may stand in for the
source, and `person` says who it is, so that nobody learns from the reference of somebody else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnchorError
from ..video.read import read_picture

KEYS = ("source", "target", "reference")
FACE_KEYS = ("mask", "context")
PERTURBED, PERSON = "perturbed", "person"


@dataclass(frozen=True)
class Sample:
    """One line of a manifest, with existing files."""

    source: Path
    target: Path
    reference: Path
    clip: str
    mask: Path | None = None
    context: Path | None = None
    perturbed: tuple[Path, ...] = ()
    person: str = ""


def read_manifest(path: Path) -> list[Sample]:
    """Read and check a manifest; raises AnchorError that names the first bad line."""
    if not path.is_file():
        raise AnchorError(
            f"there is no dataset at {path}; give a folder that prepare has made, or a .jsonl file with one"
            " sample per line"
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise AnchorError(f"the manifest {path} is no text in UTF-8 ({error}); save it as such") from None
    samples = [_parse(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]
    if not samples:
        raise AnchorError(
            f"the manifest {path} is empty; it needs one sample per line; prepare the data first"
        )
    _check_masks(samples, path)
    _check_perturbed(samples, path)
    _check_people(samples, path)
    return samples


def _check_perturbed(samples: list[Sample], path: Path) -> None:
    most = max(len(sample.perturbed) for sample in samples)
    few = next((sample for sample in samples if len(sample.perturbed) < most), None)
    if few is not None:
        raise AnchorError(
            f"the manifest {path} has {most} perturbed meshes for other lines and {len(few.perturbed)} for"
            f" the target {few.target}; need equally many in all lines; prepare the data again"
        )


def _check_people(samples: list[Sample], path: Path) -> None:
    """Raise AnchorError where the reference is a frame of another person."""
    owner = {sample.target: sample.person for sample in samples if sample.person}
    for sample in samples:
        other = owner.get(sample.reference, sample.person)
        if sample.person and other != sample.person:
            raise AnchorError(
                f"the manifest {path} gives {sample.person} the reference {sample.reference}, which shows"
                f" {other}; a reference shows the person of the target; draw references per person"
            )


def _check_masks(samples: list[Sample], path: Path) -> None:
    bare = [sample for sample in samples if sample.mask is None]
    if 0 < len(bare) < len(samples):
        raise AnchorError(
            f"the manifest {path} has a mask for other lines and none for the target {bare[0].target};"
            " need one in all lines (face) or in none (body); add or remove masks"
        )


def _parse(line: str, path: Path, number: int) -> Sample:
    where = f"line {number} of {path}"
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise AnchorError(
            f"{where} is no JSON ({error}); need one object per line; repair or remove it"
        ) from None
    missing = [key for key in KEYS if not isinstance(entry, dict) or not isinstance(entry.get(key), str)]
    if missing:
        raise AnchorError(
            f"{where} has no {missing[0]!r}; need {', '.join(KEYS)} as file names; repair or remove it"
        )
    further = [key for key in FACE_KEYS if key in entry]
    for key in further:
        if not isinstance(entry[key], str):
            raise AnchorError(
                f"{where} has {entry[key]!r} as its {key}; need a file name; correct it or remove the key"
            )
    files = {key: _existing(path, entry[key], key, where) for key in (*KEYS, *further)}
    return Sample(
        **files,
        clip=str(entry.get("clip", files["target"].parent)),
        perturbed=_perturbed(entry, path, where),
        person=str(entry.get(PERSON, "")),
    )


def _perturbed(entry: dict[str, Any], path: Path, where: str) -> tuple[Path, ...]:
    names = entry.get(PERTURBED, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise AnchorError(
            f"{where} has {names!r} as {PERTURBED}; need a list of file names; correct it or remove the key"
        )
    return tuple(_existing(path, name, "perturbed mesh", where) for name in names)


def _existing(path: Path, name: str, key: str, where: str) -> Path:
    """The file beside the manifest, or where the published scripts look for it."""
    for file in (path.parent / name, Path(name)):
        if file.is_file():
            return file
    raise AnchorError(
        f"{where} names the {key} {path.parent / name}, which does not exist; correct the path or remove"
        " the line"
    )


def read_pictures(files: list[Path], progress: Any = None, grey: bool = False) -> np.ndarray:
    """PNG or JPEG files of one size as (N, H, W, 3) uint8 sRGB; grey: their luma, (N, H, W).

    Raises AnchorError at another size.
    """
    pictures: np.ndarray | None = None
    for index, file in enumerate(files):
        picture = read_grey(file) if grey else read_rgb(file)
        if pictures is None:
            pictures = np.empty((len(files), *picture.shape), np.uint8)
        if picture.shape != pictures.shape[1:]:
            got, need = picture.shape[1::-1], pictures.shape[2:0:-1]
            raise AnchorError(
                f"{file} is {got[0]}x{got[1]} pixels and {files[0]} is {need[0]}x{need[1]};"
                " all pictures of a manifest need one size; resize them"
            )
        pictures[index] = picture
        if progress:
            progress(index + 1, len(files), None)
    if pictures is None:
        raise AnchorError("there are no pictures to read; at least one is needed; check the manifest")
    return pictures


def read_rgb(file: Path) -> np.ndarray:
    """One picture as (H, W, 3) uint8 sRGB, by the reader that is safe for any file; errors name the path."""
    try:
        return read_picture(file)
    except AnchorError as error:
        raise AnchorError(f"{file} cannot be read: {error}") from None


def read_squashed(files: Sequence[Path], size: int, grey: bool = False) -> np.ndarray:
    """Pictures of any sizes as (N, size, size, 3) uint8, or (N, size, size) if grey.

    Both sides are scaled on their own, bilinearly and without smoothing, as the published scripts do
    (OpenCV's INTER_LINEAR); pictures of the right size are not touched.
    """
    pictures = [squashed(read_grey(file) if grey else read_rgb(file), size) for file in files]
    return np.stack(pictures)


def squashed(picture: np.ndarray, size: int) -> np.ndarray:
    """(H, W[, 3]) uint8 to (size, size[, 3])."""
    if picture.shape[:2] == (size, size):
        return picture
    import torch
    from torch.nn import functional

    pixels = torch.from_numpy(np.atleast_3d(picture).astype(np.float32)).permute(2, 0, 1)[None]
    scaled = functional.interpolate(pixels, (size, size), mode="bilinear", align_corners=False)
    small: np.ndarray = scaled[0].permute(1, 2, 0).round().to(torch.uint8).numpy()
    return small.reshape(size, size, *picture.shape[2:])


def read_grey(file: Path) -> np.ndarray:
    """One picture as (H, W) uint8: its luma, as Pillow's "L" that the published scripts read masks with."""
    from PIL import Image

    return np.asarray(Image.fromarray(read_rgb(file)).convert("L"))
