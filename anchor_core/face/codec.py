"""Between face crops and latents: two functions, so that a host can bring an autoencoder of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..errors import AnchorError, is_out_of_memory
from ..sgdm.vae import check_frames, decode_frames, latent_stride, scale_latents

logger = logging.getLogger("anchor")

Posterior = Literal["mode", "sample"]
PUBLISHED_BATCH = 30
"""Crops that the published code encodes at once, with a generator that is seeded anew each time."""
_PUBLISHED_SEED = 0


@dataclass(frozen=True)
class LatentCodec:
    """An autoencoder as the face pass sees it.

    encode: pictures (n, S, S, 3) float32 in [0, 1], and the number of the first one in its sequence (for
    encoders that draw; others ignore it) -> latents (n, C, h, w) as they are diffused, near unit variance.
    decode: such latents -> pictures (n, S, S, 3) in [0, 1]. Both take and give tensors on the CPU.
    channels: C. stride: pixels per latent pixel, S / h.
    """

    encode: Callable[[Tensor, int], Tensor]
    decode: Callable[[Tensor], Tensor]
    channels: int = 4
    stride: int = 8


def codec_of(vae: Any, posterior: Posterior = "mode", batch: int = PUBLISHED_BATCH) -> LatentCodec:
    """The codec of an `AutoencoderKL`, where it lies and in its number type.

    Pictures that do not fit into the memory together are decoded in smaller groups.

    posterior: "mode" takes the mean of what the encoder gives; "sample" draws from it as published, from seed
    0 for each `batch` crops: crop k of a sequence gets the noise of row k % batch.
    """
    if posterior not in get_args(Posterior):
        raise AnchorError(f"posterior is {posterior!r}: choose 'mode' or 'sample' (as published)")
    if batch < 1:
        raise AnchorError(f"batch is {batch}: need 1 or more crops; {PUBLISHED_BATCH} is published")

    def encode(pictures: Tensor, first: int) -> Tensor:
        rows = (torch.arange(first, first + len(pictures)) % batch) if posterior == "sample" else None
        return _encode(vae, pictures, rows, batch)

    return LatentCodec(encode, _Decoder(vae), int(vae.config.latent_channels), latent_stride(vae))


class _Decoder:
    """Decodes all that it is given at once, and less at a time from where the memory was too small on."""

    def __init__(self, vae: Any) -> None:
        self._vae, self._most = vae, 0  # 0: as many as there are

    def __call__(self, latents: Tensor) -> Tensor:
        while (frames := self._decoded(latents, self._most or len(latents))) is None:
            # Only here, where the error no longer holds what was computed.
            if next(self._vae.parameters()).device.type == "cuda":
                torch.cuda.empty_cache()
            logger.warning("decoding is out of memory: %d pictures at a time from now on", self._most)
        return frames

    def _decoded(self, latents: Tensor, at_once: int) -> Tensor | None:
        """None where the memory is too small for so many and smaller groups are left to try."""
        try:
            return decode_frames(self._vae, latents, chunk=at_once)
        except (MemoryError, RuntimeError) as error:
            if at_once == 1 or not is_out_of_memory(error):
                raise
            self._most = at_once // 2
            return None


@torch.no_grad()
def _encode(vae: Any, pictures: Tensor, rows: Tensor | None, batch: int) -> Tensor:
    """Scaled latents (n, C, h, w) float32: the mean, or the draw of these rows of a batch."""
    check_frames(pictures, latent_stride(vae))
    weight = next(vae.parameters())
    pixels = pictures.to(weight.device, weight.dtype).permute(0, 3, 1, 2) * 2 - 1
    posterior = vae.encode(pixels).latent_dist
    latents = posterior.mean
    if rows is not None:
        generator = torch.Generator("cpu").manual_seed(_PUBLISHED_SEED)
        noise = torch.randn((batch, *latents.shape[1:]), generator=generator)[rows]
        latents = latents + posterior.std * noise.to(latents)
    return scale_latents(vae, latents.float()).cpu()
