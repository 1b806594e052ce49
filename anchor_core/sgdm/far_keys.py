"""Reduced keys of far frames: an approximation of attention over all frames of a window.

A token looks at its own frame in full, and at the other frames through averages: their keys and values are
averaged over blocks of n x n tokens of the grid. With F frames of T tokens that leaves T + (F - 1) T / n^2
keys instead of F T; at 16 frames and n = 2 these are 3.4 times fewer. An average stands for as many keys as
it holds, so its score gets their logarithm. Text2Video-Zero (arXiv 2303.13439) leaves far frames out and
VidToMe (arXiv 2312.10656) joins tokens that look alike; plain averages need no search for them.

The logarithm travels in a further channel of the heads, where all queries hold 1: kernels that know no mask
compute it, and those that pad heads to 64 channels do so for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import AnchorError

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]

_ALIGNED = 8
"""Channels of a head come in multiples of this: what flash kernels take without padding them once more."""


class Grid(NamedTuple):
    """Places of the tokens of one frame, row by row."""

    height: int
    width: int


class Heads(NamedTuple):
    """Query, key and value of windows of frames, each (B, heads, F T, c), frame by frame."""

    query: Tensor
    key: Tensor
    value: Tensor


def check_far_keys(far_keys: int) -> None:
    """Raise AnchorError unless `far_keys` is the side of a block of tokens."""
    if far_keys < 1:
        raise AnchorError(
            f"far_keys is {far_keys}: need 1 (all keys) or more, the side of the blocks of tokens that are "
            "averaged; usual is 2"
        )


def far_attention(heads: Heads, frames: int, grid: Grid, far_keys: int, attention: Attention) -> Tensor:
    """Attention whose keys of other frames are averaged over blocks of far_keys x far_keys tokens.

    heads: of windows of `frames` frames of `grid` tokens; blocks at the rim of a grid that does not divide
    are smaller. attention: computes (query, key, value) as torch does. Returns (B, heads, F T, c); for one
    frame, or far_keys 1, what `attention` gives. Not for training: buffers are written anew for each frame.
    """
    if frames == 1 or far_keys == 1:
        return attention(*heads)
    views = Heads(*(part.transpose(1, 2).unflatten(1, (frames, -1)) for part in heads))  # B F T heads c
    out = torch.empty_like(views.query, memory_format=torch.contiguous_format)
    turns = _Turns(views, grid, far_keys)
    for frame in range(frames):
        own = turns.take(frame)
        attended = attention(*(part.transpose(1, 2) for part in own))
        out[:, frame] = attended[..., : out.shape[-1]].transpose(1, 2)
    return out.flatten(1, 2).transpose(1, 2)


class _Turns:
    """What the queries of a frame attend to, frame after frame, in the same memory.

    The order of keys means nothing to attention. So when the next frame takes its turn, its averages, which
    it does not need, make room for those of the frame before. views: (B, F, T, heads, c) each.
    """

    def __init__(self, views: Heads, grid: Grid, block: int) -> None:
        self._views = views
        self._far = tuple(_averaged(part, grid, block) for part in (views.key, views.value))
        batch, frames, self._tokens, heads, self._width = views.query.shape
        self._blocks = self._far[0].shape[2]
        length, wide = self._tokens + (frames - 1) * self._blocks, _widened(self._width)
        self._query = views.query.new_zeros(batch, self._tokens, heads, wide)
        self._key, self._value = (views.query.new_zeros(batch, length, heads, wide) for _ in range(2))
        # `attention` divides by the root of the widened channels, which neither scores nor bias are to feel.
        self._scale = math.sqrt(wide / self._width)
        bias = (block_sizes(grid, block).log() * math.sqrt(wide)).to(self._key)
        self._query[..., self._width] = 1
        self._key[:, self._tokens :, :, self._width] = bias.repeat(frames - 1)[:, None]
        for frame in range(1, frames):
            self._put_far(frame, place=frame - 1)

    def take(self, frame: int) -> Heads:
        """Query (B, T, heads, c + padding), key and value of a frame; 0, 1, 2, .. in this order."""
        if frame:
            self._put_far(frame - 1, place=frame - 1)
        torch.mul(self._views.query[:, frame], self._scale, out=self._query[..., : self._width])
        self._key[:, : self._tokens, :, : self._width] = self._views.key[:, frame]
        self._value[:, : self._tokens, :, : self._width] = self._views.value[:, frame]
        return Heads(self._query, self._key, self._value)

    def _put_far(self, frame: int, place: int) -> None:
        """Write a frame's averages into the place-th room behind the own tokens."""
        start = self._tokens + place * self._blocks
        for far, buffer in zip(self._far, (self._key, self._value), strict=True):
            buffer[:, start : start + self._blocks, :, : self._width] = far[:, frame]


def _averaged(tokens: Tensor, grid: Grid, block: int) -> Tensor:
    """Averages over blocks of the grid: (B, F, T, heads, c) to (B, F, blocks, heads, c)."""
    image = tokens.unflatten(2, grid)  # B F h w heads c, a view whatever the strides are
    rows, columns = -(-grid.height // block), -(-grid.width // block)
    total = tokens.new_zeros(*tokens.shape[:2], rows, columns, *tokens.shape[3:])
    for row in range(min(block, grid.height)):
        for column in range(min(block, grid.width)):
            part = image[:, :, row::block, column::block]
            total[:, :, : part.shape[2], : part.shape[3]] += part
    counts = block_sizes(grid, block).to(total).view(1, 1, rows, columns, 1, 1)
    return (total / counts).flatten(2, 3)


def block_sizes(grid: Grid, block: int) -> Tensor:
    """Tokens in each block, row by row: (blocks,) float32; block^2, and less at the rim."""
    rows, columns = (
        torch.tensor([min(block, side - start) for start in range(0, side, block)], dtype=torch.float32)
        for side in grid
    )
    return torch.outer(rows, columns).flatten()


def _widened(channels: int) -> int:
    """Channels of a head with room for the bias."""
    return (channels // _ALIGNED + 1) * _ALIGNED


def largest_attentions(unet: Any) -> list[nn.Module]:
    """The self-attention layers of a U-Net of diffusers at the largest resolution that has any.

    At Stable Diffusion these are the five of 64 x 64 tokens (512 x 512 pixels), 59 % of all arithmetic.
    """
    from diffusers.models.attention import BasicTransformerBlock

    down, up = list(unet.down_blocks), list(unet.up_blocks)[::-1]
    for level in zip(down, up, strict=True):
        layers = [
            module.attn1
            for block in level
            for module in block.modules()
            if isinstance(module, BasicTransformerBlock) and module.attn1 is not None
        ]
        if layers:
            return layers
    return []
