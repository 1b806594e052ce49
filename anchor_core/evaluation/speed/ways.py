"""The ways to make a clip that are compared: the published loop, and ours with one saving after the other.

The sampler takes any network (`Network`), so a saving is switched off by handing it one that lacks it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from ...sampling.sampler import Memory, sample
from ...sampling.schedulers import STABLE_DIFFUSION
from ...sgdm.engine import Engine, tune
from ...sgdm.network import SGDM
from .profiles import Problem
from .published import Attention, PublishedNetworks, fused_attention, published_loop, written_attention

Run = Callable[[Problem], torch.Tensor]
"""Makes a clip: (N, C, h, w) float32 on the CPU."""

WRITTEN = "published loop as written"
PUBLISHED = "published loop with SDPA"


@dataclass(frozen=True)
class Way:
    """One way to make a clip. exact: whether it has to equal the published loop up to rounding."""

    name: str
    run: Run
    exact: bool = True


class PlainNetwork:
    """An SGDM as any network that only predicts: without what it shares among contexts and remembers."""

    def __init__(self, sgdm: SGDM) -> None:
        self._sgdm = sgdm

    @property
    def latent_channels(self) -> int:
        """Channels of the latents that are denoised."""
        return self._sgdm.latent_channels

    def embed_pose(self, pose: torch.Tensor) -> torch.Tensor:
        """See `SGDM.embed_pose`."""
        return self._sgdm.embed_pose(pose)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The weights."""
        return self._sgdm.parameters()

    def __call__(self, *args: Any, **extra: Any) -> torch.Tensor:
        """See `SGDM.forward`."""
        return self._sgdm(*args, **extra)


class ForgetfulNetwork(PlainNetwork):
    """An SGDM that shares among contexts what does not depend on them, and forgets after each window."""

    feed_forward_chunk = 0

    def guided(self, *args: Any, **options: Any) -> torch.Tensor:
        """See `SGDM.guided`."""
        return self._sgdm.guided(*args, **options)

    def one_clip(self) -> AbstractContextManager[None]:
        """Remembers nothing."""
        return nullcontext()


def exact_ways(sgdm: SGDM, as_written: bool = True, compiled: bool = False) -> list[Way]:
    """The published loop, and ours with one saving more in each line. The SGDM stays as it is.

    as_written: also the loop whose attention holds all scores, first. compiled: also by torch.compile.
    """
    device = next(sgdm.parameters()).device
    tuned = tune(copy.deepcopy(sgdm), Engine(attention="sdpa", channels_last=True))
    ways = [
        *([_published(WRITTEN, sgdm, written_attention)] if as_written else []),
        _published(PUBLISHED, sgdm, fused_attention),
        _ours("frames as a batch of images, one accumulator", PlainNetwork(sgdm), Memory(pose_gib=0.0)),
        _ours("+ condition embedding once per clip", PlainNetwork(sgdm)),
        _ours("+ guidance shares what comes before its contexts", ForgetfulNetwork(sgdm)),
        _ours("+ keys and values of the contexts once per clip", sgdm),
        _ours("+ two windows at once (alone)", sgdm, Memory(windows_at_once=2)),
        _ours("+ channels last", tuned),
    ]
    if device.type == "cuda":
        kernels = tune(copy.deepcopy(tuned), Engine(channels_last=True))
        ways.append(_ours("+ the GPU's best attention kernel", kernels))
    if compiled:
        whole = tune(copy.deepcopy(sgdm), Engine(channels_last=True, compile=True))
        ways.append(_ours("+ torch.compile", whole))
    return ways


def default_way(sgdm: SGDM) -> Way:
    """What a user gets without a word: the last window at full length, the mid block as trained."""
    on_gpu = next(sgdm.parameters()).is_cuda
    network = tune(copy.deepcopy(sgdm), Engine(channels_last=on_gpu))
    network.fidelity = "trained"
    run = _run(network, Memory())

    def shifted(problem: Problem) -> torch.Tensor:
        return run(replace(problem, settings=replace(problem.settings, schedule="static")))

    return Way("default", shifted, exact=False)


def _published(name: str, sgdm: SGDM, attention: Attention) -> Way:
    networks = PublishedNetworks(sgdm, attention)

    def run(problem: Problem) -> torch.Tensor:
        latents = published_loop(
            *(networks, problem.pose, problem.tokens, problem.settings, STABLE_DIFFUSION, problem.noise)
        )
        return latents.float().cpu()

    return Way(name, run)


def _ours(name: str, network: Any, memory: Memory | None = None) -> Way:
    return Way(name, _run(network, memory or Memory()))


def _run(network: Any, memory: Memory) -> Run:
    def run(problem: Problem) -> torch.Tensor:
        return sample(
            *(network, problem.conditioning, problem.settings, STABLE_DIFFUSION),
            noise=problem.noise,
            memory=memory,
        )

    return run
