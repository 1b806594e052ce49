"""Numbers of the frames of a clip that a face pass keeps, so that it can go on where it was."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from ..frames import FrameFile


class Rows(Protocol):
    """A sequence that grows at its end: rows (...) float32 on the CPU, all of one shape."""

    @property
    def most(self) -> int | None:
        """Rows that may be kept; None for as many as there are."""

    def __len__(self) -> int:
        """Rows that are there."""

    def append(self, rows: Tensor) -> None:
        """Put (n, ...) behind the others."""

    def __getitem__(self, part: slice) -> Tensor:
        """Some of them, (n, ...)."""


class Appendable(Protocol):
    """What grows at its end: `Rows`, or a `FrameFile`."""

    def __len__(self) -> int:
        """Rows that are there."""

    def append(self, rows: Tensor) -> None:
        """Put (n, ...) behind the others."""


class RowFile:
    """Rows in a plain file, as their bytes; what is there already counts.

    shape: of one row, () for single numbers. most: see `Rows`.
    """

    def __init__(self, path: str | os.PathLike[str], shape: Sequence[int], most: int | None = None) -> None:
        self._file = FrameFile(path, (4 * prod(shape),))
        self._shape, self.most = tuple(shape), most

    def __len__(self) -> int:
        return len(self._file)

    def append(self, rows: Tensor) -> None:
        """Raises AnchorError where the disk is full."""
        flat = rows.float().reshape(len(rows), prod(self._shape)).contiguous()
        self._file.append(flat.view(torch.uint8))

    def __getitem__(self, part: slice) -> Tensor:
        rows = self._file[part]
        return rows.view(torch.float32).view(len(rows), *self._shape)


class RowList:
    """Rows in memory, for `most` of them from the first on."""

    def __init__(self, most: int) -> None:
        self.most, self._count = most, 0
        self._rows = torch.empty(0)

    def __len__(self) -> int:
        return self._count

    def append(self, rows: Tensor) -> None:
        """Rows of the same shape as those before."""
        if not self._count:
            self._rows = rows.new_empty((self.most, *rows.shape[1:]))
        self._rows[self._count : self._count + len(rows)] = rows
        self._count += len(rows)

    def __getitem__(self, part: slice) -> Tensor:
        return self._rows[: self._count][part]


def unfinished(done: int, total: int, chunk: int) -> range:
    """First numbers of the groups of `chunk` in which something is left to do, `done` of `total` are there.

    Groups are counted from 0, so that they are the same ones wherever the work begins.
    """
    return range(done // chunk * chunk if done < total else total, total, chunk)


def append_missing(kept: Appendable, first: int, rows: Tensor) -> None:
    """Append what is not there yet of `rows` (n, ...), the first of which has the number `first`.

    What was stopped while it worked makes its last few rows again, the same ones.
    """
    missing = rows[max(len(kept) - first, 0) :]
    if len(missing):
        kept.append(missing)
