"""What a clip remembers of its contexts: as long as nothing changed, and no longer than the clip."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from anchor_core.sgdm.network import SGDM

MakeSGDM = Callable[..., SGDM]
LAYERS = 6  # cross-attention layers of the tiny networks: 4 and 2


class Counter:
    """Counts how many keys are projected."""

    def __init__(self, sgdm: SGDM) -> None:
        self._calls = 0
        for part in ("unet", "controlnet"):
            for attn in sgdm._context_layers[part]:
                attn.to_k.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self._calls += 1

    def taken(self) -> int:
        """Calls since the last question."""
        calls, self._calls = self._calls, 0
        return calls


def given(sgdm: SGDM) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(1)
    pose = torch.rand(2, 3, 64, 64, generator=draw)
    return {
        "latents": torch.randn(1, 2, 4, 8, 8, generator=draw),
        "timestep": torch.tensor(500),
        "contexts": torch.randn(2, 5, 24, generator=draw),
        "pose_features": sgdm.embed_pose(pose)[None].detach(),
    }


def test_contexts_are_projected_once_in_a_clip_and_always_outside(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm()
    window, counter = given(sgdm), Counter(sgdm)
    expected = sgdm.guided(**window)
    sgdm.guided(**window)
    assert counter.taken() == 2 * LAYERS
    with sgdm.one_clip():
        for timestep in (500, 400, 500):
            last = sgdm.guided(**{**window, "timestep": timestep})
        assert counter.taken() == LAYERS
    assert torch.equal(last, expected)
    sgdm.guided(**window)
    assert counter.taken() == LAYERS


def test_parts_of_contexts_are_remembered_on_their_own(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm()
    window, counter = given(sgdm), Counter(sgdm)
    parts = window["contexts"].split(1)
    with sgdm.one_clip():
        together = sgdm.guided(**window)
        for _ in range(2):
            apart = torch.cat([sgdm.guided(**{**window, "contexts": part}) for part in parts])
        sgdm.guided(**window)
    assert counter.taken() == 3 * LAYERS
    torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-5)


def test_other_contexts_and_weights_are_projected_anew(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm()
    window, counter = given(sgdm), Counter(sgdm)
    layer = sgdm.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_v

    def replace_weight() -> None:
        layer.weight = torch.nn.Parameter(layer.weight * 3)

    changes: list[Callable[[], Any]] = [
        lambda: window.update(contexts=window["contexts"].clone()),
        lambda: window["contexts"].mul_(2),
        lambda: layer.weight.detach().mul_(2),
        replace_weight,
        lambda: (
            sgdm.double()
            and window.update(
                {name: value.double() for name, value in window.items() if value.is_floating_point()}
            )
        ),
    ]
    with sgdm.one_clip():
        sgdm.guided(**window)
        for change in changes:
            before = counter.taken()
            change()
            predicted = sgdm.guided(**window)
            assert before
            assert counter._calls >= LAYERS - 2  # the U-Net's alone, where only its weights changed
            assert torch.equal(copy.deepcopy(sgdm).guided(**window), predicted)


def test_memory_ends_with_the_last_of_overlapping_clips(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm()
    window, counter = given(sgdm), Counter(sgdm)
    first, second = sgdm.one_clip(), sgdm.one_clip()
    with first:
        sgdm.guided(**window)
        with second:
            sgdm.guided(**window)
        sgdm.guided(**window)
        assert counter.taken() == LAYERS
    assert sgdm._context_memory._kept == []


def test_memory_ends_when_the_clip_fails(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm()
    window = given(sgdm)
    kept = weakref.ref(window["contexts"])
    with pytest.raises(InterruptedError), sgdm.one_clip():
        sgdm.guided(**window)
        raise InterruptedError
    del window
    gc.collect()
    assert kept() is None


def test_few_contexts_are_kept(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm()
    window = given(sgdm)
    with sgdm.one_clip():
        for _ in range(20):
            sgdm.guided(**{**window, "contexts": window["contexts"].clone()})
        assert len(sgdm._context_memory._kept) <= 8


def test_copies_remember_on_their_own(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm()
    window = given(sgdm)
    with sgdm.one_clip():
        expected = sgdm.guided(**window)
        twin = copy.deepcopy(sgdm)
        counter = Counter(twin)
        assert torch.equal(twin.guided(**window), expected)
        twin.guided(**window)
        assert counter.taken() == 2 * LAYERS  # a copy has not entered the clip
        shallow = copy.copy(sgdm)  # other fidelity, same weights: one memory
        counter = Counter(sgdm)
        shallow.guided(**window)
        assert counter.taken() == 0
