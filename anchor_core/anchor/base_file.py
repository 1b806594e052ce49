"""Which file a low-rank anchor stands on, and how it is found again: by name, size and SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import AnchorError
from ..files import ASSETS
from .kinds import ANCHOR_KEY, describe
from .weights import Header, check_file, read_header

LOW_RANK_KEY = "low_rank"
"""In the JSON of an anchor's metadata, beside card and configs."""
_MOST_PARTS = 16
_CHUNK = 2**22  # bytes that are hashed at once


@dataclass(frozen=True)
class BaseFile:
    """An anchor file as a low-rank anchor remembers it.

    size: bytes; person: the name on its card; parts: as `read_parts` gives them.
    """

    name: str
    size: int
    sha256: str
    person: str
    parts: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "parts": list(self.parts)}


def describe_base(path: str | os.PathLike[str]) -> BaseFile:
    """Name, size, hash and parts of an anchor file; AnchorError when it is no whole anchor."""
    from .file import read_card, read_parts

    if os.path.isdir(path):
        raise AnchorError(
            f"{path} is a folder, and a low-rank anchor stands on one file: make an anchor file of the folder"
            " first (python -m anchor_core convert FOLDER --out FILE)."
        )
    path, header = check_file(path), read_header(path)
    if ANCHOR_KEY not in header.metadata:
        raise AnchorError(
            f"{path.name} is {describe(header.shapes, header.metadata)}, and a low-rank anchor stands on an "
            "anchor file: convert it first."
        )
    if read_base(header, path) is not None:
        raise AnchorError(
            f"{path.name} is a low-rank anchor itself: make a whole anchor of it first "
            f"(python -m anchor_core convert {path.name} --out FILE) and train on that."
        )
    return BaseFile(
        path.name, path.stat().st_size, _digest(path), read_card(path).name, parts=read_parts(path)
    )


def read_base(header: Header, path: Path) -> BaseFile | None:
    """What a low-rank anchor says about its base; None for a whole anchor. AnchorError when it is damaged."""
    try:
        entry = json.loads(header.metadata.get(ANCHOR_KEY, "{}")).get(LOW_RANK_KEY)
        if entry is None:
            return None
        base = BaseFile(**{**entry, "parts": tuple(entry["parts"])})
        good = _is_plain_name(base.name) and type(base.size) is int and 0 < base.size < 2**50
        good = good and re.fullmatch("[0-9a-f]{64}", base.sha256) is not None
        good = good and isinstance(base.person, str)
        good = good and len(base.parts) <= _MOST_PARTS and all(isinstance(part, str) for part in base.parts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        good = False
    if not good:
        raise AnchorError(f"The card in {path.name} is damaged: download or save the file again.")
    return base


def updated_stages(header: Header) -> tuple[str, ...]:
    """The stages that a low-rank anchor changes: "body", "face"."""
    return tuple(sorted({name.split(".", 1)[0] for name in header.shapes if "." in name}))


def find_base(base: BaseFile, low_rank: Path, given: str | os.PathLike[str] | None = None) -> Path:
    """The file that `low_rank` stands on: `given`, or one beside it (also renamed), or one that ships.

    Raises AnchorError when there is none, or another one under its name.
    """
    needed = f"{base.name} ({base.size / 1e6:.1f} MB, SHA-256 {base.sha256[:12]}...)"
    if given is not None:
        if not _is_same(base, check_file(given)):
            raise AnchorError(
                f"{Path(given).name} is not the file that {low_rank.name} was trained on, which is {needed}: "
                "give that one."
            )
        return Path(given)
    for path in _candidates(base, low_rank.parent):
        if _is_same(base, path):
            return path
    if (low_rank.parent / base.name).is_file():
        raise AnchorError(
            f"{low_rank.name} was trained on {needed}, and {base.name} beside it is another file: put the "
            "one there that it was trained on."
        )
    raise AnchorError(
        f"{low_rank.name} holds only what differs from {needed}, which is not in "
        f"{low_rank.parent.absolute()}: put it there, or name it as the base."
    )


def _candidates(base: BaseFile, folder: Path) -> Iterator[Path]:
    yield folder / base.name
    yield ASSETS / base.name
    yield from sorted(folder.glob("*.safetensors"))


def _is_same(base: BaseFile, path: Path) -> bool:
    # The size first: hashing a large file takes seconds.
    return path.is_file() and path.stat().st_size == base.size and _digest(path) == base.sha256


def _is_plain_name(name: Any) -> bool:
    """A file name without any folder, on every system."""
    return isinstance(name, str) and 0 < len(name) < 256 and not set(name) & set("/\\:\0") and name != ".."


def _digest(path: Path) -> str:
    stat = path.stat()
    return _digest_of(str(path.absolute()), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest_of(path: str, _size: int, _changed: int) -> str:
    """SHA-256 of a file, once for each version of it."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while part := stream.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()
