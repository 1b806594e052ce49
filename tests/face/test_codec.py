"""Codecs of autoencoders: as many pictures at once as there is memory for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from anchor_core.face.codec import codec_of

from ..anchor import models


class SmallMemory:
    """An autoencoder that can decode so many pictures together, and counts those that it was given."""

    def __init__(self, most: int, error: str = "CUDA out of memory. Tried to allocate 9 bytes.") -> None:
        torch.manual_seed(0)
        self._vae, self._most, self._error = models.tiny_vae(), most, error
        self.given: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vae, name)

    def decode(self, latents: torch.Tensor, **options: Any) -> Any:
        self.given.append(len(latents))
        if len(latents) > self._most:
            raise RuntimeError(self._error)
        return self._vae.decode(latents, **options)


LATENTS = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(1))


def test_too_little_memory_makes_smaller_groups_from_then_on(caplog: Any) -> None:
    vae = SmallMemory(3)
    decode = codec_of(vae).decode
    torch.testing.assert_close(decode(LATENTS), codec_of(SmallMemory(8)).decode(LATENTS))
    assert vae.given == [8, 4, 2, 2, 2, 2]
    assert "decoding is out of memory: 2 pictures at a time from now on" in caplog.text
    vae.given.clear()
    decode(LATENTS[:5])
    assert vae.given == [2, 2, 1]


def test_enough_memory_takes_all_at_once() -> None:
    vae = SmallMemory(8)
    codec_of(vae).decode(LATENTS)
    assert vae.given == [8]


@pytest.mark.parametrize(("most", "error"), [(0, "CUDA out of memory."), (3, "something else")])
def test_other_errors_and_no_memory_at_all_pass_through(most: int, error: str) -> None:
    with pytest.raises(RuntimeError, match=error):
        codec_of(SmallMemory(most, error)).decode(LATENTS)
