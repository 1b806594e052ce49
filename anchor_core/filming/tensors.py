"""Tensors of a render in .safetensors files, written one after another: no second copy of them is made.

(The writer of the safetensors package copies all tensors first, which for a long clip is as much again.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import AnchorError
from ..files import atomic_path

_KINDS = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.uint8: "U8"}
_TYPES = {name: dtype for dtype, name in _KINDS.items()}
_FACTS = "anchor"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors (of _KINDS, on the CPU) and JSON values into one file, whole or not at all."""
    header: dict[str, Any] = {"__metadata__": {_FACTS: json.dumps(facts)}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.numel() * tensor.element_size()
        entry = {"dtype": _KINDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        header[name] = entry
    text = json.dumps(header).encode()
    with atomic_path(path) as partial, partial.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.contiguous().numpy().data)
        file.flush()
        os.fsync(file.fileno())  # or a machine that loses power keeps the new name and half of the file


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and facts of a file that `write_tensors` made; None where there is none.

    Raises AnchorError for a damaged file.
    """
    with _opened(path) as found:
        if found is None:
            return None
        file, header, facts = found
        return {name: _read(file, entry) for name, entry in header.items()}, facts


def read_facts(path: Path) -> dict[str, Any] | None:
    """The same without the tensors."""
    with _opened(path) as found:
        return found and found[2]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any], dict[str, Any]] | None]:
    """The file behind its header, what the header says of the tensors, the facts; None without a file."""
    if not path.is_file():
        yield None
        return
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            facts = json.loads(header.pop("__metadata__")[_FACTS])
            yield file, header, facts
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise AnchorError(
            f"{path} cannot be read, it is damaged ({error}); begin again with --start-over, or delete"
            f" {path.parent}"
        ) from None


def _read(file: Any, entry: Mapping[str, Any]) -> Tensor:
    """The next tensor of the file; they lie in the order of the header."""
    tensor = torch.empty(entry["shape"], dtype=_TYPES[entry["dtype"]])
    room = tensor.numpy().reshape(-1).view(np.uint8).data
    if file.readinto(room) != room.nbytes:
        raise ValueError("its end is missing")
    return tensor
