"""What a network in training makes of frames that it never sees: the pictures that say more than the loss.

Each held-out frame is sampled on its own, as single frames are what the network is trained on, from the same
noise at every visit: pictures of two steps differ by what was learned between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..render.mesh import to_bytes
from ..sampling.conditioning import Conditioning
from ..sampling.sampler import SamplerSettings, sample
from ..sampling.schedulers import NoiseSchedule
from ..sgdm.appearance import encode_appearance
from ..sgdm.network import SGDM
from ..sgdm.vae import decode_frames
from .data import Pictures, encode_surroundings
from .manifest import Sample, read_manifest, read_squashed

N_SAMPLES = 4
"""As many as the published scripts show."""


@dataclass(frozen=True, eq=False)
class HeldOutSampler:
    """Samples the frames of `pictures` from their meshes; called, it gives (n, H, W, 3) uint8.

    The parts are used where they lie and in their number types. vision: the tower, asked anew each time, as
    it may be trained along. null: (1, T, D) tokens of no appearance, None for zeros as the training has them.
    pictures: with masks for a face network.
    """

    sgdm: SGDM
    vae: Any
    vision: Any
    pictures: Pictures
    noise_schedule: NoiseSchedule
    settings: SamplerSettings
    null: Tensor | None = None

    @property
    def mesh(self) -> np.ndarray:
        """(n, H, W, 3) uint8, what the network is given."""
        return self.pictures.source

    @property
    def truth(self) -> np.ndarray:
        """(n, H, W, 3) uint8, what it should give."""
        return self.pictures.target

    def __call__(self) -> Tensor:
        """Raises AnchorError when the numbers overflow or the parts do not fit each other."""
        tokens = encode_appearance(self.vision, torch.from_numpy(self.pictures.reference)).float()
        latents = [self._sample(index, tokens) for index in range(len(self.pictures))]
        frames = decode_frames(self.vae, torch.cat(latents), chunk=1)
        return torch.from_numpy(to_bytes(frames))

    def _sample(self, index: int, tokens: Tensor) -> Tensor:
        """Latents (1, C, h, w) of one frame."""
        appearance = tokens[self.pictures.which[index]][None]
        null = torch.zeros_like(appearance) if self.null is None else self.null
        pose = torch.from_numpy(self.pictures.source[index : index + 1])
        inpaint = None if self._inpaint is None else self._inpaint[index : index + 1]
        conditioning = Conditioning(pose, appearance, null.to(appearance), inpaint)
        return sample(self.sgdm, conditioning, self.settings, self.noise_schedule)

    @cached_property
    def _inpaint(self) -> Tensor | None:
        """(n, 1 + C, h, w) for a face network."""
        if self.pictures.mask is None:
            return None
        context = self.pictures.target if self.pictures.context is None else self.pictures.context
        return encode_surroundings(self.vae, context, self.pictures.mask)


def held_out_sampler(
    sgdm: SGDM,
    vae: Any,
    vision: Any,
    pictures: Pictures,
    noise_schedule: NoiseSchedule,
    settings: SamplerSettings,
    null: Tensor | None = None,
    n_samples: int = N_SAMPLES,
) -> HeldOutSampler:
    """A sampler of `n_samples` frames of `pictures`, evenly chosen.

    sgdm: the network in training (and vision, where that is trained along). pictures: held out, at the
    trained size. settings: of the anchor's card; windows are set to single frames.
    """
    single = replace(settings, window_size=1, overlap=0, schedule="static", weighting="flat")
    return HeldOutSampler(sgdm, vae, vision, some_pictures(pictures, n_samples), noise_schedule, single, null)


def held_out_pictures(manifest: Path, count: int, size: int) -> Pictures:
    """`count` evenly chosen samples of a manifest, squashed to `size` x `size` pixels as training does.

    Raises AnchorError for a bad line or file.
    """
    samples = read_manifest(manifest)
    samples = [samples[index] for index in evenly(len(samples), count)]
    return Pictures(
        source=read_squashed([sample.source for sample in samples], size),
        target=read_squashed([sample.target for sample in samples], size),
        reference=read_squashed([sample.reference for sample in samples], size),
        which=torch.arange(len(samples)),
        clip=torch.arange(len(samples)),  # none is the neighbour of another
        **_surroundings(samples, size),
    )


def some_pictures(pictures: Pictures, count: int) -> Pictures:
    """`count` evenly chosen samples, each with a reference of its own."""
    chosen = torch.tensor(evenly(len(pictures), count))
    rows = chosen.numpy()
    return Pictures(
        source=pictures.source[rows],
        target=pictures.target[rows],
        reference=pictures.reference[pictures.which[chosen].numpy()],
        which=torch.arange(len(rows)),
        clip=torch.arange(len(rows)),
        mask=None if pictures.mask is None else pictures.mask[rows],
        context=None if pictures.context is None else pictures.context[rows],
    )


def evenly(length: int, count: int) -> list[int]:
    """At most `count` different indices of `length` places: the middles of equal parts."""
    count = max(1, min(count, length))
    return [(2 * part + 1) * length // (2 * count) for part in range(count)]


def _surroundings(samples: Sequence[Sample], size: int) -> dict[str, np.ndarray]:
    masks = [sample.mask for sample in samples if sample.mask is not None]
    if not masks:
        return {}
    context = [sample.context or sample.target for sample in samples]
    return {"mask": read_squashed(masks, size, grey=True), "context": read_squashed(context, size)}
