"""The noise that a clip starts from.

The published sampler gives all frames the same noise: with a deterministic solver this is what keeps the
clip from flickering. The published code draws on the GPU in half precision, so its numbers depend on the
card; here noise is always drawn on the CPU in float32 and is the same everywhere.
"""

from __future__ import annotations

import torch

from ..errors import AnchorError


def draw_noise(
    seed: int,
    n_frames: int,
    channels: int,
    height: int,
    width: int,
    *,
    shared: bool = True,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Unit-variance noise from a seed: (F, C, h, w) on the CPU.

    seed: 0 .. 2**64-1. shared: one noise for all frames; otherwise each frame its own, where frame k is
    the same in clips of any length. height, width: of the latents.
    """
    check_seed(seed)
    if min(n_frames, channels, height, width) < 1:
        raise AnchorError(
            f"noise of {n_frames} frames, {channels} channels and {width}x{height} latents was asked for: "
            "need 1 or more of each; check that the clip has frames"
        )
    generator = torch.Generator("cpu").manual_seed(seed)
    one = (1, channels, height, width)
    if shared:
        return torch.randn(one, generator=generator).to(dtype).repeat(n_frames, 1, 1, 1)
    # One call per frame: a single large call would give other numbers when the clip's length changes.
    return torch.cat([torch.randn(one, generator=generator) for _ in range(n_frames)]).to(dtype)


def check_seed(seed: int) -> None:
    """Raise AnchorError unless the seed is one that every generator takes."""
    if not 0 <= seed < 2**64:
        raise AnchorError(f"seed is {seed}: need a whole number from 0 to {2**64 - 1}")
