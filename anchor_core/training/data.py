"""Training samples in memory: pictures as bytes, targets as VAE posteriors, references ready for the tower.

A minute of video at 512 pixels is 1.4 GB of mesh pictures here. The published scripts decode the pictures
and run VAE and vision tower in every step, with the same result each time. The VAE's is a distribution:
mean and deviation are kept, and every step draws its own latents from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import AnchorError
from ..progress import Progress
from .manifest import Sample, read_manifest, read_pictures


@dataclass(frozen=True)
class Pictures:
    """What a manifest names, as bytes.

    source, target: (N, H, W, 3) uint8; reference: (R, h, w, 3) uint8, each picture once; which: (N,) int64,
    row of `reference` of each sample; clip: (N,) int64, equal for samples of one recording.
    For the face: mask: (N, H, W) uint8, 255 is kept and 0 painted; context: (N, H, W, 3) uint8, the pictures
    whose kept part the network sees, None for the targets.
    perturbed: (N, K, H, W, 3) uint8, each source again K times from a perturbed motion; None for none.
    """

    source: np.ndarray
    target: np.ndarray
    reference: np.ndarray
    which: Tensor
    clip: Tensor
    mask: np.ndarray | None = None
    context: np.ndarray | None = None
    perturbed: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class TrainingSet:
    """What the trainer of the SGDM reads.

    pose: (N, 3, H, W) uint8 mesh renders; mean, deviation: (N, C, h, w) posterior of the scaled latents;
    reference: (R, 3, S, S) preprocessed pictures when the vision tower is trained too, (R, T, D) tokens when
    it is frozen; which, clip: as in `Pictures`; null: (1, T, D) tokens of no appearance, None for zeros;
    inpaint: (N, 1 + C, h, w) of `encode_surroundings`, None where no mask was given; perturbed:
    (N, K, 3, H, W) uint8, `pose` again K times from a perturbed motion, None where none was given.
    """

    pose: Tensor
    mean: Tensor
    deviation: Tensor
    reference: Tensor
    which: Tensor
    clip: Tensor
    null: Tensor | None = None
    inpaint: Tensor | None = None
    perturbed: Tensor | None = None

    def starts(self, clip_length: int) -> Tensor:
        """First frames of all runs of `clip_length` frames that lie in one recording, int64."""
        last = torch.arange(clip_length - 1, len(self.clip))
        first = last - (clip_length - 1)
        starts = first[self.clip[first] == self.clip[last]]
        if not len(starts):
            raise AnchorError(
                f"no recording has {clip_length} frames in a row; need one at least; lower clip_length"
            )
        return starts


def join_sets(parts: Sequence[TrainingSet]) -> TrainingSet:
    """Several sets in a row as one; recordings stay apart. All need pictures of one size.

    Raises AnchorError when some have masks and others have none, or not as many perturbed meshes.
    """
    inpaint = [part.inpaint for part in parts if part.inpaint is not None]
    if 0 < len(inpaint) < len(parts):
        raise AnchorError(
            f"{len(inpaint)} of {len(parts)} training sets have masks; need them in all (face) or in none"
            " (body); join sets of one kind"
        )
    perturbed = [part.perturbed for part in parts if part.perturbed is not None]
    kinds = {0 if part.perturbed is None else part.perturbed.shape[1] for part in parts}
    if len(kinds) > 1:
        raise AnchorError(
            f"the training sets have {' and '.join(map(str, sorted(kinds)))} perturbed meshes per frame;"
            " need as many in all; prepare them with the same --perturbed"
        )
    rows = np.cumsum([0, *(len(part.reference) for part in parts)])
    clips = np.cumsum([0, *(int(part.clip[-1]) + 1 for part in parts)])
    return TrainingSet(
        pose=torch.cat([part.pose for part in parts]),
        mean=torch.cat([part.mean for part in parts]),
        deviation=torch.cat([part.deviation for part in parts]),
        reference=torch.cat([part.reference for part in parts]),
        which=torch.cat([part.which + int(row) for part, row in zip(parts, rows, strict=False)]),
        clip=torch.cat([part.clip + int(clip) for part, clip in zip(parts, clips, strict=False)]),
        null=parts[0].null,
        inpaint=torch.cat(inpaint) if inpaint else None,
        perturbed=torch.cat(perturbed) if perturbed else None,
    )


def load_pictures(manifest: Path, progress: Progress | None = None) -> Pictures:
    """Read all pictures of a manifest. Raises AnchorError for a bad line, file or size."""
    samples = read_manifest(manifest)
    references = sorted({sample.reference for sample in samples})
    rows = {file: row for row, file in enumerate(references)}
    target = read_pictures([sample.target for sample in samples], progress)
    source = read_pictures([sample.source for sample in samples])
    mask, context = read_surroundings(samples)
    perturbed = read_perturbed(samples)
    remedy = "mesh and frame need one size; render the mesh at the size of the video"
    _check_size(manifest, "sources", source, target, remedy)
    first = None if perturbed is None else perturbed[:, 0]
    for name, pictures in (("masks", mask), ("contexts", context), ("perturbed meshes", first)):
        if pictures is not None:
            _check_size(manifest, name, pictures, target, "both need one size; resize them to the targets'")
    return Pictures(
        source,
        target,
        reference=read_pictures(references),
        which=torch.tensor([rows[sample.reference] for sample in samples]),
        clip=clip_numbers(samples),
        mask=mask,
        context=context,
        perturbed=perturbed,
    )


def read_surroundings(samples: list[Sample]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Masks (N, H, W) and contexts (N, H, W, 3), uint8; None for what no line names."""
    masks = [sample.mask for sample in samples if sample.mask is not None]
    if not masks:
        return None, None
    mask = read_pictures(masks, grey=True)
    if all(sample.context is None for sample in samples):
        return mask, None
    return mask, read_pictures([sample.context or sample.target for sample in samples])


def read_perturbed(samples: list[Sample]) -> np.ndarray | None:
    """Perturbed meshes (N, K, H, W, 3), uint8; None where there are none. All lines have as many."""
    count = len(samples[0].perturbed)
    if not count:
        return None
    pictures = read_pictures([file for sample in samples for file in sample.perturbed])
    return pictures.reshape(-1, count, *pictures.shape[1:])


def clip_numbers(samples: list[Sample]) -> Tensor:
    """(N,) int64 that grows by one where the recording changes."""
    changes = [0] + [int(a.clip != b.clip) for a, b in pairwise(samples)]
    return torch.tensor(changes).cumsum(0)


@torch.no_grad()
def encode_targets(
    vae: Any, target: np.ndarray, chunk: int = 16, progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the posterior of the scaled latents, each (N, C, h, w) float32."""
    from ..sgdm.vae import scale_latents

    weight = next(vae.parameters())
    means, deviations = [], []
    for start in range(0, len(target), chunk):
        pixels = torch.from_numpy(target[start : start + chunk]).to(weight.device, weight.dtype)
        posterior = vae.encode(pixels.permute(0, 3, 1, 2) / 127.5 - 1).latent_dist
        means.append(scale_latents(vae, posterior.mean.float()).cpu())
        # Deviations scale without the shift: the difference of two scaled latents.
        above = scale_latents(vae, (posterior.mean + posterior.std).float()).cpu()
        deviations.append(above - means[-1])
        if progress:
            progress(min(start + chunk, len(target)), len(target), None)
    return torch.cat(means), torch.cat(deviations)


@torch.no_grad()
def prepare(
    pictures: Pictures, vae: Any, vision: Any, train_vision: bool, progress: Progress | None = None
) -> TrainingSet:
    """Run everything that stays the same over the training, once.

    vae, vision: `AutoencoderKL` and `CLIPVisionModel`; train_vision: the tower is trained along, so tokens
    cannot be computed here. Pictures with masks give a set for a face network.
    """
    from ..sgdm.appearance import appearance_tokens, preprocess_appearance

    mean, deviation = encode_targets(vae, pictures.target, progress=progress)
    reference = preprocess_appearance(torch.from_numpy(pictures.reference), int(vision.config.image_size))
    if not train_vision:
        reference = torch.cat([appearance_tokens(vision, part) for part in reference.split(64)]).float().cpu()
    pose = torch.from_numpy(pictures.source).permute(0, 3, 1, 2).contiguous()
    inpaint = None
    if pictures.mask is not None:
        context = pictures.target if pictures.context is None else pictures.context
        inpaint = encode_surroundings(vae, context, pictures.mask)
    perturbed = None
    if pictures.perturbed is not None:
        perturbed = torch.from_numpy(pictures.perturbed).permute(0, 1, 4, 2, 3).contiguous()
    return TrainingSet(
        pose,
        mean,
        deviation,
        reference,
        pictures.which,
        pictures.clip,
        inpaint=inpaint,
        perturbed=perturbed,
    )


def encode_surroundings(vae: Any, context: np.ndarray, mask: np.ndarray, chunk: int = 16) -> Tensor:
    """What a face network sees of the surroundings, (N, 1 + C, h, w) float32: mask, then masked latents.

    context: (N, H, W, 3) uint8; mask: (N, H, W) uint8, kept from 128 on. The channels are those of the
    face pass, whose masks say what to paint.
    """
    from ..face.codec import codec_of
    from ..face.inpaint import inpaint_channels

    # The mode, where the published training draws an unseeded sample: the surroundings are known, so they
    # need no noise, and computed once they stay equal. With Stable Diffusion's VAE the two hardly differ,
    # in tiny ones by 3 to 7 %.
    codec = codec_of(vae, posterior="mode")
    pictures, paint = torch.from_numpy(context), torch.from_numpy(255 - mask)
    parts = zip(pictures.split(chunk), paint.split(chunk), strict=True)
    return torch.cat([inpaint_channels(codec, picture / 255, part) for picture, part in parts])


def _check_size(manifest: Path, name: str, pictures: np.ndarray, target: np.ndarray, remedy: str) -> None:
    if pictures.shape[1:3] != target.shape[1:3]:
        raise AnchorError(
            f"the {name} of {manifest} have {_size(pictures)} pixels and the targets {_size(target)};"
            f" {remedy}"
        )


def _size(pictures: np.ndarray) -> str:
    return f"{pictures.shape[2]}x{pictures.shape[1]}"
