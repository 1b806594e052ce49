"""Several devices of a process, and several processes, make the clip of one."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.sampling import dealing
from anchor_core.sampling.conditioning import Conditioning
from anchor_core.sampling.dealing import make_jobs
from anchor_core.sampling.sampler import Memory, SamplerSettings, sample
from anchor_core.sampling.schedulers import SCHEDULERS, STABLE_DIFFUSION
from anchor_core.sampling.state import SampleState

SETTINGS = SamplerSettings(steps=3, guidance_scale=2.0, condition_scale=0.7, window_size=6, overlap=4, seed=1)

Run = Callable[..., torch.Tensor]


@pytest.fixture
def run(clip: Any, appearance: torch.Tensor, null: torch.Tensor) -> Run:
    conditioning = Conditioning(clip(25), appearance, null)  # 11 windows, three over most frames

    def sampled(network: Any, settings: SamplerSettings = SETTINGS, **options: Any) -> torch.Tensor:
        return sample(network, conditioning, settings, STABLE_DIFFUSION, **options)

    return sampled


def copies(network: Any, count: int) -> list[tuple[Any, str, None]]:
    """Further devices; the CPU again, and networks that nobody has called."""
    made = [copy.deepcopy(network) for _ in range(count)]
    for one in made:
        one.calls.clear()
    return [(one, "cpu", None) for one in made]


def slowed(monkeypatch: Any, network: Any, seconds: float) -> None:
    forward = network.forward

    def slow(*args: Any, **extra: Any) -> torch.Tensor:
        time.sleep(seconds)
        return forward(*args, **extra)

    monkeypatch.setattr(network, "forward", slow)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Any:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_devices_give_the_bits_of_one(run: Run, network: Any, monkeypatch: Any, scheduler: str) -> None:
    settings = replace(SETTINGS, scheduler=scheduler, shared_noise=False, weighting="pyramid")
    alone = run(network, settings)
    others = copies(network, 2)
    slowed(monkeypatch, others[0][0], 0.002)
    network.calls.clear()
    calls: list[Any] = []
    together = run(network, settings, others=others, callback=lambda *call: calls.append(call[:4]))
    assert torch.equal(together, alone)
    assert calls == [(s, w, 3, 11) for s in range(3) for w in range(11)]
    shares = [len(one.calls) for one in (network, *(other[0] for other in others))]
    assert sum(shares) == 33
    assert min(shares) > 0


def test_a_slow_device_is_given_fewer_windows(run: Run, network: Any, monkeypatch: Any) -> None:
    others = copies(network, 1)
    slowed(monkeypatch, others[0][0], 0.05)
    run(network, others=others)
    assert len(others[0][0].calls) < len(network.calls)


def test_with_reused_features_a_window_stays_with_its_device(
    run: Run, sharing: Any, monkeypatch: Any
) -> None:
    others = copies(sharing, 1)
    slowed(monkeypatch, others[0][0], 0.01)
    settings = replace(SETTINGS, reuse=3)
    together = run(sharing, settings, others=others)
    assert torch.equal(together, run(copies(sharing, 1)[0][0], settings))
    assert [len(one.asked) for one in (sharing, others[0][0])] == [18, 15]
    assert len({id(ask["deep"]) for ask in sharing.asked}) == 6  # each again in the next step


def test_batches_are_shared_too(run: Run, network: Any) -> None:
    memory = Memory(windows_at_once=2)
    assert torch.equal(run(network, memory=memory, others=copies(network, 1)), run(network, memory=memory))


def test_an_error_of_a_thread_reaches_the_caller(run: Run, network: Any, monkeypatch: Any) -> None:
    others = copies(network, 1)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the second card fell off the bus")

    monkeypatch.setattr(others[0][0], "forward", broken)
    with pytest.raises(RuntimeError, match="the second card fell off the bus"):
        run(network, others=others)
    assert len(network.calls) <= 8


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interruption_stops_all_threads(run: Run, network: Any, monkeypatch: Any, error: type) -> None:
    def stop(step: int, window: int, *_: Any) -> None:
        if (step, window) == (1, 2):
            raise error

    slowed(monkeypatch, network, 0.001)
    with pytest.raises(error):
        run(network, others=copies(network, 2), callback=stop)
    assert torch.is_grad_enabled()


def test_out_of_memory_on_one_device_changes_only_how_that_one_works(
    run: Run, network: Any, monkeypatch: Any
) -> None:
    alone, others = run(network), copies(network, 1)
    forward = others[0][0].forward

    def small(latents: torch.Tensor, *rest: Any, **extra: Any) -> torch.Tensor:
        if len(latents) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(latents, *rest, **extra)

    monkeypatch.setattr(others[0][0], "forward", small)
    network.calls.clear()
    torch.testing.assert_close(run(network, others=others), alone, rtol=1e-5, atol=1e-5)
    assert {call["shape"][0] for call in network.calls} == {2}


def test_threads_work_in_the_callers_inference_mode(run: Run, network: Any) -> None:
    with torch.inference_mode():
        there = network, *copies(network, 1)[0][:1]
        result = run(there[0], others=[(there[1], "cpu", None)])
    assert torch.equal(result, run(network))


def test_windows_are_begun_on_the_device_of_their_network(run: Run, network: Any, monkeypatch: Any) -> None:
    entered: list[torch.device] = []

    def current(device: torch.device) -> Any:
        entered.append(device)
        return nullcontext()

    monkeypatch.setattr(dealing, "_current", current)
    run(network)
    assert entered == [torch.device("cpu")] * 33


def test_jobs_are_neighbours_of_one_length() -> None:
    windows = [tuple(range(n)) for n in (6, 6, 6, 3, 6)]
    numbers = [job.numbers for job in make_jobs(windows, [0, 1, 2, 3, 4], 2)]
    assert numbers == [(0, 1), (2,), (3,), (4,)]
    assert [job.numbers for job in make_jobs(windows, [0, 2, 4], 2)] == [(0, 2), (4,)]
    assert make_jobs(windows, [], 2) == []


class Together:
    """Processes of a test: threads that sum."""

    def __init__(self, world: int) -> None:
        self.barrier = threading.Barrier(world, timeout=20)
        self.world = world
        self.tensors: list[Any] = [None] * world
        self.sums = 0


class Rank:
    def __init__(self, together: Together, rank: int) -> None:
        self.together, self.rank, self.world, self.main = together, rank, together.world, rank == 0
        self.during: list[str] = []

    def sum(self, tensor: torch.Tensor, during: str = "") -> None:
        assert tensor.is_contiguous()
        self.during.append(during)
        self.together.tensors[self.rank] = tensor.clone()
        self.together.barrier.wait()
        tensor.copy_(sum(self.together.tensors))
        self.together.barrier.wait()

    def broadcast(self, tensor: torch.Tensor, during: str = "") -> None:
        raise NotImplementedError

    def barrier(self, during: str = "") -> None:
        raise NotImplementedError

    def check_shared(self, folder: Any) -> None:
        raise NotImplementedError


class Memo:
    seconds = 0.0

    def __init__(self) -> None:
        self.saved: list[SampleState] = []

    def load(self) -> SampleState | None:
        return copy.deepcopy(self.saved[-1]) if self.saved else None

    def save(self, state: SampleState) -> None:
        self.saved.append(copy.deepcopy(state))


def in_ranks(world: int, work: Callable[[Rank], torch.Tensor]) -> list[torch.Tensor]:
    together, results = Together(world), [torch.empty(0)] * world
    ranks = [Rank(together, number) for number in range(world)]

    def one(rank: Rank) -> None:
        results[rank.rank] = work(rank)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = ["the beginning", *(f"step {step} of 3" for step in (1, 2, 3))]
    assert all(rank.during == whole for rank in ranks)
    return results


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("overlap", [2, 4])
def test_processes_give_the_clip_of_one(run: Run, network: Any, scheduler: str, overlap: int) -> None:
    settings = replace(
        SETTINGS, overlap=overlap, scheduler=scheduler, schedule="reference", weighting="pyramid"
    )
    alone = run(network, settings)
    networks = [one for one, *_ in copies(network, 3)]
    keeps, calls = [Memo() for _ in range(3)], [[], [], []]  # type: ignore[var-annotated]
    results = in_ranks(
        3,
        lambda rank: run(
            networks[rank.rank],
            settings,
            ranks=rank,
            keep=keeps[rank.rank],
            callback=lambda *call: calls[rank.rank].append(call[:4]),
        ),
    )
    assert all(torch.equal(result, results[0]) for result in results)
    torch.testing.assert_close(results[0], alone, rtol=1e-6, atol=1e-6)
    # two windows over a frame: a sum of two has no order
    assert overlap > 2 or torch.equal(results[0], alone)
    assert [(state.step, state.windows_done) for state in keeps[0].saved] == [(1, 0), (2, 0), (3, 0)]
    assert not keeps[1].saved
    for own, one in zip(calls, networks, strict=True):
        share = len(one.calls) // 3
        assert own == [(s, w, 3, share) for s in range(3) for w in range(share)]
    frames = [sum(call["shape"][1] ** 2 for call in one.calls) for one in networks]
    assert max(frames) - min(frames) <= 3 * 6**2


def test_processes_go_on_from_a_whole_step(run: Run, network: Any) -> None:
    alone, keep = Memo(), Memo()
    whole = run(network, keep=alone)
    half = next(state for state in alone.saved if (state.step, state.windows_done) == (0, 4))
    keep.saved = [half]  # of a single process: its half step is of no use to several
    together = Together(1)
    assert torch.equal(run(network, ranks=Rank(together, 0), keep=copy.deepcopy(keep)), whole)
    results = in_ranks(2, lambda rank: run(copy.deepcopy(network), ranks=rank, keep=copy.deepcopy(keep)))
    torch.testing.assert_close(results[0], whole, rtol=1e-6, atol=1e-6)


def test_processes_with_different_states_are_refused(run: Run, network: Any) -> None:
    keep, said = Memo(), []
    run(network, keep=keep)
    keep.saved = keep.saved[:-1]
    together = Together(2)

    def one(number: int) -> None:
        own = copy.deepcopy(keep) if number == 0 else Memo()
        with pytest.raises(
            AnchorError, match=r"stand before the steps \[3, 0\] \(0: none\): run the same"
        ) as error:
            run(copy.deepcopy(network), ranks=Rank(together, number), keep=own)
        said.append(error.value)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 2
