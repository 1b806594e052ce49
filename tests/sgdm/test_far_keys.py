"""Reduced keys of far frames: equal to a plain formulation with loops and an explicit softmax."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from anchor_core.errors import AnchorError
from anchor_core.sgdm.attention import sliced_attention, window_attention
from anchor_core.sgdm.far_keys import (
    Grid,
    Heads,
    block_sizes,
    check_far_keys,
    far_attention,
    largest_attentions,
)

CASES = [
    (1, Grid(4, 4), 2),
    (2, Grid(4, 4), 2),
    (5, Grid(4, 6), 2),
    (3, Grid(5, 3), 2),
    (4, Grid(7, 4), 3),
    (3, Grid(3, 5), 8),
    (3, Grid(1, 6), 2),
]


def random_heads(frames: int, grid: Grid, channels: int = 6, dtype: torch.dtype = torch.float64) -> Heads:
    """Two windows, three heads; strided as projections leave them."""
    generator = torch.Generator().manual_seed(frames)
    tokens = frames * grid.height * grid.width
    parts = torch.randn(2, tokens, 3, 3, channels, generator=generator, dtype=torch.float64).to(dtype)
    return Heads(*(part.transpose(1, 2) for part in parts.unbind(2)))


def averaged(tokens: Tensor, grid: Grid, block: int) -> tuple[Tensor, list[int]]:
    """(B, heads, T, c) of one frame to its averages, and how many tokens are in each."""
    image = tokens.unflatten(2, grid)
    parts = [
        image[:, :, row : row + block, column : column + block].flatten(2, 3)
        for row in range(0, grid.height, block)
        for column in range(0, grid.width, block)
    ]
    return torch.stack([part.mean(dim=2) for part in parts], dim=2), [part.shape[2] for part in parts]


def plainly(heads: Heads, frames: int, grid: Grid, block: int) -> Tensor:
    """The same by loops: own keys in full, averages of the others, each with the logarithm of its size."""
    query, key, value = (part.unflatten(2, (frames, -1)) for part in heads)
    out = []
    for frame in range(frames):
        keys, values, bias = [key[:, :, frame]], [value[:, :, frame]], [torch.zeros(key.shape[3])]
        for other in range(frames):
            if other != frame:
                far, counts = averaged(key[:, :, other], grid, block)
                keys.append(far)
                values.append(averaged(value[:, :, other], grid, block)[0])
                bias.append(torch.tensor([math.log(count) for count in counts]))
        scores = query[:, :, frame] @ torch.cat(keys, 2).transpose(2, 3) / math.sqrt(key.shape[-1])
        out.append((scores + torch.cat(bias)).softmax(dim=-1) @ torch.cat(values, 2))
    return torch.cat(out, dim=2)


@pytest.mark.parametrize(("frames", "grid", "block"), CASES)
def test_it_equals_a_plain_formulation(frames: int, grid: Grid, block: int) -> None:
    heads = random_heads(frames, grid)
    made = far_attention(heads, frames, grid, block, window_attention)
    torch.testing.assert_close(made, plainly(heads, frames, grid, block), rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [8, 15, 40])
def test_any_width_of_the_heads(channels: int) -> None:
    heads = random_heads(3, Grid(4, 4), channels)
    made = far_attention(heads, 3, Grid(4, 4), 2, window_attention)
    torch.testing.assert_close(made, plainly(heads, 3, Grid(4, 4), 2), rtol=0, atol=1e-6)


def test_blocks_of_one_token_and_single_frames_are_exact() -> None:
    heads = random_heads(4, Grid(3, 3))
    exact = window_attention(*heads)
    assert torch.equal(far_attention(heads, 4, Grid(3, 3), 1, window_attention), exact)
    assert torch.equal(far_attention(heads, 1, Grid(6, 6), 2, window_attention), exact)
    torch.testing.assert_close(plainly(heads, 4, Grid(3, 3), 1), exact)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 4e-3), (torch.bfloat16, 4e-2)])
def test_half_precision(dtype: torch.dtype, tolerance: float) -> None:
    heads = random_heads(3, Grid(4, 4), dtype=dtype)
    made = far_attention(heads, 3, Grid(4, 4), 2, window_attention)
    assert made.dtype == dtype
    expected = plainly(Heads(*(part.double() for part in heads)), 3, Grid(4, 4), 2)
    torch.testing.assert_close(made.double(), expected, rtol=0, atol=tolerance)


def test_queries_in_slices_give_the_same() -> None:
    heads = random_heads(3, Grid(4, 4))

    def slices(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return sliced_attention(query, key, value, most_scores=100)

    made = far_attention(heads, 3, Grid(4, 4), 2, slices)
    torch.testing.assert_close(made, far_attention(heads, 3, Grid(4, 4), 2, window_attention))


def test_fewer_keys_are_looked_at_and_none_is_masked() -> None:
    seen = []

    def counting(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen.append((query.shape[2], key.shape[2]))
        return window_attention(query, key, value)

    far_attention(random_heads(5, Grid(4, 4)), 5, Grid(4, 4), 2, counting)
    assert seen == [(16, 16 + 4 * 4)] * 5


def test_equal_keys_leave_nothing_to_approximate() -> None:
    """Where all tokens of a block are alike, the average with its logarithm stands for them exactly."""
    small = random_heads(3, Grid(2, 2))
    large = Heads(
        *(
            part.unflatten(2, (3, 2, 2)).repeat_interleave(2, 3).repeat_interleave(2, 4).flatten(2, 4)
            for part in small
        )
    )
    made = far_attention(large, 3, Grid(4, 4), 2, window_attention)
    torch.testing.assert_close(made, window_attention(*large), rtol=0, atol=1e-6)


def test_block_sizes_add_up_to_the_grid() -> None:
    assert block_sizes(Grid(5, 4), 2).tolist() == [4, 4, 4, 4, 2, 2]


def test_the_largest_layers_are_those_of_the_finest_level_that_has_attention(make_sgdm: Any) -> None:
    outermost = make_sgdm().unet
    assert [id(layer) for layer in largest_attentions(outermost)] == [
        id(block.attentions[i].transformer_blocks[0].attn1)
        for block, count in ((outermost.down_blocks[0], 1), (outermost.up_blocks[1], 2))
        for i in range(count)
    ]
    inner = make_sgdm(
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
    ).unet
    assert len(largest_attentions(inner)) == 3
    assert largest_attentions(inner)[0] is inner.down_blocks[1].attentions[0].transformer_blocks[0].attn1


def test_zero_is_refused() -> None:
    with pytest.raises(AnchorError, match=r"far_keys is 0: need 1 \(all keys\) or more"):
        check_far_keys(0)


def windows_of(sgdm: Any, frames: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    return {
        "latents": torch.randn(1, frames, 4, 6, 6, generator=generator),
        "timestep": torch.tensor(400),
        "contexts": torch.randn(2, 5, 24, generator=generator),
        "pose_features": torch.randn(1, frames, 16, 6, 6, generator=generator),
    }


def test_the_network_reduces_its_largest_layers_alone(make_sgdm: Any) -> None:
    sgdm = make_sgdm(down_block_types=["CrossAttnDownBlock2D"] * 2, up_block_types=["CrossAttnUpBlock2D"] * 2)
    lengths = set()

    def watching(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if key.shape[2] > 5:  # those of the contexts are five
            lengths.add((query.shape[2], key.shape[2]))
        return window_attention(query, key, value)

    sgdm.set_attention(watching)
    sgdm.guided(**windows_of(sgdm, 4), far_keys=2)
    controlnet, inner = {(36, 36), (9, 9)}, (4 * 9, 4 * 9)
    assert lengths == {(36, 36 + 3 * 9), inner, *controlnet}


def test_one_frame_and_far_keys_of_one_change_nothing(make_sgdm: Any) -> None:
    sgdm = make_sgdm()
    single, window = windows_of(sgdm, 1), windows_of(sgdm, 3)
    assert torch.equal(sgdm.guided(**single, far_keys=2), sgdm.guided(**single))
    assert torch.equal(sgdm.guided(**window, far_keys=1), sgdm.guided(**window))
    assert not torch.allclose(sgdm.guided(**window, far_keys=2), sgdm.guided(**window), atol=1e-4)
