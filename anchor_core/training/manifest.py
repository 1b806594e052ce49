"""The list of training samples: one JSON object per line, as the published scripts read it.

    {"source": "mesh/000001.png", "target": "image/000001.png", "reference": "image/000417.png"}

Paths are relative to the manifest's folder, or absolute. `source` is the mesh render, `target` the frame
to learn, `reference` the picture of the person for the appearance tokens. A further key `clip` says which
consecutive lines belong to one recording; without it, that is the folder of the target.

Lines for the face network have one or two keys more:

    {..., "mask": "mask/000001.png", "context": "body/000001.png"}

`mask` is 255 where the picture is kept and 0 where the face is to be painted. `context`, which the published
scripts do not have, is the picture whose kept part the network sees, by default the target: at inference
that comes from the body pass, which is softer than a recording.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnchorError
from ..video.read import read_picture

KEYS = ("source", "target", "reference")
FACE_KEYS = ("mask", "context")


@dataclass(frozen=True)
class Sample:
    """One line of a manifest, with existing files."""

    source: Path
    target: Path
    reference: Path
    clip: str
    mask: Path | None = None
    context: Path | None = None


def read_manifest(path: Path) -> list[Sample]:
    """Read and check a manifest; raises AnchorError that names the first bad line."""
    if not path.is_file():
        raise AnchorError(f"there is no manifest at {path}; give a .jsonl file with one sample per line")
    samples = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            samples.append(_parse(line, path, number))
    if not samples:
        raise AnchorError(
            f"the manifest {path} is empty; it needs one sample per line; prepare the data first"
        )
    _check_masks(samples, path)
    return samples


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
    files = {key: path.parent / entry[key] for key in (*KEYS, *further)}
    for key, file in files.items():
        if not file.is_file():
            raise AnchorError(
                f"{where} names the {key} {file}, which does not exist; correct the path or remove the line"
            )
    return Sample(**files, clip=str(entry.get("clip", files["target"].parent)))


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


def read_grey(file: Path) -> np.ndarray:
    """One picture as (H, W) uint8: its luma, as Pillow's "L" that the published scripts read masks with."""
    from PIL import Image

    return np.asarray(Image.fromarray(read_rgb(file)).convert("L"))
