"""The SGDM beyond the golden vectors: plain diffusers at one frame, any topology, batches, types, errors."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from anchor_core.errors import AnchorError
from anchor_core.sgdm.attention import sliced_attention
from anchor_core.sgdm.network import SGDM, build_sgdm

MakeSGDM = Callable[..., SGDM]

TOPOLOGIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no attention at the top": {
        "block_out_channels": [16, 32, 32],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    },
    "two layers": {"layers_per_block": 2},
    "linear projection": {"use_linear_projection": True},
    "eight latent channels": {"in_channels": 8, "out_channels": 8},
    "face, four latent channels": {"in_channels": 9},
    "face, eight latent channels": {"in_channels": 17, "out_channels": 8},
}


def window_of(sgdm: SGDM, batch: int = 2, frames: int = 3, height: int = 8, width: int = 8) -> dict[str, Any]:
    """Random input of a pass, as keyword arguments."""
    draw = torch.Generator().manual_seed(1)
    stride, extra = sgdm.pose_stride, sgdm.inpaint_channels
    pose = torch.rand(frames, 3, height * stride, width * stride, generator=draw)
    size = (height, width)
    return {
        "latents": torch.randn(batch, frames, sgdm.latent_channels, *size, generator=draw),
        "timestep": torch.tensor(500),
        "appearance": torch.randn(batch, 5, sgdm.appearance_width, generator=draw),
        "pose_features": sgdm.embed_pose(pose)[None].detach(),
        "condition_scale": 1.5,
        "inpaint": torch.randn(batch, frames, extra, *size, generator=draw) if extra else None,
    }


def changed(window: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**window, **changes}


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
def test_one_frame_in_training_is_plain_diffusers(
    make_configs: Callable[..., Any], topology: str, size: tuple[int, int]
) -> None:
    from diffusers import ControlNetModel, UNet2DConditionModel

    torch.manual_seed(0)
    unet_config, control_config = make_configs(**TOPOLOGIES[topology])
    sgdm = build_sgdm(unet_config, control_config, init_control="half").train()
    unet = UNet2DConditionModel.from_config(unet_config)
    controlnet = ControlNetModel.from_config(control_config)
    unet.load_state_dict(sgdm.unet.state_dict())
    controlnet.load_state_dict(sgdm.controlnet.state_dict())

    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(3, sgdm.latent_channels, *size, generator=draw)
    pose = torch.rand(3, 3, size[0] * 8, size[1] * 8, generator=draw)
    appearance, timesteps = torch.randn(3, 5, 24, generator=draw), torch.tensor([3, 500, 900])
    extra = torch.randn(3, sgdm.inpaint_channels, *size, generator=draw)
    down, mid = controlnet(latents, timesteps, appearance, pose, return_dict=False)
    expected = unet(
        torch.cat([latents, extra], 1),
        timesteps,
        appearance,
        down_block_additional_residuals=down,
        mid_block_additional_residual=mid,
        return_dict=False,
    )[0]

    prediction = sgdm(
        latents[:, None],
        timesteps,
        appearance,
        sgdm.embed_pose(pose)[:, None],
        inpaint=extra[:, None] if sgdm.inpaint_channels else None,
    )
    assert torch.equal(prediction[:, 0], expected)


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("fidelity", ["trained", "reference"])
@torch.no_grad()
def test_equal_frames_are_one_frame(make_sgdm: MakeSGDM, topology: str, fidelity: str) -> None:
    sgdm = make_sgdm(fidelity, **TOPOLOGIES[topology])
    one = window_of(sgdm, frames=1, height=5, width=7)
    per_frame = ("latents", "pose_features", "inpaint")
    four = {
        key: value.repeat(1, 4, 1, 1, 1)
        for key, value in one.items()
        if key in per_frame and value is not None
    }
    expected = sgdm(**one).expand(-1, 4, -1, -1, -1)
    torch.testing.assert_close(sgdm(**changed(one, **four)), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_frames_have_no_order(make_sgdm: MakeSGDM) -> None:
    sgdm, order = make_sgdm("reference"), [2, 0, 1]
    window = window_of(sgdm)
    shuffled = changed(
        window, latents=window["latents"][:, order], pose_features=window["pose_features"][:, order]
    )
    torch.testing.assert_close(sgdm(**shuffled), sgdm(**window)[:, order], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_frames_of_a_window_see_each_other(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm()
    window = window_of(sgdm)
    latents = window["latents"].clone()
    latents[:, 2] += 1
    first = sgdm(**window)[:, 0]
    assert (sgdm(**changed(window, latents=latents))[:, 0] - first).abs().max() > 1e-4


@torch.no_grad()
def test_windows_of_a_batch_do_not_see_each_other(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm("reference")
    window = window_of(sgdm, batch=3)
    together = sgdm(**changed(window, timestep=torch.tensor([10, 500, 900])))
    for index, timestep in enumerate((10, 500, 900)):
        alone = changed(
            window,
            latents=window["latents"][index : index + 1],
            appearance=window["appearance"][index : index + 1],
            timestep=timestep,
        )
        torch.testing.assert_close(sgdm(**alone)[0], together[index], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_channels_last_changes_nothing(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm("reference")
    window = window_of(sgdm)
    expected = sgdm(**window)
    sgdm.to(memory_format=torch.channels_last)
    torch.testing.assert_close(sgdm(**window), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision_stays(make_sgdm: MakeSGDM, dtype: torch.dtype) -> None:
    sgdm = make_sgdm("reference")
    window = window_of(sgdm)
    expected = sgdm(**window)
    half = {
        key: value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for key, value in window.items()
    }
    prediction = sgdm.to(dtype)(**half)
    assert prediction.dtype == dtype
    assert (prediction - expected).norm() / expected.norm() < 0.05


@torch.no_grad()
def test_scale_zero_is_no_control(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm("reference")
    window = window_of(sgdm)
    down, mid = sgdm.control(
        window["latents"], window["timestep"], window["appearance"], window["pose_features"], 0
    )
    assert not any(residual.any() for residual in (*down, mid))
    prediction = sgdm(**changed(window, condition_scale=0))
    torch.testing.assert_close(
        prediction, sgdm.denoise(window["latents"], window["timestep"], window["appearance"])
    )


def test_gradients_reach_every_parameter(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm().train()
    window = window_of(sgdm)
    pose = sgdm.embed_pose(torch.rand(3, 3, 64, 64))[None]
    sgdm(**changed(window, pose_features=pose)).square().mean().backward()
    without = [name for name, value in sgdm.named_parameters() if value.grad is None]
    assert without == []


def test_checkpointing_is_for_single_frames(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm().train()
    sgdm.unet.enable_gradient_checkpointing()
    sgdm(**window_of(sgdm, frames=1)).square().mean().backward()
    window = window_of(sgdm, frames=3)
    with pytest.raises(AnchorError, match="Gradient checkpointing is on and the window has 3 frames"):
        sgdm(**window)
    with torch.no_grad():
        sgdm(**window)


def test_host_attention_is_used_everywhere(make_sgdm: MakeSGDM) -> None:
    sgdm, shapes = make_sgdm(), []

    def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        shapes.append((tuple(query.shape), tuple(key.shape)))
        return functional.scaled_dot_product_attention(query, key, value)

    window = window_of(sgdm)
    with torch.no_grad():
        expected = sgdm(**window)
        sgdm.set_attention(attention)
        assert torch.equal(sgdm(**window), expected)
    # ControlNet: 2 blocks, self-attention per frame; U-Net: 4 blocks, over 3 frames of 64 or 16 tokens
    own = [(query[0], query[2]) for query, key in shapes if key[2] != 5]
    assert own == [(6, 64), (6, 16), (2, 192), (2, 48), (2, 192), (2, 192)]
    across = {query[2] for query, key in shapes if key[2] == 5}
    assert across == {192, 48}


@pytest.mark.parametrize("most_scores", [1, 1000, 10**9])
def test_sliced_attention_is_attention(most_scores: int) -> None:
    query, key, value = (torch.randn(2, 3, tokens, 4, dtype=torch.float64) for tokens in (37, 50, 50))
    whole = functional.scaled_dot_product_attention(query, key, value)
    sliced = sliced_attention(query, key, value, most_scores)
    torch.testing.assert_close(sliced, whole, rtol=1e-12, atol=1e-12)


def test_copies_are_independent(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm("reference")
    twin = copy.deepcopy(sgdm)
    window = window_of(sgdm)
    with torch.no_grad():
        assert torch.equal(twin(**window), sgdm(**window))
        with sgdm.window.entered(3):
            assert twin.window.frames == 1
            assert torch.equal(twin(**window), sgdm(**window))


def test_error_inside_leaves_the_window(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm()

    def interrupt(*_: torch.Tensor) -> torch.Tensor:
        raise InterruptedError

    sgdm.set_attention(interrupt)
    with pytest.raises(InterruptedError):
        sgdm(**window_of(sgdm))
    assert (sgdm.window.frames, sgdm.window.entered_now, sgdm.window.mid_extra) == (1, False, None)


def test_threads_take_turns(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm("reference")
    windows = [window_of(sgdm, frames=frames) for frames in (1, 2, 3)]
    with torch.no_grad():
        expected = [sgdm(**window) for window in windows]
    differences: list[float] = []

    def work(index: int) -> None:
        with torch.no_grad():
            for _ in range(4):
                differences.append(float((sgdm(**windows[index]) - expected[index]).abs().max()))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(differences) == 12
    assert max(differences) < 1e-5


def test_empty_weights_are_filled_by_a_state_dict(
    make_sgdm: MakeSGDM, make_configs: Callable[..., Any]
) -> None:
    sgdm = make_sgdm()
    empty = build_sgdm(*make_configs(), empty=True)
    assert all(parameter.is_meta for parameter in empty.parameters())
    empty.load_state_dict(sgdm.state_dict(), assign=True)
    window = window_of(sgdm)
    with torch.no_grad():
        assert torch.equal(empty.eval()(**window), sgdm(**window))


def test_zero_start_of_the_control_is_silent(make_configs: Callable[..., Any]) -> None:
    sgdm = build_sgdm(*make_configs())
    window = window_of(sgdm)
    with torch.no_grad():
        without = sgdm(**changed(window, condition_scale=0))
        torch.testing.assert_close(sgdm(**window), without, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latents": torch.zeros(2, 3, 5, 8, 8)}, r"needs \(B, F, 4, h, w\)"),
        ({"latents": torch.zeros(2, 4, 4, 8, 8)}, "3 pose frames for 4 frames of latents"),
        ({"latents": torch.zeros(2, 3, 4, 8, 9)}, "64 x 64 pixels and the latents stand for 72 x 64"),
        ({"appearance": torch.zeros(2, 5, 768)}, r"this model needs \(B, T, 24\)"),
        ({"appearance": torch.zeros(1, 5, 24)}, "for 1 windows and latents for 2"),
        ({"inpaint": torch.zeros(2, 3, 5, 8, 8)}, "needs 0 inpainting channels and got 5"),
    ],
)
def test_shapes_that_do_not_fit(make_sgdm: MakeSGDM, change: dict[str, Any], message: str) -> None:
    sgdm = make_sgdm()
    with pytest.raises(AnchorError, match=message):
        sgdm(**changed(window_of(sgdm), **change))


def test_pose_off_the_latent_grid(make_sgdm: MakeSGDM) -> None:
    with pytest.raises(
        AnchorError, match="60 x 64 pixels: resize them so that both sides are multiples of 8"
    ):
        make_sgdm().embed_pose(torch.zeros(1, 3, 64, 60))


def test_networks_that_do_not_fit(make_configs: Callable[..., Any]) -> None:
    unet, control = make_configs()
    with pytest.raises(AnchorError, match="cross_attention_dim 24 and the ControlNet 16"):
        build_sgdm(unet, {**control, "cross_attention_dim": 16})
    with pytest.raises(AnchorError, match="choose 'trained' or 'reference'"):
        build_sgdm(unet, control, fidelity="paper")
    with pytest.raises(AnchorError, match="choose 'zero' or 'half'"):
        build_sgdm(unet, control, init_control="ones")
