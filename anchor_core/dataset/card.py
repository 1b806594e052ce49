"""What a prepared dataset says about itself: `card.json`."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import AnchorError
from ..files import atomic_path
from ..motion.camera import Camera
from ..motion.ranges import MotionRanges
from .lists import LISTS

NAME = "card.json"
VERSION = 1
_FOLDERS = ("image", "mesh", "head")
_BYTES = 1 << 20  # that are read at once


@dataclass(frozen=True)
class ClipFacts:
    """One recording. video, motion: names of the files. first: number of its first picture. crop: left, top,
    width and height in pixels of the video. alignment: how mesh and picture fit."""

    name: str
    person: str
    video: str
    motion: str
    first: int
    frames: int
    crop: tuple[float, float, float, float]
    faces: int = 0
    alignment: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetCard:
    """Facts about a dataset.

    size, head_size: pixels. frames, held_out_frames: to train on, and kept apart; faces, held_out_faces: the
    same of the face crops. camera: of the pictures of the first clip. betas: shape of the first person.
    perturbed: further meshes per frame. body: of the meshes. ranges: of the training part; None where a
    reader does not know them. hash: of lists and pictures, see `dataset_hash`. made_with: command, settings.
    """

    size: int
    head_size: int
    fps: float
    frames: int
    held_out_frames: int
    camera: Camera
    betas: tuple[float, ...]
    people: tuple[str, ...]
    clips: tuple[ClipFacts, ...]
    perturbed: int
    body: str
    ranges: MotionRanges | None
    hash: str
    made_with: dict[str, Any]
    faces: int = 0
    held_out_faces: int = 0
    version: int = VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` gives an equal card."""
        plain = {part.name: getattr(self, part.name) for part in fields(self)}
        return {
            **plain,
            "camera": self.camera.to_dict(),
            "betas": list(self.betas),
            "people": list(self.people),
            "clips": [asdict(clip) | {"crop": list(clip.crop)} for clip in self.clips],
            "ranges": self.ranges and self.ranges.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DatasetCard:
        """The inverse of `to_dict`; unknown keys are passed over. AnchorError says what is wrong."""
        if data.get("version", VERSION) > VERSION:
            raise AnchorError(
                f"This dataset's card has version {data['version']}, which is newer than {VERSION}: update "
                "the pack."
            )
        try:
            known = {part.name: data[part.name] for part in fields(cls) if part.name in data}
            known["camera"] = Camera.from_dict(data["camera"])
            known["betas"] = tuple(float(number) for number in data["betas"])
            known["people"] = tuple(data["people"])
            known["clips"] = tuple(_clip(entry) for entry in data["clips"])
            known["ranges"] = MotionRanges.from_dict(data["ranges"]) if data.get("ranges") else None
            return cls(**known)
        except AnchorError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AnchorError(
                f"This dataset's card is damaged ({error!r}): prepare the data again."
            ) from error


def _clip(entry: dict[str, Any]) -> ClipFacts:
    known = {part.name: entry[part.name] for part in fields(ClipFacts) if part.name in entry}
    left, top, width, height = known["crop"]
    return ClipFacts(**{**known, "crop": (left, top, width, height)})


def write_dataset_card(card: DatasetCard, folder: Path) -> None:
    """Write `card.json`."""
    with atomic_path(folder / NAME) as partial:
        partial.write_text(json.dumps(card.to_dict(), indent=1, ensure_ascii=False), encoding="utf-8")


def read_dataset_card(path: str | os.PathLike[str]) -> DatasetCard | None:
    """The card of a dataset folder, or of the folder of one of its lists; None where there is none of ours.

    AnchorError for a damaged one.
    """
    folder = Path(path)
    file = (folder if folder.is_dir() else folder.parent) / NAME
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AnchorError(f"{file} is no JSON ({error}): prepare the data again.") from None
    if not isinstance(data, dict) or "made_with" not in data or "clips" not in data:
        return None  # a card of something else
    return DatasetCard.from_dict(data)


def dataset_hash(folder: Path) -> str:
    """SHA-256 (hex) over all lists, and over name, size and CRC-32 of every picture.

    Equal for the same pictures in the same roles, wherever the folder lies.
    """
    total = hashlib.sha256()
    for name in LISTS:
        if (folder / name).is_file():
            total.update(name.encode() + b"\0" + (folder / name).read_bytes())
    for picture in _pictures(folder):
        size, crc = _checksum(picture)
        total.update(f"{picture.relative_to(folder).as_posix()} {size} {crc:08x}\n".encode())
    return total.hexdigest()


def _pictures(folder: Path) -> Iterator[Path]:
    """All numbered pictures, in the order of their names."""
    more = sorted(part.name for part in folder.glob("mesh_*") if part.is_dir())
    for name in (*_FOLDERS, *more):
        yield from sorted((folder / name).rglob("[0-9]*.png"))


def _checksum(path: Path) -> tuple[int, int]:
    size = crc = 0
    with path.open("rb") as handle:
        while block := handle.read(_BYTES):
            crc, size = zlib.crc32(block, crc), size + len(block)
    return size, crc
