"""Keys and values of the contexts in cross-attention: the same in all steps and windows of a clip.

They are kept only inside of `one_clip`, and used again only for the same tensor object with the same
content, and for the same weights.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .attention import KeysValues, project_context

_MOST_KEPT = 8  # both networks, for the contexts together and one by one


@dataclass(frozen=True)
class _Kept:
    layers: Sequence[Any]
    context: torch.Tensor
    stamps: list[tuple[Any, ...]]
    keys_values: list[KeysValues]


class ContextMemory:
    """Projects contexts for the cross-attention layers of a network, and remembers that during a clip."""

    def __init__(self) -> None:
        self._clips = 0
        self._kept: list[_Kept] = []
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> ContextMemory:
        # A copied network has weights of its own, and begins its own clips.
        memo[id(self)] = fresh = ContextMemory()
        return fresh

    def __reduce__(self) -> tuple[type[ContextMemory], tuple[()]]:
        return ContextMemory, ()

    @contextmanager
    def one_clip(self) -> Iterator[None]:
        """Remember inside of the block; clips of several threads may overlap."""
        with self._lock:
            self._clips += 1
        try:
            yield
        finally:
            with self._lock:
                self._clips -= 1
                if not self._clips:
                    self._kept = []

    def project(self, layers: Sequence[Any], context: torch.Tensor) -> list[KeysValues]:
        """Keys and values of context tokens (B, T, D) for each of the layers."""
        if not self._clips:
            return [project_context(attn, context) for attn in layers]
        stamps = [_stamp(context), *(_stamp(tensor) for attn in layers for tensor in _weights(attn))]
        for kept in self._kept:
            if kept.layers is layers and kept.context is context and _same(kept.stamps, stamps):
                return kept.keys_values
        projected = [project_context(attn, context) for attn in layers]
        with self._lock:
            if self._clips:
                others = [
                    kept for kept in self._kept if kept.layers is not layers or kept.context is not context
                ]
                self._kept = [*others[-_MOST_KEPT + 1 :], _Kept(layers, context, stamps, projected)]
        return projected


def _weights(attn: Any) -> Iterator[torch.Tensor]:
    for projection in (attn.to_k, attn.to_v):
        yield from nn.Module.parameters(projection)


def _stamp(tensor: torch.Tensor) -> tuple[Any, ...]:
    """What changes when a tensor is written to, moved or replaced; it holds the tensor, so that no other
    one can take its place in memory."""
    version = None if tensor.is_inference() else tensor._version
    return tensor, tensor.data_ptr(), version


def _same(before: list[tuple[Any, ...]], now: list[tuple[Any, ...]]) -> bool:
    return len(before) == len(now) and all(
        a[0] is b[0] and a[1:] == b[1:] for a, b in zip(before, now, strict=True)
    )
