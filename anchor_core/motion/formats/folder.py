"""A folder that holds a motion in many files: SMPLer-X's results, or a JSON or pickle for each frame."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ...errors import AnchorError
from ..pickles import read_pickle
from .frames import natural
from .smplerx import find_results

_MAX_BYTES = 512 * 1024**2  # of all files together
_SUFFIXES = (".json", ".pkl", ".pickle")


def open_folder(path: Path) -> Any:
    """SMPLer-X's `Results`, or a list of what the JSON or pickle files of a folder hold, by their names:
    the kind of file that there is most of. An AnchorError where there is none, or one that cannot be
    read."""
    try:
        results = find_results(path)
        files = [entry for entry in path.iterdir() if entry.suffix.lower() in _SUFFIXES and entry.is_file()]
    except OSError as error:
        raise AnchorError(f"The folder {path.name} cannot be read ({error.strerror}): check it.") from error
    if results is not None:
        return results
    if not files:
        raise AnchorError(
            f"The folder {path.name} holds no motion: give a motion file, a folder of SMPLer-X with "
            "smplx/*.npz, or one with a .json for each frame."
        )
    suffixes = [entry.suffix for entry in files]
    most = max(set(suffixes), key=suffixes.count)
    chosen = sorted((entry for entry in files if entry.suffix == most), key=lambda entry: natural(entry.name))
    _check_size(path.name, chosen)
    return [_opened(entry) for entry in chosen]


def _check_size(name: str, files: list[Path]) -> None:
    total = sum(os.path.getsize(entry) for entry in files)
    if total > _MAX_BYTES:
        raise AnchorError(
            f"The folder {name} holds {total / 1e6:.0f} MB and the limit is {_MAX_BYTES / 1e6:.0f} MB: give "
            "one clip."
        )


def _opened(path: Path) -> Any:
    if path.suffix.lower() != ".json":
        return read_pickle(path)
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise AnchorError(f"{path.name} is not whole JSON ({error}): copy or export it again.") from error
