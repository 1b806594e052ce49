"""Deep features that are reused between steps (DeepCache, Ma, Fang and Wang, CVPR 2024, arXiv 2312.00858).

From one step to the next the inside of a U-Net changes little. In a full step all of it runs, and what enters
the last layer of its last up block is kept. In the steps between only the first convolution and that layer
run, and of the ControlNet only what it adds to their skip connection; what was kept stands for all others.

A window's features are as large as the largest of its layers: 84 MB at 16 guided frames of 512 x 512 pixels
in half precision. They lie in the host's memory, so that the device's depends on the window alone, and there
are at most `MOST_GIB` of them.
"""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from ..errors import AnchorError

MOST_GIB = 4.0
"""Of all windows of a clip: about 600 frames of 512 x 512 pixels with guidance."""


class DeepFeatures:
    """What is kept of one window, or of windows that go through the network together.

    Empty at first; the network fills it in a full step and reads it in the steps after.
    """

    def __init__(self) -> None:
        self._kept: Tensor | None = None
        self.filled = False

    def keep(self, features: Tensor) -> None:
        """Keep features of a full step; they are not copied on the CPU, so nobody may write to them."""
        if features.device.type == "cpu":
            self._kept = features
        else:
            if self._kept is None or self._kept.shape != features.shape:
                pinned = features.device.type == "cuda"
                self._kept = torch.empty(features.shape, dtype=features.dtype, pin_memory=pinned)
            self._kept.copy_(features)  # waits: another device may read it next
        self.filled = True

    def on(self, device: torch.device) -> Tensor:
        """The features on a device."""
        if self._kept is None or not self.filled:
            raise RuntimeError("no features were kept: run a full step first")
        # Other devices than CUDA's may read on before such a copy has arrived.
        return self._kept.to(device, non_blocking=device.type == "cuda")

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return 0 if self._kept is None else self._kept.nbytes


class ClipFeatures:
    """The deep features of all windows of a clip.

    n_parts: how many there will be, of this process; a window whose guidance halves run one after the other
    counts twice.
    """

    def __init__(self, n_parts: int, most_gib: float = MOST_GIB) -> None:
        self._n_parts, self._most = n_parts, most_gib * 2**30
        self._parts: dict[Hashable, DeepFeatures] = {}

    def of(self, part: Hashable, anew: bool) -> DeepFeatures:
        """Those of a part, to be filled where `anew`. Raises AnchorError where all will not have room."""
        found = self._parts.setdefault(part, DeepFeatures())
        if anew:
            self._check(max(features.nbytes for features in self._parts.values()))
            found.filled = False
        return found

    def _check(self, largest: int) -> None:
        if largest * self._n_parts > self._most:
            raise AnchorError(
                f"reuse keeps {largest / 2**20:.0f} MiB for each of {self._n_parts} windows and has "
                f"{self._most / 2**30:g} GiB in all: set reuse to 1, or render the clip in shorter parts"
            )
