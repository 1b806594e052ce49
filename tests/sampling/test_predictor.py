"""How networks are asked for windows, and what happens when one does not fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.sampling.conditioning import Conditioning
from anchor_core.sampling.sampler import Memory, SamplerSettings, sample
from anchor_core.sampling.schedulers import STABLE_DIFFUSION

SETTINGS = SamplerSettings(steps=4, guidance_scale=2.0, condition_scale=0.7, window_size=6, overlap=2, seed=1)

Run = Callable[..., torch.Tensor]


@pytest.fixture
def run(clip: Any, appearance: torch.Tensor, null: torch.Tensor) -> Run:
    """run(network, settings, **options): latents of 22 frames, 5 windows."""
    conditioning = Conditioning(clip(22), appearance, null)

    def sampled(network: Any, settings: SamplerSettings = SETTINGS, **options: Any) -> torch.Tensor:
        return sample(network, conditioning, settings, STABLE_DIFFUSION, **options)

    return sampled


def close(ours: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)


def test_a_network_that_shares_is_asked_for_all_contexts_at_once(
    run: Run, network: Any, sharing: Any
) -> None:
    close(run(sharing), run(network))
    assert [ask["windows"] for ask in sharing.asked] == [1] * 5 * 4
    assert len({id(ask["contexts"]) for ask in sharing.asked}) == 1  # known again in each step
    assert sharing.asked[0]["contexts"].shape == (2, 5, 8)
    assert not sharing.in_clip


def test_halves_of_the_guidance_keep_their_contexts(run: Run, sharing: Any, network: Any) -> None:
    close(run(sharing, memory=Memory(split_guidance=True)), run(network))
    assert len({id(ask["contexts"]) for ask in sharing.asked}) == 2
    assert {ask["contexts"].shape[0] for ask in sharing.asked} == {1}


@pytest.mark.parametrize("split", [False, True])
def test_windows_go_together_the_last_batch_is_smaller(
    run: Run, network: Any, sharing: Any, split: bool
) -> None:
    alone = run(network)
    memory = Memory(windows_at_once=2, split_guidance=split)
    close(run(sharing, memory=memory), alone)
    assert [ask["windows"] for ask in sharing.asked[:: 2 if split else 1]] == [2, 2, 1] * 4
    network.calls.clear()
    close(run(network, memory=memory), alone)
    batch = 1 if split else 2
    assert [call["shape"][0] for call in network.calls[:: 3 - batch]] == [2 * batch, 2 * batch, batch] * 4


def test_windows_of_other_lengths_do_not_go_together(run: Run, sharing: Any, network: Any) -> None:
    settings = replace(SETTINGS, schedule="reference", window_size=8, overlap=2)  # 8, 8, 8 and 4 frames
    close(run(sharing, settings, memory=Memory(windows_at_once=4)), run(network, settings))
    assert [ask["windows"] for ask in sharing.asked] == [3, 1] * 4


def test_every_window_of_a_batch_is_reported(run: Run, sharing: Any) -> None:
    calls: list[Any] = []
    run(sharing, memory=Memory(windows_at_once=3), callback=lambda *call: calls.append(call))
    assert [call[:4] for call in calls] == [(s, w, 4, 5) for s in range(4) for w in range(5)]
    assert {tuple(call[4].shape) for call in calls} == {(6, 4, 2, 3)}


def test_guidance_acts_in_its_interval(run: Run, sharing: Any, network: Any) -> None:
    settings = replace(SETTINGS, guidance_start=0.25, guidance_end=0.75)
    close(run(sharing, settings), run(network, settings))
    assert [len(ask["contexts"]) for ask in sharing.asked[::5]] == [1, 2, 2, 1]
    assert torch.equal(sharing.asked[0]["contexts"][0], sharing.asked[5]["contexts"][1])  # the appearance
    assert [call["shape"][0] for call in network.calls[::5]] == [1, 2, 2, 1]
    nowhere = replace(SETTINGS, guidance_start=0.5, guidance_end=0.5)
    assert not nowhere.guided
    assert torch.equal(run(network, nowhere), run(network, replace(SETTINGS, guidance_scale=1.0)))
    assert not torch.equal(run(network, nowhere), run(network, settings))


def test_far_keys_and_deep_features_are_handed_through(run: Run, sharing: Any) -> None:
    run(sharing, replace(SETTINGS, far_keys=2, reuse=2))
    assert {ask["far_keys"] for ask in sharing.asked} == {2}
    deep = [[ask["deep"] for ask in sharing.asked[step * 5 : step * 5 + 5]] for step in range(4)]
    assert len({id(features) for features in deep[0]}) == 5  # each window has its own
    assert [id(features) for features in deep[1]] == [id(features) for features in deep[0]]
    assert all(ask["deep"] is None for ask in sharing.asked[20:])
    sharing.asked.clear()
    run(sharing)
    assert {ask["deep"] for ask in sharing.asked} == {None}


def test_deep_features_are_computed_in_every_third_step_and_the_last() -> None:
    settings = replace(SETTINGS, steps=8, reuse=3)
    assert [step for step in range(8) if settings.computes_deep(step)] == [0, 3, 6, 7]
    changing = replace(settings, guidance_start=0.25)  # the batch changes at step 2
    assert [step for step in range(8) if changing.computes_deep(step)] == [0, 2, 3, 6, 7]
    part = replace(settings, denoise=0.5)
    assert [step for step in range(4, 8) if part.computes_deep(step)] == [4, 7]


def test_a_network_without_the_approximations_refuses_them(run: Run, network: Any) -> None:
    with pytest.raises(
        AnchorError, match="far_keys is 2 and this network computes everything in full: set far"
    ):
        run(network, replace(SETTINGS, far_keys=2))
    with pytest.raises(AnchorError, match="reuse is 2 and this network"):
        run(network, replace(SETTINGS, reuse=2))


class Full:
    """Makes a network run out of memory where a batch of images, or kept pose features, are too many."""

    def __init__(self, monkeypatch: Any, network: Any, most: int, error: Exception, needs: str = "") -> None:
        forward, self.most = network.forward, most

        def limited(latents: torch.Tensor, *rest: Any, **extra: Any) -> torch.Tensor:
            if len(latents) * latents.shape[1] > most:
                raise error
            if needs == "chunk" and network.feed_forward_chunk != 1:
                raise error
            return forward(latents, *rest, **extra)

        monkeypatch.setattr(network, "forward", limited)


CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
MPS = RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")


@pytest.mark.parametrize("error", [CUDA, MPS], ids=["cuda", "mps"])
def test_out_of_memory_is_tried_again_with_less(
    run: Run, network: Any, monkeypatch: Any, caplog: Any, error: Exception
) -> None:
    wanted = run(network)
    Full(monkeypatch, network, 6, error)  # one window in one context
    close(run(network, memory=Memory(windows_at_once=3)), wanted)
    lines = [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()]
    assert lines == [  # each is said once, and holds from then on
        "cpu is out of memory: one window at a time from now on, with the same result",
        "cpu is out of memory: one half of the guidance after the other from now on, with the same result",
    ]
    assert {call["shape"][0] for call in network.calls[-5 * 4 * 2 :]} == {1}


def test_feed_forward_layers_are_chunked_and_restored(run: Run, sharing: Any, monkeypatch: Any) -> None:
    wanted = run(sharing)
    sharing.asked.clear()
    run(sharing, memory=Memory(feed_forward_chunk=4))
    assert {ask["chunk"] for ask in sharing.asked} == {4}
    Full(monkeypatch, sharing, 6, CUDA, needs="chunk")
    close(run(sharing), wanted)
    assert sharing.asked[-1]["chunk"] == 1
    assert sharing.feed_forward_chunk == 0


def test_pose_features_that_do_not_fit_are_dropped_and_nothing_else_changes(
    run: Run, network: Any, monkeypatch: Any, caplog: Any
) -> None:
    wanted, embed = run(network), network.embed_pose

    def limited(pose: torch.Tensor) -> torch.Tensor:
        if network.embedded >= 13:  # of 22 frames: there is no room for those of the clip
            network.embedded = -(10**6)
            raise CUDA
        return embed(pose)

    network.embedded = 0
    monkeypatch.setattr(network, "embed_pose", limited)
    close(run(network, memory=Memory(windows_at_once=2)), wanted)
    assert [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()] == [
        "cpu is out of memory: pose features computed for each window from now on, with the same result"
    ]


def test_a_window_that_never_fits_is_refused_with_what_was_tried(
    run: Run, network: Any, sharing: Any, monkeypatch: Any
) -> None:
    Full(monkeypatch, network, 5, CUDA)
    Full(monkeypatch, sharing, 5, CUDA)
    message = (
        "^a window of 6 frames of 24x16 pixels does not fit into the memory of cpu, not even with "
        "one window at a time, one half of the guidance after the other, pose features computed for each "
        "window: set window_size below 6, or make a smaller picture$"
    )
    with pytest.raises(AnchorError, match=message):
        run(network, memory=Memory(windows_at_once=2))
    with pytest.raises(AnchorError, match="other, feed-forward layers image by image, pose features"):
        run(sharing)
    assert sharing.feed_forward_chunk == 0


def test_other_errors_pass_through(run: Run, network: Any, monkeypatch: Any) -> None:
    Full(monkeypatch, network, 0, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(network)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windows_at_once": 0}, "windows_at_once is 0: need 1 or more"),
        ({"feed_forward_chunk": -1}, "feed_forward_chunk is -1: need 0 or more"),
        ({"pose_gib": float("nan")}, "pose_gib is nan: need 0 or more"),
    ],
)
def test_bad_memory_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        Memory(**changes)


def test_weights_that_do_not_fit_are_named(run: Run, network: Any, monkeypatch: Any) -> None:
    def full(**_: Any) -> None:
        raise CUDA

    monkeypatch.setattr(network, "to", full)
    with pytest.raises(
        AnchorError, match="the network's weights do not fit into the memory of cpu: end what"
    ):
        run(network, dtype=torch.float16)
