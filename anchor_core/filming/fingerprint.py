"""Short names of contents, which tell whether a render goes on with what it was begun with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

_SAMPLED = 2**16
"""Numbers of a network's tensor that are read at most, evenly chosen: a training changes all of them, and
reading gigabytes would keep every render waiting."""
_KNOWN: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
"""Of networks as they were when first seen: later they may lie on a device in another number type."""


def fingerprint(*things: Any) -> str:
    """16 hexadecimal digits of arrays, tensors, networks, dataclasses and plain values: the same for the same
    contents, in any process."""
    digest = hashlib.blake2b(digest_size=8)
    for thing in things:
        for piece in _pieces(thing):
            digest.update(len(piece).to_bytes(8, "little"))
            digest.update(piece)
    return digest.hexdigest()


def _pieces(thing: Any) -> Iterator[bytes | memoryview]:
    yield type(thing).__name__.encode()
    if isinstance(thing, torch.Tensor):
        plain = thing.detach().cpu()
        yield from _pieces((plain.float() if plain.dtype == torch.bfloat16 else plain).numpy())
    elif isinstance(thing, np.ndarray):
        yield f"{thing.dtype} {thing.shape}".encode()
        yield np.ascontiguousarray(thing).reshape(-1).view(np.uint8).data
    elif isinstance(thing, nn.Module):
        yield _network(thing).encode()
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            yield str(key).encode()
            yield from _pieces(value)
    elif is_dataclass(thing):
        yield from _pieces({field.name: getattr(thing, field.name) for field in fields(thing)})
    elif isinstance(thing, (list, tuple)):
        for part in thing:
            yield from _pieces(part)
    else:
        yield repr(thing).encode()


def _network(network: nn.Module) -> str:
    if network not in _KNOWN:
        weights = network.state_dict()
        sampled = {name: _thinned(weight) for name, weight in weights.items()}
        _KNOWN[network] = fingerprint({name: list(weight.shape) for name, weight in weights.items()}, sampled)
    return _KNOWN[network]


def _thinned(weight: torch.Tensor) -> torch.Tensor:
    flat = weight.detach().reshape(-1)
    some = flat[:: max(1, flat.numel() // _SAMPLED)].cpu()
    return some.float() if some.is_floating_point() else some
