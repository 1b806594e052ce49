"""The training set on disk: everything that stays the same over a training, computed once.

A folder holds one .npy file per tensor of `TrainingSet`; they are mapped into memory, so a training takes as
much of it as a batch, whatever the length of the videos. Its name is the content: pictures, size, VAE and
vision tower. Files grow row by row, so a run that was stopped goes on with the row at which it was.

A minute of 30 frames per second at 512 pixels takes 1.4 GB for the meshes, as much again for each perturbed
set, and 0.24 GB for the latents.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import AnchorError
from ..progress import Progress, StepFactory, silent_step
from .data import TrainingSet, clip_numbers, encode_surroundings, encode_targets
from .manifest import Sample, read_squashed

_VERSION = 2
"""Goes into the name: another way of computing the rows makes another cache."""
_CHUNK = 16  # pictures that are read and encoded at once
_REDONE = 2 * _CHUNK  # rows of a stopped run that are computed again: a power cut may have left them empty
_ENDS = 4096  # bytes of a picture file's beginning and end that are compared


@dataclass(frozen=True)
class Parts:
    """What the cache is computed with. vae, vision: networks, where they lie; null: (1, T, D) tokens of no
    appearance, or None for zeros; train_vision: keep pictures for the tower instead of its tokens."""

    vae: Any
    vision: Any
    null: Tensor | None = None
    train_vision: bool = False


def cached_set(
    samples: Sequence[Sample],
    size: int,
    parts: Parts,
    folder: Path,
    step: StepFactory = silent_step,
    *,
    fill: bool = True,
    digest: str | None = None,
) -> TrainingSet:
    """The training set of `samples` at size x size pixels, from the cache in `folder` or computed into it.

    step(name, unit): progress of each file. fill: False in a process that only reads what another one has
    computed. digest: of `samples_digest`, where it is known: it reads all files. Raises AnchorError for
    unreadable pictures, full disks, and where there is nothing to read.
    """
    place = folder / cache_key(samples, size, parts, digest)
    references, which = _reference_rows(samples)
    plans = _plans(samples, references, size, parts)
    if fill:
        place.mkdir(parents=True, exist_ok=True)
        for name, (label, files, rows_of) in plans.items():
            fill_rows(place / f"{name}.npy", files, rows_of, step, label)
    elif not all((place / f"{name}.npy").is_file() for name in plans):
        raise AnchorError(
            f"the main process has filled the cache {place} and this one does not see it; all machines need"
            " the same folder; choose a shared one as data.cache"
        )
    tensors = {name: open_rows(place / f"{name}.npy") for name in plans}
    latents = tensors["latents"]
    return TrainingSet(
        pose=tensors["pose"],
        mean=latents[:, 0],
        deviation=latents[:, 1],
        reference=tensors["reference"],
        which=torch.tensor(which),
        clip=clip_numbers(list(samples)),
        null=parts.null,
        inpaint=tensors.get("inpaint"),
        perturbed=tensors.get("perturbed"),
    )


def _reference_rows(samples: Sequence[Sample]) -> tuple[list[Path], list[int]]:
    """The pictures of the references, each once, and the row of each sample's.

    In the order of the samples: names would be in another one where the folders lie elsewhere.
    """
    rows: dict[Path, int] = {}
    which = [rows.setdefault(sample.reference, len(rows)) for sample in samples]
    return list(rows), which


RowsOf = Callable[[Sequence[Any]], np.ndarray]
Plan = tuple[str, Sequence[Any], RowsOf]
"""What it is called, one entry per row, and the rows (n, ...) of some of the entries."""


def _plans(samples: Sequence[Sample], references: Sequence[Path], size: int, parts: Parts) -> dict[str, Plan]:
    plans: dict[str, Plan] = {
        "pose": ("reading meshes", samples, lambda some: _meshes([s.source for s in some], size)),
        "latents": ("encoding frames", samples, lambda some: _latents(some, size, parts.vae)),
        "reference": ("reading references", references, lambda some: _references(some, size, parts)),
    }
    if samples[0].mask is not None:
        plans["inpaint"] = ("encoding surroundings", samples, lambda some: _inpaint(some, size, parts.vae))
    if samples[0].perturbed:
        plans["perturbed"] = ("reading perturbed meshes", samples, lambda some: _perturbed(some, size))
    return plans


def _meshes(files: Sequence[Path], size: int) -> np.ndarray:
    """(n, 3, size, size) uint8."""
    return read_squashed(files, size).transpose(0, 3, 1, 2)


def _perturbed(samples: Sequence[Sample], size: int) -> np.ndarray:
    """(n, K, 3, size, size) uint8."""
    return np.stack([_meshes(sample.perturbed, size) for sample in samples])


def _latents(samples: Sequence[Sample], size: int, vae: Any) -> np.ndarray:
    """(n, 2, C, h, w) float32: mean and deviation."""
    frames = read_squashed([sample.target for sample in samples], size)
    return torch.stack(encode_targets(vae, frames, chunk=_CHUNK), dim=1).numpy()


def _references(files: Sequence[Path], size: int, parts: Parts) -> np.ndarray:
    """(n, 3, S, S) pictures for the tower, or its tokens (n, T, D), float32."""
    from ..sgdm.appearance import appearance_tokens, preprocess_appearance

    pictures = torch.from_numpy(read_squashed(files, size))
    pixels = preprocess_appearance(pictures, int(parts.vision.config.image_size))
    if parts.train_vision:
        return pixels.numpy()
    with torch.no_grad():
        tokens: np.ndarray = appearance_tokens(parts.vision, pixels).float().cpu().numpy()
    return tokens


def _inpaint(samples: Sequence[Sample], size: int, vae: Any) -> np.ndarray:
    """(n, 1 + C, h, w) float32."""
    context = read_squashed([sample.context or sample.target for sample in samples], size)
    masks = read_squashed([sample.mask for sample in samples if sample.mask], size, grey=True)
    return encode_surroundings(vae, context, masks, chunk=_CHUNK).numpy()


def fill_rows(path: Path, entries: Sequence[Any], rows_of: RowsOf, step: StepFactory, label: str) -> None:
    """Make the file at `path` hold a row for each entry; goes on where a stopped run was.

    Rows are appended by plain writes: in a mapped file, a full disk would kill the process without a word.
    """
    if path.is_file():
        return
    partial = path.with_suffix(".part")
    done = _rows_done(partial)
    with step(label, " pictures") as bar:
        try:
            with partial.open("r+b" if done else "wb") as stream:
                _append(stream, entries, done, rows_of, bar)
            partial.replace(path)
        except OSError as error:
            raise AnchorError(
                f"{partial} cannot be written ({error.strerror or error}); free space and start again: what"
                " is done is kept"
            ) from error


def _append(stream: Any, entries: Sequence[Any], done: int, rows_of: RowsOf, bar: Progress) -> None:
    """Write the rows from `done` on; the header comes with the first, which knows shape and type."""
    import os

    if done:
        start, row, _ = _layout(stream)
        stream.truncate(start + done * row)
        stream.seek(0, os.SEEK_END)
    remaining = islice(entries, done, None)
    while some := list(islice(remaining, _CHUNK)):
        rows = np.ascontiguousarray(rows_of(some))
        if stream.tell() == 0:
            shape = (len(entries), *rows.shape[1:])
            header = {"descr": rows.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
        stream.write(rows.tobytes())
        done += len(some)
        bar(done, len(entries), None)
    stream.flush()
    os.fsync(stream.fileno())


def _rows_done(partial: Path) -> int:
    """Rows of a stopped run that can be trusted."""
    if not partial.is_file():
        return 0
    try:
        with partial.open("rb") as stream:
            start, row, _ = _layout(stream)
    except (ValueError, EOFError):  # the header itself is cut off
        return 0
    return max(0, (partial.stat().st_size - start) // row - _REDONE)


def _layout(stream: Any) -> tuple[int, int, tuple[int, ...]]:
    """(bytes before the rows, bytes of a row, shape) of a .npy file."""
    stream.seek(0)
    np.lib.format.read_magic(stream)
    shape, _, kind = np.lib.format.read_array_header_1_0(stream)
    return stream.tell(), math.prod(shape[1:]) * kind.itemsize, shape


def open_rows(path: Path) -> Tensor:
    """The rows of a finished file, mapped into memory: only what is used is read."""
    # "c": torch wants memory that may be written; nothing here does, so no page is ever copied.
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def cache_key(samples: Sequence[Sample], size: int, parts: Parts, digest: str | None = None) -> str:
    """Name of the content: pictures (digest: theirs, where it is known), size and networks."""
    key = hashlib.blake2b(digest_size=16)
    key.update(f"{_VERSION} {size} {parts.train_vision} {digest or samples_digest(samples)}".encode())
    key.update(np.array(_reference_rows(samples)[1]).tobytes())
    for network in (parts.vae, parts.vision):
        key.update(weights_digest(network).encode())
    return key.hexdigest()


def samples_digest(samples: Sequence[Sample]) -> str:
    """What the samples show, in their order, wherever the files lie."""
    known: dict[Path, bytes] = {}
    digest = hashlib.blake2b(digest_size=16)
    for sample in samples:
        files = (sample.source, sample.target, sample.reference, sample.mask, sample.context)
        for file in (*files, *sample.perturbed):
            if file is not None and file not in known:
                known[file] = _file_digest(file)
            digest.update(known[file] if file else b"-")
        digest.update(b"\n")
    # Which frames are neighbours is content too: clips of several frames are drawn from them.
    digest.update(clip_numbers(list(samples)).numpy().tobytes())
    return digest.hexdigest()


def _file_digest(file: Path) -> bytes:
    """Size, beginning and end of a picture: a PNG ends with checksums of all of its pixels."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(_ENDS)
        stream.seek(max(0, size - _ENDS))
        return hashlib.blake2b(b"%d" % size + start + stream.read(), digest_size=16).digest()


def weights_digest(network: Any) -> str:
    """Names and values of all weights, and what the config makes of them."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr(sorted((key, str(value)) for key, value in _facts(network).items())).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _facts(network: Any) -> dict[str, Any]:
    """Numbers of the config that change results and are no weights."""
    config = dict(network.config) if not hasattr(network.config, "to_dict") else network.config.to_dict()
    names = (
        "scaling_factor",
        "shift_factor",
        "image_size",
        "norm_num_groups",
        "num_attention_heads",
        "act_fn",
    )
    return {name: config[name] for name in names if name in config}
