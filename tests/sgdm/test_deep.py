"""Deep features: a step that reuses them equals a full one in which they replace what was computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from anchor_core.errors import AnchorError
from anchor_core.sgdm.deep import ClipFeatures, DeepFeatures

Inputs = dict[str, Any]
STACKS = [
    {},
    {
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    },
]


def inputs(seed: int, contexts: int = 2, windows: int = 1) -> Inputs:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "latents": random(windows, 3, 4, 6, 8),
        "timestep": torch.tensor(500 + seed),
        "contexts": torch.randn(contexts, 5, 24, generator=torch.Generator().manual_seed(9)),
        "pose_features": random(windows, 3, 16, 6, 8),
        "condition_scale": 1.5,
    }


@pytest.fixture(params=range(len(STACKS)), ids=["attention outermost", "attention inside"])
def sgdm(request: pytest.FixtureRequest, make_sgdm: Callable[..., Any]) -> Any:
    return make_sgdm("reference", **STACKS[request.param])


@pytest.mark.parametrize("contexts", [1, 2])
def test_a_full_step_is_exact_and_its_features_give_it_again(sgdm: Any, contexts: int) -> None:
    given, deep = inputs(1, contexts), DeepFeatures()
    exact = sgdm.guided(**given)
    assert torch.equal(sgdm.guided(**given, deep=deep), exact)
    assert deep.filled
    torch.testing.assert_close(sgdm.guided(**given, deep=deep), exact)


@pytest.mark.parametrize("scale", [0.0, 1.5])
@pytest.mark.parametrize("windows", [1, 2])
def test_reuse_equals_putting_the_features_in_place(sgdm: Any, windows: int, scale: float) -> None:
    """The plain way: run everything, and replace what enters the last layer."""
    before, now, deep = inputs(1, windows=windows), inputs(2, windows=windows), DeepFeatures()
    before["condition_scale"] = now["condition_scale"] = scale
    seen: list[torch.Tensor] = []

    def watch(_layer: Any, args: tuple[Any, ...]) -> None:
        seen.append(args[0])

    last = sgdm.unet.up_blocks[-1].resnets[-1]
    with torch.no_grad():
        handle = last.register_forward_pre_hook(watch)
        _plainly(sgdm, before)
        handle.remove()

        def put(_layer: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
            width = args[0].shape[1] - sgdm.unet.config.block_out_channels[0]
            return (torch.cat([seen[0][:, :width], args[0][:, width:]], dim=1), *args[1:])

        handle = last.register_forward_pre_hook(put)
        expected = _plainly(sgdm, now)
        handle.remove()
    sgdm.guided(**before, deep=deep)
    torch.testing.assert_close(sgdm.guided(**now, deep=deep), expected, rtol=0, atol=2e-5)
    assert not torch.allclose(sgdm.guided(**now), expected, atol=1e-3)


def _plainly(sgdm: Any, given: Inputs) -> torch.Tensor:
    windows, contexts = len(given["latents"]), len(given["contexts"])
    predicted = sgdm(
        given["latents"].repeat(contexts, 1, 1, 1, 1),
        given["timestep"],
        given["contexts"].repeat_interleave(windows, 0),
        given["pose_features"].repeat(contexts, 1, 1, 1, 1),
        given["condition_scale"],
    )
    return predicted.unflatten(0, (contexts, windows))


def test_the_inside_is_not_computed(make_sgdm: Callable[..., Any]) -> None:
    sgdm, deep = make_sgdm(**STACKS[1]), DeepFeatures()

    def count() -> int:
        with FlopCounterMode(display=False) as counter:
            sgdm.guided(**inputs(1), deep=deep)
        return counter.get_total_flops()

    full, partial = count(), count()
    assert partial < full / 3


def test_features_are_found_again_by_their_window() -> None:
    clip = ClipFeatures(n_parts=2)
    one, two = (clip.of(part, anew=True) for part in ("a", "b"))
    one.keep(torch.ones(2))
    assert clip.of("a", anew=False) is one
    assert clip.of("b", anew=False) is two
    assert torch.equal(one.on(torch.device("cpu")), torch.ones(2))
    assert not clip.of("a", anew=True).filled


def test_more_than_there_is_room_for_is_refused_early() -> None:
    clip = ClipFeatures(n_parts=1000, most_gib=0.001)
    clip.of(0, anew=True).keep(torch.zeros(2**18))
    with pytest.raises(AnchorError, match=r"reuse keeps 1 MiB for each of 1000 windows and has 0.001 GiB"):
        clip.of(1, anew=True)


def test_features_are_read_only_where_there_are_some() -> None:
    with pytest.raises(RuntimeError, match="run a full step first"):
        DeepFeatures().on(torch.device("cpu"))
