"""Frames of a clip that need not lie in memory: read a few at a time, by number.

A tensor (N, H, W, C) uint8 is a `Frames`; so is a file of them, and a selection. Whoever takes `Frames` works
on clips of any length with the memory of a window.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .errors import AnchorError


class Frames(Protocol):
    """A sequence of N pictures of one size, in bytes."""

    @property
    def shape(self) -> Sequence[int]:
        """(N, H, W, C); (N, H, W) for masks."""

    @property
    def dtype(self) -> torch.dtype:
        """torch.uint8."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, index: Any) -> Tensor:
        """One frame for a number, (n, ...) for a slice or a tensor of numbers; uint8 on the CPU."""


class FrameFile:
    """Frames of one size after one another in a plain file, written from the front to the back.

    path: made with the first frames. shape: of one frame, (H, W, C) or (H, W). What is in the file already
    counts; a last frame that a killed process has not finished does not, and is written over. One thread may
    append while others read: `len` grows when frames are wholly written. Nothing is kept open and nothing is
    mapped, for pages of a mapped file would count as memory of the process.
    """

    dtype = torch.uint8

    def __init__(self, path: str | os.PathLike[str], shape: Sequence[int]) -> None:
        self.path = Path(path)
        self._frame = tuple(int(side) for side in shape)
        self._bytes = int(np.prod(self._frame))
        self._count = self.path.stat().st_size // self._bytes if self.path.is_file() else 0

    def __len__(self) -> int:
        return self._count

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C), N as of now."""
        return (self._count, *self._frame)

    def append(self, frames: Tensor | np.ndarray) -> None:
        """Write frames (n, H, W, C) uint8 behind the others.

        Raises AnchorError where they do not fit to the file, or onto the disk: then none of them counts.
        """
        array = np.ascontiguousarray(frames.numpy() if isinstance(frames, Tensor) else frames)
        if array.dtype != np.uint8 or array.shape[1:] != self._frame:
            raise AnchorError(
                f"frames of shape {array.shape} and type {array.dtype} cannot be put into {self.path.name}, "
                f"whose frames are {self._frame} uint8: write them to a file of their own"
            )
        try:
            self._write(array.reshape(-1).data)
        except OSError as error:
            raise AnchorError(
                f"{self.path} cannot be written ({error.strerror or error}): free space, then run the same "
                "again; what was finished is kept"
            ) from error
        self._count += len(array)

    def truncate(self, count: int) -> None:
        """Forget all frames but the first `count`."""
        if count < self._count:
            self._count = count
            os.truncate(self.path, count * self._bytes)

    def __getitem__(self, index: Any) -> Tensor:
        if isinstance(index, slice):
            return self._read(range(self._count)[index])
        if isinstance(index, Tensor) and index.ndim:
            return self._read([_place(int(number), self._count) for number in index])
        return self._read([_place(int(index), self._count)])[0]

    def _write(self, data: memoryview) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        with open(descriptor, "wb", buffering=0) as file:
            file.seek(self._count * self._bytes)
            while data:
                data = data[file.write(data) or 0 :]
            os.fsync(file.fileno())  # or a machine that loses power may keep the length without the frames

    def _read(self, numbers: Sequence[int]) -> Tensor:
        """Frames by number (n, ...), neighbours at once."""
        frames = torch.empty((len(numbers), *self._frame), dtype=torch.uint8)
        if not len(numbers):
            return frames
        target = frames.view(-1).numpy().data
        with self.path.open("rb", buffering=0) as file:
            for first, last in _runs(numbers):
                file.seek(numbers[first] * self._bytes)
                self._fill(file, target[first * self._bytes : last * self._bytes])
        return frames

    def _fill(self, file: Any, target: memoryview) -> None:
        while target:
            count = file.readinto(target)
            if not count:
                raise AnchorError(
                    f"{self.path} has become shorter while it was read: nothing else may write to it; run "
                    "the same again"
                )
            target = target[count:]


class Selected:
    """Some of the frames of a clip, as a clip. numbers: (n,) of the frames, in any order."""

    dtype = torch.uint8

    def __init__(self, frames: Frames, numbers: Sequence[int] | Tensor) -> None:
        self._frames = frames
        self._numbers = torch.as_tensor(numbers, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W, C)."""
        return (len(self._numbers), *self._frames.shape[1:])

    def __getitem__(self, index: Any) -> Tensor:
        numbers = self._numbers[index]
        return self._frames[numbers] if numbers.ndim else self._frames[int(numbers)]


def _place(number: int, count: int) -> int:
    """A number that may count from the end, from the front; IndexError outside."""
    if not -count <= number < count:
        raise IndexError(f"frame {number} of {count}")
    return number % count


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Places (first, last + 1) in `numbers` between which they count up by one."""
    breaks = [place for place in range(1, len(numbers)) if numbers[place] != numbers[place - 1] + 1]
    return list(zip([0, *breaks], [*breaks, len(numbers)], strict=True))
