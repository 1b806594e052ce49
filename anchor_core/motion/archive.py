"""Reading of .npz archives from strangers: named members only, never pickled, never larger than a limit."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ..errors import AnchorError

MAX_BYTES = 4 * 1024**3
"""Decompressed size that we accept: an SMPL-X file in float64 has 0.25 GB, an hour of motion 0.1 GB."""


def archive_keys(path: str | os.PathLike[str]) -> list[str]:
    """Names of the arrays in an .npz; an AnchorError when the file is no whole zip archive."""
    name = Path(path).name
    try:
        with zipfile.ZipFile(path) as archive:
            return [item.removesuffix(".npy") for item in archive.namelist() if item.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise AnchorError(
            f"{name} is not a whole .npz archive ({error}): copy or download it again."
        ) from error


def read_archive(
    path: str | os.PathLike[str], keys: Iterable[str], max_bytes: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """Read those of `keys` that the .npz holds; members that are not named are never touched.

    An AnchorError says so when the file is damaged, a named member holds Python objects, or the named members
    would take more than `max_bytes` once decompressed.
    """
    name = Path(path).name
    present = [key for key in keys if key in set(archive_keys(path))]
    _check_size(path, present, max_bytes)
    with np.load(path, allow_pickle=False) as archive:
        return {key: _read_member(archive, key, name) for key in present}


def _read_member(archive: Mapping[str, np.ndarray], key: str, name: str) -> np.ndarray:
    try:
        return archive[key]
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, MemoryError, ValueError) as error:
        if "allow_pickle" in str(error):
            raise AnchorError(
                f"{name} holds Python objects under '{key}', which are not read for safety: "
                "save that entry as an array of numbers."
            ) from error
        raise AnchorError(f"{name} is damaged at '{key}' ({error}): copy or download it again.") from error


def _check_size(path: str | os.PathLike[str], keys: list[str], max_bytes: int) -> None:
    with zipfile.ZipFile(path) as archive:
        total = sum(archive.getinfo(f"{key}.npy").file_size for key in keys)
    if total > max_bytes:
        raise AnchorError(
            f"{Path(path).name} would take {total / 1e9:.1f} GB of memory when opened and the limit is "
            f"{max_bytes / 1e9:.1f} GB: it is not a file of this kind, or it needs to be cut."
        )
