"""Reading of .npz archives from strangers: named members only, never pickled, never larger than a limit."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import AnchorError

MAX_BYTES = 1024**3
"""Decompressed size that we accept: an SMPL-X file in float64 has 0.25 GB, and so has an hour of motion."""


def archive_keys(path: str | os.PathLike[str]) -> list[str]:
    """Names of the arrays in an .npz; an AnchorError when the file is no whole zip archive."""
    with _opened(path) as archive:
        return [item.removesuffix(".npy") for item in archive.namelist() if item.endswith(".npy")]


def read_archive(
    path: str | os.PathLike[str], keys: Iterable[str], max_bytes: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """Read those of `keys` that the .npz holds; members that are not named are never touched.

    An AnchorError says so when the file is damaged, a named member holds Python objects, or the named members
    would take more than `max_bytes` once decompressed.
    """
    name = Path(path).name
    with _opened(path) as archive:
        held = set(archive.namelist())
        present = [key for key in keys if f"{key}.npy" in held]
        _check_size(archive, present, max_bytes, name)
        return {key: _read_member(archive, key, name) for key in present}


class _LazyArchive(Mapping[str, np.ndarray]):
    """The arrays of an .npz, each read when it is asked for, so that no other is touched."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path, self._keys = path, archive_keys(path)

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._keys:
            raise KeyError(key)
        return read_archive(self._path, (key,))[key]

    def __contains__(self, key: object) -> bool:
        return key in self._keys  # the one inherited would read the array

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def open_archive(path: str | os.PathLike[str]) -> Mapping[str, np.ndarray]:
    """The arrays of an .npz by name; reading one may raise as `read_archive` does."""
    return _LazyArchive(path)


def read_npy(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The array in an .npy; an AnchorError when it is not whole, holds objects, or exceeds `max_bytes`."""
    name, size = Path(path).name, os.path.getsize(path)
    if size > max_bytes:
        raise AnchorError(
            f"{name} has {size / 1e9:.1f} GB and the limit is {max_bytes / 1e9:.1f} GB: give one clip."
        )
    try:
        with open(path, "rb") as stream:
            return _read_array(stream)
    except Exception as error:  # as in _read_member
        raise AnchorError(
            f"{name} is not a whole .npy file of numbers ({error}): copy or download it again."
        ) from error


def _opened(path: str | os.PathLike[str]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # zipfile's parser can fail with anything: struct.error, NotImplementedError
        raise AnchorError(
            f"{Path(path).name} is not a whole .npz archive ({error}): copy or download it again."
        ) from error


def _read_member(archive: zipfile.ZipFile, key: str, name: str) -> np.ndarray:
    try:
        with archive.open(f"{key}.npy") as stream:
            return _read_array(stream)
    except Exception as error:  # numpy's parser of headers fails with anything: TokenError, OverflowError
        if str(error).startswith("Object arrays"):
            raise AnchorError(
                f"{name} holds Python objects under '{key}', which are not read for safety: "
                "save that entry as an array of numbers."
            ) from error
        raise AnchorError(f"{name} is damaged at '{key}' ({error}): copy or download it again.") from error


def _read_array(stream: IO[bytes]) -> np.ndarray:
    array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _check_size(archive: zipfile.ZipFile, keys: list[str], max_bytes: int, name: str) -> None:
    total = sum(archive.getinfo(f"{key}.npy").file_size for key in keys)
    if total > max_bytes:
        raise AnchorError(
            f"{name} would take {total / 1e9:.1f} GB of memory when opened and the limit is "
            f"{max_bytes / 1e9:.1f} GB: it is not a file of this kind, or it needs to be cut."
        )
