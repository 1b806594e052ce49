"""Weight files from strangers: read the header, compare every name and shape, then fill an empty network.

Nothing is executed and nothing is allocated before the whole list of tensors has been compared, so a
wrong, cut off or hostile file costs a sentence, never a crash or a network with random weights in it
(the published loader fills the U-Net with `strict=False` and does not notice).
"""

from __future__ import annotations

import json
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import AnchorError

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_MAX_HEADER = 16 * 2**20  # bytes; the largest honest header (body and face of SD1.5 size) has 0.3 MB
_SHOWN = 4  # names of wrong keys that a message lists

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a git-lfs pointer: the download brought the placeholder, not the file"),
    (b"<!doctype html", "a web page: the download brought a page, not the file"),
    (b"<html", "a web page: the download brought a page, not the file"),
    (b"gguf", "a GGUF file"),
    (b"pk\x03\x04", "a zip archive, as PyTorch's pickle files (.pt, .ckpt, .bin) are"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x89png", "a PNG picture"),
)


@dataclass(frozen=True)
class Header:
    """What a safetensors file says about itself: texts, and the shape of each tensor."""

    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class TensorFile:
    """An open weight file: shapes at once, each tensor when it is asked for."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]
    read: Callable[[str], Tensor]


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read names, shapes and metadata of a safetensors file without touching the tensors.

    Raises AnchorError when the file is missing, is no safetensors file, or is cut off.
    """
    path = check_file(path)
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little") if len(start) == 8 else 0
        if not 2 <= length <= min(_MAX_HEADER, size):
            raise AnchorError(_foreign(path, start + stream.read(56), size))
        raw = stream.read(length)
    try:
        entries = json.loads(raw)
        metadata = {str(k): str(v) for k, v in entries.pop("__metadata__", {}).items()}
        shapes = {name: tuple(int(side) for side in entry["shape"]) for name, entry in entries.items()}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        raise AnchorError(_foreign(path, start + raw[:56], size)) from None
    _check_length(path, size, expected=8 + length + end)
    return Header(metadata, shapes)


def check_file(path: str | os.PathLike[str]) -> Path:
    """The path, if a file lies there; AnchorError otherwise."""
    path = Path(path)
    if os.path.isdir(path):
        raise AnchorError(f"{path} is a folder: name the weight file itself.")
    if not os.path.isfile(path):
        raise AnchorError(f"There is no file {path}: check the name and the folder.")
    return path


def _check_length(path: Path, size: int, expected: int) -> None:
    if size != expected:
        state = "cut off" if size < expected else "longer than its own table says"
        raise AnchorError(
            f"{path.name} is {state} ({size} bytes, {expected} expected): download or copy it again."
        )


def _foreign(path: Path, start: bytes, size: int) -> str:
    if size == 0:
        return f"{path.name} is empty: download or copy it again."
    kind = next(
        (text for magic, text in _MAGIC if start.lower().startswith(magic)), "damaged or of another kind"
    )
    return f"{path.name} is not a readable safetensors file, it is {kind}. Use a .safetensors file."


@contextmanager
def open_tensors(path: str | os.PathLike[str]) -> Iterator[TensorFile]:
    """Open a .safetensors file lazily, or a PyTorch pickle of tensors (`weights_only`: no code runs)."""
    path = check_file(path)
    if path.suffix.lower() in PICKLES:
        tensors = _read_pickle(path)
        yield TensorFile(path, {name: tuple(t.shape) for name, t in tensors.items()}, {}, tensors.__getitem__)
        return
    from safetensors import SafetensorError, safe_open

    header = read_header(path)
    try:
        handle = safe_open(str(path), framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise AnchorError(f"{path.name} is damaged ({error}): download or copy it again.") from None
    with handle as tensors:
        yield TensorFile(path, header.shapes, header.metadata, tensors.get_tensor)


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path) or None)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError):
        raise AnchorError(
            f"{path.name} cannot be read safely: it is damaged, or a pickle with more than tensors in it. "
            "Use the .safetensors version of this file."
        ) from None
    if isinstance(data, Mapping) and isinstance(data.get("state_dict"), Mapping):
        data = data["state_dict"]
    tensors = {k: v for k, v in data.items() if isinstance(v, Tensor)} if isinstance(data, Mapping) else {}
    if not tensors:
        raise AnchorError(f"{path.name} holds no named tensors: it is not a weight file of a network.")
    return tensors


def without_prefix(names: Mapping[str, Any] | list[str], prefix: str) -> dict[str, str]:
    """{name in the network: name in the file} for all names under `prefix`."""
    return {name[len(prefix) :]: name for name in names if name.startswith(prefix)}


def fill(
    model: nn.Module,
    source: TensorFile,
    names: Mapping[str, str],
    dtype: torch.dtype,
    what: str,
    prefix: str = "",
) -> None:
    """Give an empty network (meta device) its weights; then it is in eval mode without gradients.

    names: {name in the network: name in the file}. `prefix` ("vision_model.") may stand before the
    network's own names, as transformers did up to version 4. Raises AnchorError that counts and
    names wrong keys.
    """
    expected = {
        name.removeprefix(prefix): (name, tensor.shape) for name, tensor in model.state_dict().items()
    }
    _check_names(set(expected), set(names), source, what)
    for name, (_, shape) in expected.items():
        _check_shape(names[name], source.shapes[names[name]], tuple(shape), source, what)
    # A copy, not the file's memory map: the file can be replaced or cut while the network lives.
    state = {
        own: _read_floats(source, names[name], what).reshape(shape).to(dtype, copy=True)
        for name, (own, shape) in expected.items()
    }
    model.load_state_dict(state, strict=True, assign=True)
    _restore_buffers(model)
    model.eval().requires_grad_(False)


def _read_floats(source: TensorFile, name: str, what: str) -> Tensor:
    tensor = source.read(name)
    if not tensor.is_floating_point():
        raise AnchorError(
            f"{source.path.name} does not fit {what}: {name} holds {tensor.dtype}, needed are floats. "
            "Download or save it again."
        )
    return tensor


def _check_names(expected: set[str], given: set[str], source: TensorFile, what: str) -> None:
    for wrong, verb in ((expected - given, "lacks"), (given - expected, "has unknown")):
        if wrong:
            listed = ", ".join(sorted(wrong)[:_SHOWN]) + (", ..." if len(wrong) > _SHOWN else "")
            raise AnchorError(
                f"{source.path.name} does not fit {what}: it {verb} {len(wrong)} of {len(expected)} tensors "
                f"({listed}). Use the config that belongs to these weights, or save the file again."
            )


def _check_shape(
    name: str, given: tuple[int, ...], needed: tuple[int, ...], source: TensorFile, what: str
) -> None:
    # The attention of ldm's VAE is stored as 1x1 convolutions, in diffusers it is linear: the same numbers.
    if given not in (needed, (*needed, 1, 1)) or math.prod(given) != math.prod(needed):
        raise AnchorError(
            f"{source.path.name} does not fit {what}: {name} has the shape {list(given)}, "
            f"needed is {list(needed)}. Use the config that belongs to these weights."
        )


def _restore_buffers(model: nn.Module) -> None:
    """Buffers that are no weights (the positions of CLIP) were built empty with everything else."""
    for name, buffer in model.named_buffers():
        if buffer.is_meta and name.endswith("position_ids"):
            owner, _, leaf = name.rpartition(".")
            positions = torch.arange(buffer.shape[-1]).expand(buffer.shape)
            model.get_submodule(owner).register_buffer(leaf, positions, persistent=False)
        elif buffer.is_meta:
            raise RuntimeError(f"the buffer {name} has no value after loading")
