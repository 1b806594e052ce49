"""GroupNorm whose statistics are shared by the frames of a window.

The published code runs the ResNet blocks on (B, C, F, h, w): mean and variance are taken over
(C / groups, F, h, w), in the U-Net and in the ControlNet, and so is the norm before the last
convolution. The norms at the entry of the transformer blocks see single frames and are left alone.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .window import Window


class WindowGroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` on ((B F), C, h, w) with one mean and variance per window and group.

    Takes over the parameters of `norm`: names in the state dict stay as they were.
    """

    def __init__(self, norm: nn.GroupNorm, window: Window) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, norm.affine, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.window = window
        self.train(norm.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        frames = self.window.frames
        if frames == 1:
            return super().forward(input)
        count, channels, height, width = input.shape
        if input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous():
            # (B F) h w C in memory: a window already is one tall image, seen without a copy
            tall = input.permute(0, 2, 3, 1).reshape(count // frames, frames * height, width, channels)
            normed = self._normalized(tall.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            return normed.reshape(count, height, width, channels).permute(0, 3, 1, 2)
        # (B F) C h w -> B C F (h w): two copies, and still faster than var_mean and a scale on CPU
        volume = input.reshape(-1, frames, channels, height * width).transpose(1, 2)
        return self._normalized(volume).transpose(1, 2).reshape(input.shape)

    def _normalized(self, volume: torch.Tensor) -> torch.Tensor:
        return functional.group_norm(volume, self.num_groups, self.weight, self.bias, self.eps)


def adapt_normalization(network: nn.Module, window: Window) -> None:
    """Share the GroupNorm statistics of the ResNet blocks, and of the output, of `network` over windows."""
    from diffusers.models.resnet import ResnetBlock2D

    owners = [
        (block, name)
        for block in network.modules()
        if isinstance(block, ResnetBlock2D)
        for name in ("norm1", "norm2")
    ]
    owners.append((network, "conv_norm_out"))
    for owner, name in owners:
        norm = getattr(owner, name, None)
        if isinstance(norm, nn.GroupNorm):
            setattr(owner, name, WindowGroupNorm(norm, window))
