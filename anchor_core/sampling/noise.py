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
    return NoiseStream(seed, (channels, height, width), shared=shared).take(n_frames).to(dtype)


class NoiseStream:
    """The same noise, some frames at a time.

    shape: (C, h, w) of a frame. The frames of all calls of `take` together are those of one `draw_noise`.
    """

    def __init__(self, seed: int, shape: tuple[int, int, int], *, shared: bool) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._shape = (1, *shape)
        self._shared = self._draw() if shared else None

    def take(self, n_frames: int) -> torch.Tensor:
        """The next frames, (n, C, h, w) float32."""
        if self._shared is not None:
            return self._shared.repeat(n_frames, 1, 1, 1)
        # One draw per frame: a single large one would give other numbers when the clip's length changes.
        frames = torch.empty((n_frames, *self._shape[1:]))
        for number in range(n_frames):
            frames[number] = self._draw()[0]
        return frames

    def _draw(self) -> torch.Tensor:
        return torch.randn(self._shape, generator=self._generator)


def check_seed(seed: int) -> None:
    """Raise AnchorError unless the seed is one that every generator takes."""
    if not 0 <= seed < 2**64:
        raise AnchorError(f"seed is {seed}: need a whole number from 0 to {2**64 - 1}")
