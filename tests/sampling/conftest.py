"""Small networks that stand in for SGDM where a test asks about the sampler alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn


class WindowNetwork(nn.Module):
    """Mixes the frames of a window, the tokens and the pose, so that nothing can be left out unseen."""

    latent_channels = 4

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.linspace(-0.5, 0.5, 16).view(4, 4))
        self.calls: list[dict[str, Any]] = []
        self.embedded = 0

    def embed_pose(self, pose: torch.Tensor) -> torch.Tensor:
        self.embedded += len(pose)
        return nn.functional.avg_pool2d(pose, 8)

    def forward(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        appearance: torch.Tensor,
        pose_features: torch.Tensor,
        condition_scale: float = 1.0,
        inpaint: torch.Tensor | None = None,
    ) -> torch.Tensor:
        self.calls.append(
            {"shape": latents.shape, "dtype": latents.dtype, "scale": condition_scale, "inpaint": inpaint}
        )
        pose = pose_features.mean(dim=2, keepdim=True) * condition_scale
        token = appearance.mean(dim=(1, 2)).view(-1, 1, 1, 1, 1)
        mixed = torch.einsum("bfchw,cd->bfdhw", latents, self.mix)
        extra = 0 if inpaint is None else inpaint.mean(dim=2, keepdim=True)
        around = latents.mean(dim=1, keepdim=True)
        felt = torch.tanh(mixed + 0.3 * around + pose + token + extra)
        return felt * (1 + timestep / 1000).to(latents.dtype)


class SharingNetwork(WindowNetwork):
    """The same, asked as SGDM is: for several windows in several contexts at once."""

    def __init__(self) -> None:
        super().__init__()
        self.feed_forward_chunk = 0
        self.in_clip = False
        self.asked: list[dict[str, Any]] = []

    @contextmanager
    def one_clip(self) -> Iterator[None]:
        self.in_clip = True
        yield
        self.in_clip = False

    def guided(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        contexts: torch.Tensor,
        pose_features: torch.Tensor,
        condition_scale: float = 1.0,
        inpaint: torch.Tensor | None = None,
        *,
        far_keys: int = 1,
        deep: Any = None,
    ) -> torch.Tensor:
        assert self.in_clip
        chunk = self.feed_forward_chunk
        self.asked.append(
            {
                "windows": len(latents),
                "contexts": contexts,
                "far_keys": far_keys,
                "deep": deep,
                "chunk": chunk,
            }
        )
        extra = {} if inpaint is None else {"inpaint": inpaint}
        of = [
            self(latents, timestep, one.expand(len(latents), -1, -1), pose_features, condition_scale, **extra)
            for one in contexts.split(1)
        ]
        features = torch.stack(of)
        if deep is not None and deep.filled:
            return 0.5 * features + 0.5 * deep.on(features.device)
        if deep is not None:
            deep.keep(features)
        return features


@pytest.fixture
def network() -> WindowNetwork:
    return WindowNetwork()


@pytest.fixture
def sharing() -> SharingNetwork:
    return SharingNetwork()


@pytest.fixture(scope="session")
def clip() -> Callable[[int], torch.Tensor]:
    """clip(n): pose frames (n, 16, 24, 3) in [0, 1]; latents are 2 x 3."""

    def make(n_frames: int) -> torch.Tensor:
        return torch.rand(n_frames, 16, 24, 3, generator=torch.Generator().manual_seed(5))

    return make


@pytest.fixture(scope="session")
def appearance() -> torch.Tensor:
    return torch.linspace(-1, 2, 1 * 5 * 8).view(1, 5, 8)


@pytest.fixture(scope="session")
def null(appearance: torch.Tensor) -> torch.Tensor:
    return -0.5 * appearance
