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

from .far_keys import Grid, Heads, far_attention
from .window import Window

AttentionFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(query, key, value), each (B, heads, tokens, head channels), to the same shape as the query."""

KeysValues = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of contexts, each (B, heads, T, c)."""

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
        self.reduces = False  # whether it is one of the layers that `far_keys` concerns
        self.number = 0  # its place among the layers that look at contexts, see `number_context_layers`

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **_unused: Any,
    ) -> torch.Tensor:
        """Attend from `hidden_states` ((B F), T, C) to itself or to `encoder_hidden_states` (B, T, D)."""
        if encoder_hidden_states is not None:
            return self.attend_to_contexts(attn, hidden_states, project_context(attn, encoder_hidden_states))
        return self.attend_own(attn, hidden_states)

    def attend_own(
        self, attn: Any, hidden_states: torch.Tensor, grid: Grid | None = None, far_keys: int = 1
    ) -> torch.Tensor:
        """Attend from ((B F), T, C) to all frames of the same window; returns the same shape.

        far_keys: in the largest layers, with `grid`, see the module `far_keys`.
        """
        frames = self.window.frames if self.across_frames else 1
        # (B F) T C -> B (F T) C: a view, the frames of a window are neighbours in memory
        tokens = hidden_states.reshape(-1, frames * hidden_states.shape[1], hidden_states.shape[2])
        query, key, value = (
            split_heads(project(tokens), attn.heads) for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        if self.reduces and far_keys > 1 and grid is not None:
            attended = far_attention(Heads(query, key, value), frames, grid, far_keys, self.attention)
        else:
            attended = self.attention(query, key, value)
        del query, key, value  # their memory serves the projection
        return self._joined(attn, attended).reshape(hidden_states.shape)

    def attend_to_contexts(
        self, attn: Any, hidden_states: torch.Tensor, keys_values: KeysValues, shared: bool = False
    ) -> torch.Tensor:
        """Attend from ((B F), T, C) to the keys and values of B contexts; returns ((B F), T, C).

        shared: `hidden_states` are (F, T, C), each looks at all contexts, and its query is projected once.
        """
        _images, length, width = hidden_states.shape
        contexts = len(keys_values[0])
        # All frames of all windows that look at one context are one sequence of queries.
        tokens = hidden_states.reshape(1 if shared else contexts, -1, width)
        query = split_heads(attn.to_q(tokens), attn.heads).expand(contexts, -1, -1, -1)
        attended = self.attention(query, *keys_values)
        del query
        return self._joined(attn, attended).reshape(-1, length, width)

    @staticmethod
    def _joined(attn: Any, attended: torch.Tensor) -> torch.Tensor:
        project_out, dropout = attn.to_out
        return dropout(project_out(attended.transpose(1, 2).flatten(2)))  # B tokens (heads c)


def project_context(attn: Any, context: torch.Tensor) -> KeysValues:
    """Keys and values (B, heads, T, c) of context tokens (B, T, D)."""
    key, value = (split_heads(project(context), attn.heads) for project in (attn.to_k, attn.to_v))
    return key, value


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


def number_context_layers(network: nn.Module) -> list[Any]:
    """The attention layers of `network` that look at a context; their processors learn their numbers."""
    from diffusers.models.attention import BasicTransformerBlock

    blocks = [block for block in network.modules() if isinstance(block, BasicTransformerBlock)]
    layers = [
        attn
        for block in blocks
        for attn in ([block.attn1] if block.only_cross_attention else []) + [block.attn2]
        if attn is not None
    ]
    for number, attn in enumerate(layers):
        attn.processor.number = number
    return layers
