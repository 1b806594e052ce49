"""Attention over all frames of a window (section 3.3, the cross-frame attention of ControlVideo).

In the U-Net the self-attention of a token reaches the tokens of every frame of its window. In the
ControlNet it stays inside the frame: the figure of the paper draws it over all frames there too, the
published weights and code do not. Cross-attention looks from all frames at one set of appearance
tokens, so their keys and values are projected once per window instead of once per frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .window import Window

AttentionFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(query, key, value), each (B, heads, tokens, head channels), to the same shape as the query."""

_MOST_SCORES = 2**27
"""Scores that are held at once where no kernel avoids holding them: 256 MB in half precision."""


def window_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """torch's attention, (B, heads, tokens, c); on Apple's GPUs the queries take turns.

    There torch holds all scores: 16 frames of 64 x 64 tokens would need 137 GB in half precision.
    """
    if query.device.type != "mps":
        return functional.scaled_dot_product_attention(query, key, value)
    return sliced_attention(query, key, value)


def sliced_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, most_scores: int = _MOST_SCORES
) -> torch.Tensor:
    """The same attention with at most `most_scores` scores at a time; queries do not depend on each other."""
    scores_per_query = query.shape[0] * query.shape[1] * key.shape[2]
    parts = query.split(max(1, most_scores // scores_per_query), dim=2)
    return torch.cat([functional.scaled_dot_product_attention(part, key, value) for part in parts], dim=2)


class WindowAttention:
    """Attention processor of diffusers that sees the frames of a window as one sequence of tokens.

    `across_frames` says whether self-attention crosses frames; cross-attention gives the same result
    either way. Attention masks are not supported: a window holds no padding.
    """

    def __init__(self, window: Window, across_frames: bool) -> None:
        self.window = window
        self.across_frames = across_frames
        self.attention: AttentionFunction = window_attention

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **_unused: Any,
    ) -> torch.Tensor:
        """Attend from `hidden_states` ((B F), T, C) to itself or to `encoder_hidden_states` (B, T, D)."""
        joined = self.across_frames or encoder_hidden_states is not None
        frames = self.window.frames if joined else 1
        # (B F) T C -> B (F T) C: a view, the frames of a window are neighbours in memory
        tokens = hidden_states.reshape(-1, frames * hidden_states.shape[1], hidden_states.shape[2])
        context = tokens if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            split_heads(project, attn.heads)
            for project in (attn.to_q(tokens), attn.to_k(context), attn.to_v(context))
        )
        attended = self.attention(query, key, value).transpose(1, 2).flatten(2)  # B (F T) (heads c)
        project_out, dropout = attn.to_out
        return dropout(project_out(attended)).reshape(hidden_states.shape)


def split_heads(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, tokens, heads * c) to (B, heads, tokens, c), without a copy."""
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)


def adapt_attention(network: nn.Module, window: Window, across_frames: bool) -> list[WindowAttention]:
    """Give every transformer block of `network` window attention; return the new processors."""
    from diffusers.models.attention import BasicTransformerBlock

    processors = []
    for block in network.modules():
        if not isinstance(block, BasicTransformerBlock):
            continue
        for attn in (block.attn1, block.attn2):
            if attn is None:
                continue
            processor = WindowAttention(window, across_frames)
            attn.set_processor(processor)
            processors.append(processor)
    return processors
