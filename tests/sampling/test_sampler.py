"""The sampler alone, on a network that mixes everything it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.sampling import sampler as sampler_module
from anchor_core.sampling import solver as solver_module
from anchor_core.sampling.conditioning import Conditioning
from anchor_core.sampling.noise import draw_noise
from anchor_core.sampling.sampler import Memory, SamplerSettings, guide, sample, sample_latents
from anchor_core.sampling.schedulers import SCHEDULERS, STABLE_DIFFUSION, ZERO_TERMINAL_SNR
from anchor_core.sampling.windows import SCHEDULES, WEIGHTINGS, plan_windows

SMALL = SamplerSettings(steps=3, guidance_scale=2.0, condition_scale=0.7, window_size=6, overlap=2, seed=1)

Clip = Callable[[int], torch.Tensor]


@pytest.fixture
def run(
    network: Any, clip: Clip, appearance: torch.Tensor, null: torch.Tensor
) -> Callable[..., torch.Tensor]:
    """run(n_frames, settings, **options): latents of a clip."""

    def sampled(n_frames: int = 15, settings: SamplerSettings = SMALL, **options: Any) -> torch.Tensor:
        return sample_latents(
            network, clip(n_frames), appearance, null, settings, STABLE_DIFFUSION, **options
        )

    return sampled


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_solver_runs_on_every_schedule(run: Any, schedule: str, scheduler: str) -> None:
    latents = run(15, replace(SMALL, schedule=schedule, scheduler=scheduler))
    assert latents.shape == (15, 4, 2, 3)
    assert latents.dtype == torch.float32
    assert latents.device.type == "cpu"
    assert bool(torch.isfinite(latents).all())


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_same_arguments_give_the_same_clip(run: Any, weighting: str) -> None:
    settings = replace(SMALL, weighting=weighting, schedule="uniform", scheduler="lcm")
    assert torch.equal(run(15, settings), run(15, settings))
    assert not torch.equal(run(15, settings), run(15, replace(settings, seed=2)))


def test_windows_are_averaged_by_their_weights(run: Any, network: Any, monkeypatch: Any) -> None:
    """One step by hand: predictions of each window, weighted, divided by the weights' sum."""
    seen: list[torch.Tensor] = []
    original = solver_module.solver_step

    def spy(scheduler: Any, prediction: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(prediction)
        return original(scheduler, prediction, *rest)

    def constant(latents: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        counter.append(len(counter) + 1.0)
        return torch.full_like(latents, counter[-1])

    counter: list[float] = []
    monkeypatch.setattr(solver_module, "solver_step", spy)
    monkeypatch.setattr(network, "forward", constant)
    run(10, replace(SMALL, steps=1, guidance_scale=1.0, weighting="overlap-linear"))
    # windows 0-5 and 4-9 predict 1 and 2; ramps over frames 4 and 5 are 2/3, 1/3 and 1/3, 2/3
    wanted = [1, 1, 1, 1, 4 / 3, 5 / 3, 2, 2, 2, 2]
    assert seen[0][:, 0, 0, 0].tolist() == pytest.approx(wanted)


def test_the_order_of_windows_is_irrelevant(run: Any, monkeypatch: Any) -> None:
    forward = run(25)
    monkeypatch.setattr(sampler_module, "plan_windows", lambda *arguments: plan_windows(*arguments)[::-1])
    torch.testing.assert_close(run(25), forward, rtol=1e-5, atol=1e-5)


def test_static_equals_reference_when_no_tail_is_short(run: Any, monkeypatch: Any) -> None:
    full = run(14)
    plan = lambda *a: [w for w in plan_windows(*a[:3], "reference", *a[4:]) if len(w) == 6]  # noqa: E731
    monkeypatch.setattr(sampler_module, "plan_windows", plan)
    assert torch.equal(run(14), full)


def test_one_window_equals_any_schedule(run: Any) -> None:
    alone = run(6, replace(SMALL, overlap=0))
    for schedule in SCHEDULES:
        assert torch.equal(run(6, replace(SMALL, overlap=0, schedule=schedule)), alone)


def test_frames_of_a_still_pose_share_noise_and_stay_equal(
    network: Any, appearance: torch.Tensor, null: torch.Tensor
) -> None:
    still = torch.full((15, 16, 24, 3), 0.4)
    for name in SCHEDULERS:
        settings = replace(SMALL, scheduler=name)
        latents = sample_latents(network, still, appearance, null, settings, STABLE_DIFFUSION)
        torch.testing.assert_close(latents, latents[:1].expand_as(latents), rtol=1e-4, atol=1e-4)
        apart = replace(settings, shared_noise=False)
        latents = sample_latents(network, still, appearance, null, apart, STABLE_DIFFUSION)
        assert not torch.allclose(latents[0], latents[1], atol=1e-2)


def test_guidance_one_runs_the_appearance_alone(
    run: Any, network: Any, clip: Clip, appearance: torch.Tensor
) -> None:
    guided_by_one = run(9, replace(SMALL, guidance_scale=1.0))
    assert {call["shape"][0] for call in network.calls} == {1}
    alone = sample_latents(
        network, clip(9), appearance, None, replace(SMALL, guidance_scale=0.5), STABLE_DIFFUSION
    )
    assert torch.equal(guided_by_one, alone)
    network.calls.clear()
    nearly = run(9, replace(SMALL, guidance_scale=1.000001))
    assert {call["shape"][0] for call in network.calls} == {2}
    torch.testing.assert_close(nearly, alone, rtol=1e-4, atol=1e-4)


def test_guide() -> None:
    both = torch.tensor([[1.0, 2.0], [2.0, 5.0]])
    assert guide(both, 3.0).tolist() == [4.0, 11.0]
    assert guide(both[1:], 3.0).tolist() == [2.0, 5.0]


def test_branches_may_run_one_after_the_other(run: Any, network: Any) -> None:
    together = run()
    network.calls.clear()
    apart = run(memory=Memory(split_guidance=True))
    assert {call["shape"][0] for call in network.calls} == {1}
    torch.testing.assert_close(apart, together, rtol=1e-6, atol=1e-6)


def test_pose_features_are_computed_once_or_per_window_with_one_result(run: Any, network: Any) -> None:
    kept = run(15)
    once, network.embedded = network.embedded, 0
    again = run(15, memory=Memory(pose_gib=0))
    assert torch.equal(kept, again)
    assert once == 15 + 1  # every frame, and one to learn the size of the latents
    assert network.embedded == 3 * 4 * 6 + 1  # steps, windows, frames


def test_pose_frames_come_in_any_layout(
    network: Any, clip: Clip, appearance: torch.Tensor, null: torch.Tensor
) -> None:
    frames = (clip(8) * 255).round().to(torch.uint8)
    layouts = [frames, frames.numpy(), frames.float() / 255, (frames.float() / 255).permute(0, 3, 1, 2)]
    results = [
        sample_latents(network, layout, appearance, null, SMALL, STABLE_DIFFUSION) for layout in layouts
    ]
    assert all(torch.equal(result, results[0]) for result in results)


def test_condition_acts_between_start_and_end(run: Any, network: Any) -> None:
    settings = replace(SMALL, steps=10, condition_start=0.2, condition_end=0.5, guidance_scale=1.0)
    run(4, settings)
    assert [call["scale"] for call in network.calls] == [0.0] * 2 + [0.7] * 3 + [0.0] * 5
    assert [SMALL.scale_at(step) for step in range(3)] == [0.7] * 3
    off = replace(SMALL, condition_start=0.0, condition_end=0.0)
    assert torch.equal(run(4, off), run(4, replace(SMALL, condition_scale=0.0)))


def test_given_noise_is_used(run: Any) -> None:
    noise = draw_noise(1, 15, 4, 2, 3)
    assert torch.equal(run(15, noise=noise), run(15))
    assert not torch.equal(run(15, noise=noise.flip(0) * 0.5), run(15))
    laid_out = run(15, noise=noise.contiguous(memory_format=torch.channels_last))
    assert laid_out.is_contiguous()  # as processes add them up, and as they are kept
    assert torch.equal(laid_out, run(15))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_denoising_a_part_starts_from_the_given_latents(run: Any, network: Any, scheduler: str) -> None:
    latents = torch.full((5, 4, 2, 3), 3.0)
    settings = replace(SMALL, steps=10, denoise=0.3, guidance_scale=1.0, scheduler=scheduler)
    result = run(5, settings, latents=latents)
    assert len(network.calls) == 3
    assert (result - latents).abs().mean() < (result - run(5, replace(settings, denoise=1.0))).abs().mean()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_network_may_work_in_half_precision(run: Any, network: Any, dtype: torch.dtype) -> None:
    full = run()
    network.calls.clear()
    half = run(dtype=dtype)
    assert {call["dtype"] for call in network.calls} == {dtype}
    assert half.dtype == torch.float32
    assert 0 < (half - full).norm() / full.norm() < 0.05


def test_a_face_pass_hands_its_channels_to_every_window(
    network: Any, clip: Clip, appearance: torch.Tensor, null: torch.Tensor
) -> None:
    extra = torch.arange(10.0).view(10, 1, 1, 1).expand(10, 5, 2, 3) / 10
    conditioning = Conditioning(clip(10), appearance, null, inpaint=extra)
    sample(network, conditioning, replace(SMALL, steps=1), ZERO_TERMINAL_SNR)
    first, last = (call["inpaint"] for call in network.calls)
    assert first.shape == (2, 6, 5, 2, 3)
    assert torch.equal(first[1], extra[:6])
    assert torch.equal(last[0], extra[4:])


def test_callback_comes_after_every_window_with_a_preview(run: Any) -> None:
    calls: list[tuple] = []
    with_callback = run(14, callback=lambda *call: calls.append(call))
    assert [call[:4] for call in calls] == [(s, w, 3, 3) for s in range(3) for w in range(3)]
    assert {tuple(call[4].shape) for call in calls} == {(6, 4, 2, 3)}
    assert all(bool(torch.isfinite(call[4]).all()) for call in calls)
    assert torch.equal(with_callback, run(14))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_last_preview_is_the_result(run: Any, scheduler: str) -> None:
    previews: list[torch.Tensor] = []
    settings = replace(SMALL, scheduler=scheduler, window_size=5)
    result = run(5, settings, callback=lambda *call: previews.append(call[4]))
    error = (previews[-1] - result).norm() / result.norm()
    # Consistency models and SD's DDIM do not end on the predicted picture itself, but near it.
    assert error < 0.1


def test_interrupting_takes_one_window_and_leaves_nothing_behind(run: Any, network: Any) -> None:
    class Interrupted(Exception):
        pass

    def stop(step: int, window: int, *_: Any) -> None:
        if (step, window) == (1, 0):
            raise Interrupted

    before = run(14)
    network.calls.clear()
    with pytest.raises(Interrupted):
        run(14, callback=stop)
    assert len(network.calls) == 3 + 1
    assert torch.equal(run(14), before)
    assert torch.is_grad_enabled()


def test_overflow_is_named_with_its_step(run: Any, network: Any, monkeypatch: Any) -> None:
    original = network.forward

    def late(latents: torch.Tensor, timestep: torch.Tensor, *rest: Any) -> torch.Tensor:
        return original(latents, timestep, *rest) * (float("nan") if timestep < 500 else 1)

    monkeypatch.setattr(network, "forward", late)
    with pytest.raises(
        AnchorError, match="step 2 of 3 gave numbers that are not finite: run the network in float32"
    ):
        run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0: need 1 or more"),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan: need 0 or more"),
        ({"condition_scale": -1.0}, "condition_scale is -1.0: need 0 or more"),
        ({"condition_start": 0.6, "condition_end": 0.4}, "need 0 <= condition_start <= condition_end <= 1"),
        ({"window_size": 0}, "window_size is 0"),
        ({"overlap": 16}, "overlap 16 is not smaller than window_size 16"),
        ({"schedule": "x"}, "schedule is 'x'"),
        ({"weighting": "x"}, "weighting is 'x'"),
        ({"seed": -3}, "seed is -3"),
        ({"denoise": 0.0}, "denoise is 0.0: need more than 0"),
    ],
)
def test_bad_settings_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        SamplerSettings(**changes)


def test_bad_tensors_are_refused(run: Any, network: Any, clip: Clip, appearance: torch.Tensor) -> None:
    def refused(message: str, pose: Any = None, tokens: Any = None, null: Any = None, **options: Any) -> None:
        given = (clip(4) if pose is None else pose, appearance if tokens is None else tokens, null)
        with pytest.raises(AnchorError, match=message):
            sample(network, Conditioning(*given), options.pop("settings", SMALL), STABLE_DIFFUSION, **options)

    alone = replace(SMALL, guidance_scale=1.0)
    refused("guidance_scale above 1 needs null tokens")
    refused("there are 0 pose frames", clip(1)[:0], settings=alone)
    refused(r"pose frames have the shape \(4, 16, 24\)", clip(4)[..., 0], settings=alone)
    refused("values from 0 to 255: need 0 to 1", np.float32([0, 255] * 24).reshape(1, 4, 4, 3))
    refused(r"appearance has the shape \(5, 8\): need \(1, tokens, channels\)", tokens=appearance[0])
    refused("null tokens have the shape", null=appearance[:, :2])
    refused(
        r"noise has the shape \(3, 4, 2, 3\): need \(4, 4, 2, 3\)",
        settings=alone,
        noise=torch.zeros(3, 4, 2, 3),
    )
    refused("there are no latents to start from", settings=replace(alone, denoise=0.5))
    wrong = Conditioning(clip(4), appearance, inpaint=torch.zeros(3, 5, 2, 3))
    with pytest.raises(AnchorError, match=r"inpaint has the shape .* with 4 frames"):
        sample(network, wrong, alone, STABLE_DIFFUSION)
