"""Samples a long clip with a network that does nothing; prints by how many MiB the process has grown."""

from __future__ import annotations

import sys
from typing import Any

import torch

from anchor_core.sampling.conditioning import Conditioning
from anchor_core.sampling.sampler import Memory, SamplerSettings, sample
from anchor_core.sampling.schedulers import STABLE_DIFFUSION


class Still:
    """Mesh frames of any number that never lie in memory, as `Frames`."""

    dtype = torch.uint8

    def __init__(self, count: int) -> None:
        self.shape = (count, 32, 32, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> torch.Tensor:
        frames = [range(len(self))[index]] if isinstance(index, int) else range(len(self))[index]
        still = torch.zeros((len(frames), *self.shape[1:]), dtype=torch.uint8)
        return still[0] if isinstance(index, int) else still


class Lazy:
    """A network without work."""

    latent_channels = 4
    weight = torch.zeros(1)

    def parameters(self) -> Any:
        return iter([self.weight])

    def embed_pose(self, pose: torch.Tensor) -> torch.Tensor:
        return pose[:, :1]

    def __call__(self, latents: torch.Tensor, *_: Any) -> torch.Tensor:
        return latents * 0.5


def megabytes(name: str) -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name))


def make(n_frames: int, scheduler: str) -> None:
    tokens = torch.zeros(1, 5, 8)
    settings = SamplerSettings(steps=2, scheduler=scheduler)
    sample(
        Lazy(),
        Conditioning(Still(n_frames), tokens, tokens),
        settings,
        STABLE_DIFFUSION,
        memory=Memory(pose_gib=0),
    )


torch.set_num_threads(1)
make(20, sys.argv[2])  # what torch and the solvers need in any case
before = megabytes("VmRSS")
make(int(sys.argv[1]), sys.argv[2])
print(megabytes("VmHWM") - before)
