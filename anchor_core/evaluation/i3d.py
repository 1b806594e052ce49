"""I3D (Carreira and Zisserman 2017, arXiv 1705.07750), whose logits the Fréchet video distance compares.

The two-stream inflated Inception-v1, its RGB half, with the names of tensors of the common PyTorch port
(`i3d_pretrained_400.pt`, `rgb_imagenet.pt`). TensorFlow pads "same", which is not symmetric where a stride
does not divide the side; so do we.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import AnchorError
from .weights import read_weights

CLASSES = 400

_Triple = tuple[int, int, int]
_MIXED: tuple[tuple[str, tuple[int, int, int, int, int, int]], ...] = (
    ("Mixed_3b", (64, 96, 128, 16, 32, 32)),
    ("Mixed_3c", (128, 128, 192, 32, 96, 64)),
    ("Mixed_4b", (192, 96, 208, 16, 48, 64)),
    ("Mixed_4c", (160, 112, 224, 24, 64, 64)),
    ("Mixed_4d", (128, 128, 256, 24, 64, 64)),
    ("Mixed_4e", (112, 144, 288, 32, 64, 64)),
    ("Mixed_4f", (256, 160, 320, 32, 128, 128)),
    ("Mixed_5b", (256, 160, 320, 32, 128, 128)),
    ("Mixed_5c", (384, 192, 384, 48, 128, 128)),
)
"""Channels of the four branches: 1x1; 1x1 then 3x3; 1x1 then 3x3; pool then 1x1 (GoogLeNet, table 1)."""
_POOL_BEFORE: dict[str, tuple[_Triple, _Triple]] = {
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
"""Kernel and stride of the pooling that comes before a block."""


def pad_same(x: Tensor, kernel: _Triple, stride: _Triple) -> Tensor:
    """Zeros around (B, C, F, H, W) so that ceil(side / stride) values come out; the odd one at the end."""
    edges: list[int] = []
    for side, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        total = max(k - s if side % s == 0 else k - side % s, 0)
        edges += [total // 2, total - total // 2]
    return functional.pad(x, edges)


def pool_same(x: Tensor, kernel: _Triple, stride: _Triple) -> Tensor:
    """Maximum over `kernel`; what is padded is 0, and what is pooled comes from a ReLU."""
    return functional.max_pool3d(pad_same(x, kernel, stride), kernel, stride)


class Unit3D(nn.Module):
    """Convolution, then batch norm and ReLU unless it ends in logits."""

    def __init__(self, channels: tuple[int, int], side: int = 1, step: int = 1, logits: bool = False) -> None:
        super().__init__()
        self.kernel, self.stride = (side,) * 3, (step,) * 3
        self.conv3d = nn.Conv3d(*channels, side, step, bias=logits)
        self.bn = None if logits else nn.BatchNorm3d(channels[1], eps=0.001, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, H, W) to the same with other channels."""
        x = self.conv3d(pad_same(x, self.kernel, self.stride))
        return x if self.bn is None else functional.relu(self.bn(x))


class InceptionBlock(nn.Module):
    """Four branches side by side."""

    def __init__(self, channels: int, out: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = Unit3D((channels, out[0]))
        self.b1a, self.b1b = Unit3D((channels, out[1])), Unit3D((out[1], out[2]), 3)
        self.b2a, self.b2b = Unit3D((channels, out[3])), Unit3D((out[3], out[4]), 3)
        self.b3b = Unit3D((channels, out[5]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, H, W) to the sum of the branches' channels."""
        pooled = pool_same(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


class I3D(nn.Module):
    """Clips to logits of Kinetics-400."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D((3, 64), 7, 2)
        self.Conv3d_2b_1x1 = Unit3D((64, 64))
        self.Conv3d_2c_3x3 = Unit3D((64, 192), 3)
        channels = 192
        for name, out in _MIXED:
            self.add_module(name, InceptionBlock(channels, out))
            channels = out[0] + out[2] + out[4] + out[5]
        self.logits = Unit3D((channels, CLASSES), logits=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, F, 224, 224) in [-1, 1] to (B, 400), the mean of the logits over time.

        F is 9 or more: fewer leave less than the two steps in time that the last average takes.
        """
        x = pool_same(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name, _ in _MIXED:
            if name in _POOL_BEFORE:
                x = pool_same(x, *_POOL_BEFORE[name])
            x = self.get_submodule(name)(x)
        x = functional.avg_pool3d(x, (2, 7, 7), 1)
        return self.logits(x).flatten(3).mean(dim=(2, 3))


def load_i3d(path: Path) -> I3D:
    """The network with the weights of a file. Raises AnchorError where they are another's."""
    with torch.device("meta"):
        network = I3D()
    try:
        network.load_state_dict(read_weights(path), strict=True, assign=True)
    except RuntimeError as error:
        raise AnchorError(
            f"{path.name} does not fit I3D ({str(error).splitlines()[-1].strip()[:200]}): give"
            " i3d_pretrained_400.pt, the weights of Kinetics-400 as tensors (TorchScript holds code)"
        ) from None
    return network.float().eval().requires_grad_(False)  # a file may hold halves
