"""Frames that a pose estimator wrote one by one: in a list, or in a folder with a file for each frame."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...errors import AnchorError

logger = logging.getLogger("anchor")

PELVIS = (0.003, -0.351, 0.012)
"""Where the pelvis of SMPL-X's mean body is before it moves, metres; shape coefficients move it by little."""
_MAX_NUMBERS = 2**27
_MAX_FRAMES = 2**20  # ten hours
_MAX_DEPTH = 4  # of lists in lists


def numbers(value: Any, name: str) -> np.ndarray:
    """An array, a tensor, a number or lists of numbers as float32, in its own shape; an AnchorError says
    under which name the file holds something else."""
    try:
        array = _array(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise AnchorError(
            f"'{name}' is not an array of numbers ({error}): it needs numbers only, as many in each row."
        ) from error
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def table(value: Any, name: str, width: int) -> np.ndarray:
    """Numbers as (F, width): the last axes of the value, as many as it takes, make one row; an AnchorError
    where none do."""
    array = numbers(value, name)
    for n_axes in range(1, array.ndim + 1):
        if math.prod(array.shape[-n_axes:]) == width:
            return array.reshape(-1, width)
    raise AnchorError(f"'{name}' has shape {array.shape}: it needs {width} numbers per frame.")


def stack(frames: Sequence[Mapping[str, Any]], widths: Mapping[str, int | None]) -> dict[str, np.ndarray]:
    """The values of all frames as (F, width), by the keys of `widths`; width None: as many as the file has.

    A frame may hold several rows of each value: then it is as many frames. An AnchorError names a key that a
    frame lacks, and values that do not fit each other.
    """
    if not frames:
        raise AnchorError("The motion has no frames: it needs at least one.")
    _check_keys(frames, widths)
    full = {key: width or _width(frames[0][key], key) for key, width in widths.items()}
    rows = [_rows(frame, full, number) for number, frame in enumerate(frames)]
    return {key: np.concatenate([row[key] for row in rows]) for key in full}


def spread(columns: Mapping[str, np.ndarray], numbers: np.ndarray) -> dict[str, np.ndarray]:
    """The rows at their numbers of frame, counted from the first one; NaN between them, where nobody was
    found.

    numbers: (F,) whole numbers that rise. An AnchorError where they do not, or number other frames than
    there are.
    """
    steps = np.diff(numbers)
    if any(len(rows) != len(numbers) for rows in columns.values()) or (steps < 1).any():
        raise AnchorError(
            "The numbers of the frames do not rise, or are not as many as the frames: export the motion "
            "again."
        )
    places = numbers - numbers[0]
    if places[-1] >= _MAX_FRAMES:
        raise AnchorError(
            f"The frames are numbered from {numbers[0]} to {numbers[-1]}, more than {_MAX_FRAMES}: give one "
            "clip."
        )
    if numbers[0] > 1:
        logger.info(f"The person appears in frame {numbers[0]} of the video: the motion begins there.")
    result = {
        key: np.full((places[-1] + 1, rows.shape[1]), np.nan, np.float32) for key, rows in columns.items()
    }
    for key, rows in columns.items():
        result[key][places] = rows
    return result


def typical(coefficients: np.ndarray) -> np.ndarray:
    """The median row of (F, S) coefficients of one person's shape; rows with NaN do not count."""
    known = coefficients[np.isfinite(coefficients).all(axis=1)]
    return np.median(known, axis=0) if len(known) else np.zeros(coefficients.shape[1], np.float32)


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts names as people count: frame2 before frame10."""
    pieces = re.findall(r"[0-9]{1,18}|[^0-9]+", name)
    return tuple((int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces)


def _array(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        _check_count(value.numel())
        value = value.detach().cpu().float().numpy()
    elif isinstance(value, (list, tuple)):
        _check_lists(value)
    array = np.asarray(value)
    if array.size and array.dtype.kind not in "fiu":  # numpy would turn text into numbers
        raise TypeError(f"it holds {array.dtype}")
    _check_count(array.size)
    return array


def _check_lists(value: Sequence[Any]) -> None:
    """Refuse lists that hold each other many times: a small file of them has no bound on its size."""
    level: list[Any] = list(value)
    for _ in range(_MAX_DEPTH):
        inner = [item for item in level if isinstance(item, (list, tuple))]
        if not inner:
            return
        _check_count(sum(len(item) for item in inner))
        level = [item for row in inner for item in row]
    raise ValueError("it holds lists in lists")


def _check_count(count: int) -> None:
    if count > _MAX_NUMBERS:
        raise ValueError(f"it holds {count} numbers, more than {_MAX_NUMBERS}")


def _check_keys(frames: Sequence[Mapping[str, Any]], keys: Mapping[str, Any]) -> None:
    for number, frame in enumerate(frames):
        missing = [key for key in keys if key not in frame]
        if missing:
            raise AnchorError(f"Frame {number} lacks {', '.join(missing)}: export the motion again.")


def _width(value: Any, key: str) -> int:
    array = numbers(value, key)
    if not array.size:
        raise AnchorError(f"'{key}' is empty: export the motion again.")
    return array.shape[-1] if array.ndim else 1


def _rows(frame: Mapping[str, Any], widths: Mapping[str, int], number: int) -> dict[str, np.ndarray]:
    rows = {key: table(frame[key], key, width) for key, width in widths.items()}
    counts = {key: len(found) for key, found in rows.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {key}" for key, count in counts.items())
        raise AnchorError(f"Frame {number} holds {listed}: it needs the same number of rows of each.")
    return rows
