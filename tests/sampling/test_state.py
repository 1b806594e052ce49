"""A clip that stops and goes on gives the same bits as one that does not stop."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.sampling.conditioning import Conditioning
from anchor_core.sampling.sampler import Memory, SamplerSettings, sample
from anchor_core.sampling.schedulers import SCHEDULERS, STABLE_DIFFUSION
from anchor_core.sampling.state import SampleState
from anchor_core.sampling.windows import SCHEDULES

SETTINGS = SamplerSettings(
    steps=5, guidance_scale=2.0, condition_scale=0.7, window_size=6, overlap=3, seed=1, shared_noise=False
)


class Stopped(Exception):
    """What a user does."""


class Memo:
    """A keeper in memory; fails in its `fails`-th save."""

    def __init__(self, seconds: float = 0.0, fails: int = 0) -> None:
        self.seconds, self.fails = seconds, fails
        self.saved: list[SampleState] = []
        self.calls = 0

    def load(self) -> SampleState | None:
        return copy.deepcopy(self.saved[-1]) if self.saved else None

    def save(self, state: SampleState) -> None:
        self.calls += 1
        if self.calls == self.fails:
            raise OSError("disk full")
        self.saved.append(copy.deepcopy(state))

    @property
    def places(self) -> list[tuple[int, int]]:
        return [(state.step, state.windows_done) for state in self.saved]


def stop_after(n_windows: int) -> Callable[..., None]:
    left = [n_windows]

    def callback(*_: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise Stopped

    return callback


@pytest.fixture
def run(network: Any, clip: Any, appearance: torch.Tensor, null: torch.Tensor) -> Callable[..., torch.Tensor]:
    conditioning = Conditioning(clip(14), appearance, null)

    def sampled(settings: SamplerSettings = SETTINGS, **options: Any) -> torch.Tensor:
        return sample(network, conditioning, settings, STABLE_DIFFUSION, **options)

    return sampled


@pytest.mark.parametrize(("scheduler", "schedule"), product(SCHEDULERS, SCHEDULES))
def test_going_on_gives_the_same_bits_wherever_it_stopped(run: Any, scheduler: str, schedule: str) -> None:
    settings = replace(SETTINGS, scheduler=scheduler, schedule=schedule, weighting="pyramid")
    calls: list[Any] = []
    whole = run(settings, callback=lambda *call: calls.append(call))
    for windows in range(1, len(calls) + 1, 2):
        keep = Memo(seconds=1e9)
        with pytest.raises(Stopped):
            run(settings, keep=keep, callback=stop_after(windows))
        seen: list[Any] = []
        assert torch.equal(run(settings, keep=keep, callback=lambda *call, s=seen: s.append(call)), whole)
        assert [call[:4] for call in seen] == [call[:4] for call in calls[windows:]]  # nothing is done twice


def test_it_may_stop_many_times(run: Any) -> None:
    settings, keep = replace(SETTINGS, scheduler="unipc"), Memo(seconds=1e9)
    result, stops = None, 0
    while result is None:
        try:
            result = run(settings, keep=keep, callback=stop_after(3))
        except Stopped:
            stops += 1
    assert stops == 6  # of 5 steps with 4 windows
    assert torch.equal(result, run(settings))


def test_steps_are_saved_and_windows_when_time_has_passed(run: Any) -> None:
    rarely, often = Memo(seconds=1e9), Memo(seconds=0)
    assert torch.equal(run(keep=rarely), run(keep=often))
    assert rarely.places == [(step, 0) for step in range(1, 6)]
    assert often.places == [
        place for step in range(5) for place in [*((step, w) for w in range(1, 5)), (step + 1, 0)]
    ]
    assert all(state.total is None for state in rarely.saved)
    for state in often.saved:  # as after a kill -9 at any of these
        keep = Memo(seconds=1e9)
        keep.saved.append(state)
        assert torch.equal(run(keep=keep), run())


def test_a_finished_clip_is_not_made_again(run: Any, network: Any) -> None:
    keep = Memo()
    whole = run(keep=keep)
    network.calls.clear()
    assert torch.equal(run(keep=keep), whole)
    assert not network.calls


def test_a_state_in_memory_of_any_kind_is_taken_over(run: Any) -> None:
    """Tensors of a mapped file are not where torch would put them, and may not be written to."""
    settings, keep = replace(SETTINGS, scheduler="unipc"), Memo(seconds=1e9)
    with pytest.raises(Stopped):
        run(settings, keep=keep, callback=stop_after(10))

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        place = torch.empty(tensor.numel() + 1)[1:].view(tensor.shape)
        return place.copy_(tensor)

    (state,) = keep.saved[-1:]
    assert state.total is not None
    solver = {k: moved(v) if isinstance(v, torch.Tensor) else v for k, v in state.solver.items()}
    given = replace(state, latents=moved(state.latents), total=moved(state.total), solver=solver)
    before = copy.deepcopy(given)
    keep.load = lambda: replace(given, solver=dict(solver))  # type: ignore[method-assign]
    assert torch.equal(run(settings, keep=keep), run(settings))
    assert torch.equal(given.latents, before.latents)
    assert torch.equal(given.total, before.total)
    assert all(torch.equal(solver[k], v) for k, v in before.solver.items() if isinstance(v, torch.Tensor))


def test_batches_of_windows_stop_between_batches(run: Any) -> None:
    keep, memory = Memo(), Memory(windows_at_once=3)
    whole = run(memory=memory)
    with pytest.raises(Stopped):
        run(memory=memory, keep=keep, callback=stop_after(1))
    assert keep.places == [(0, 3)]
    assert torch.equal(run(memory=memory, keep=keep), whole)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_part_that_is_denoised_goes_on_too(run: Any, scheduler: str) -> None:
    settings = replace(SETTINGS, steps=8, denoise=0.5, scheduler=scheduler)
    latents, keep = torch.ones(14, 4, 2, 3), Memo(seconds=1e9)
    with pytest.raises(Stopped):
        run(settings, latents=latents, keep=keep, callback=stop_after(9))
    assert keep.places[-1] == (6, 1)
    assert torch.equal(run(settings, latents=latents, keep=keep), run(settings, latents=latents))


def test_with_reused_features_it_goes_on_where_they_are_computed_anew(
    sharing: Any, clip: Any, appearance: torch.Tensor, null: torch.Tensor
) -> None:
    conditioning = Conditioning(clip(14), appearance, null)
    settings = replace(SETTINGS, steps=7, reuse=3)

    def run(**options: Any) -> torch.Tensor:
        return sample(sharing, conditioning, settings, STABLE_DIFFUSION, **options)

    whole = run()
    assert not torch.equal(whole, sample(sharing, conditioning, replace(settings, reuse=1), STABLE_DIFFUSION))
    for windows in range(1, 7 * 4):
        keep = Memo()
        with pytest.raises(Stopped):
            run(keep=keep, callback=stop_after(windows))
        assert keep.places == [(step, 0) for step in (3, 6) if 4 * step <= windows - (windows % 4 == 0)]
        assert torch.equal(run(keep=keep), whole)


def test_what_is_half_changed_is_never_saved(run: Any, network: Any, monkeypatch: Any) -> None:
    from anchor_core.sampling.solver import ClipSolver

    step, keep = ClipSolver.step, Memo(seconds=1e9)

    def killed(self: Any, number: int, latents: torch.Tensor, *rest: Any) -> None:
        step(self, number, latents, *rest)
        if number == 2:
            raise KeyboardInterrupt  # latents have moved and the number of the step has not

    monkeypatch.setattr(ClipSolver, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(keep=keep)
    assert keep.places == [(1, 0), (2, 0)]
    monkeypatch.undo()
    assert torch.equal(run(keep=keep), run())


def test_an_error_of_the_keeper_stops_and_is_not_met_twice(run: Any) -> None:
    keep = Memo(seconds=1e9, fails=3)
    with pytest.raises(OSError, match="disk full"):
        run(keep=keep)
    assert keep.places == [(1, 0), (2, 0)]
    assert keep.calls == 3
    assert torch.equal(run(keep=keep), run())


def test_an_interruption_outlives_an_error_of_the_keeper(run: Any, caplog: Any) -> None:
    with pytest.raises(Stopped):
        run(keep=Memo(seconds=1e9, fails=1), callback=stop_after(2))
    assert "the last windows are not saved: disk full" in caplog.text


def test_states_that_do_not_belong_are_refused(run: Any) -> None:
    keep = Memo(seconds=1e9)
    with pytest.raises(Stopped):
        run(keep=keep, callback=stop_after(9))
    (good,) = keep.saved[-1:]

    def refused(message: str, settings: SamplerSettings = SETTINGS, **changes: Any) -> None:
        keep.saved = [replace(good, **changes)]
        with pytest.raises(AnchorError, match=message):
            run(settings, keep=keep)

    refused(r"latents \(3, 4, 2, 3\) and this clip has \(14, 4, 2, 3\)", latents=torch.zeros(3, 4, 2, 3))
    refused("stands before step 10 and there are 5 steps", step=9)
    refused("that of another solver", solver={"lower_order_nums": 1})
    refused("that of another solver", settings=replace(SETTINGS, scheduler="unipc"))
    assert good.step == 2


@pytest.mark.parametrize("scheduler", ["dpm++2m", "unipc"])
def test_the_history_of_another_solver_is_refused(run: Any, scheduler: str) -> None:
    settings, keep = replace(SETTINGS, scheduler=scheduler), Memo(seconds=1e9)
    with pytest.raises(Stopped):
        run(settings, keep=keep, callback=stop_after(9))
    tensors = {name for name, value in keep.saved[-1].solver.items() if isinstance(value, torch.Tensor)}
    assert tensors == (
        {"model_outputs.1"}
        if scheduler == "dpm++2m"
        else {"model_outputs.0", "model_outputs.1", "last_sample"}
    )
    for name in tensors:
        keep.saved[-1].solver[name] = torch.zeros(3, 4, 2, 3)
    with pytest.raises(AnchorError, match="that of another solver"):
        run(settings, keep=keep)
