"""Windows under several contexts against the network's own forward pass on as many copies of them."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from anchor_core.errors import AnchorError
from anchor_core.sgdm.network import SGDM

MakeSGDM = Callable[..., SGDM]

TOPOLOGIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no attention at the top": {
        "block_out_channels": [16, 32, 32],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    },
    "attention in the mid block alone": {
        "down_block_types": ["DownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "UpBlock2D"],
    },
    "two layers": {"layers_per_block": 2},
    "two transformer blocks": {"transformer_layers_per_block": 2},
    "linear projection": {"use_linear_projection": True},
    "cross-attention alone": {"only_cross_attention": True},
    "centered": {"center_input_sample": True},
    "scaled time": {"resnet_time_scale_shift": "scale_shift"},
    "another activation": {"act_fn": "gelu"},
    "face": {"in_channels": 9},
    "face, eight latent channels": {"in_channels": 17, "out_channels": 8},
}


def windows_of(
    sgdm: SGDM, windows: int = 2, contexts: int = 2, frames: int = 3, size: tuple[int, int] = (8, 8)
) -> dict[str, Any]:
    """Random arguments of `guided` in the network's type."""
    draw = torch.Generator().manual_seed(1)
    dtype, stride, extra = sgdm.unet.dtype, sgdm.pose_stride, sgdm.inpaint_channels

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype)

    pose = random(windows * frames, 3, size[0] * stride, size[1] * stride).sigmoid()
    return {
        "latents": random(windows, frames, sgdm.latent_channels, *size),
        "timestep": torch.tensor(500),
        "contexts": random(contexts, 5, sgdm.appearance_width),
        "pose_features": sgdm.embed_pose(pose).detach().unflatten(0, (windows, frames)),
        "condition_scale": 1.5,
        "inpaint": random(windows, frames, extra, *size) if extra else None,
    }


@torch.no_grad()
def repeated(sgdm: SGDM, **given: Any) -> torch.Tensor:
    """What `guided` has to equal."""
    windows, contexts = len(given["latents"]), len(given["contexts"])
    copies = {
        name: None if given[name] is None else given[name].repeat(contexts, 1, 1, 1, 1)
        for name in ("latents", "pose_features", "inpaint")
    }
    appearance = given["contexts"].repeat_interleave(windows, dim=0)
    rest = {name: given[name] for name in ("timestep", "condition_scale")}
    return sgdm(appearance=appearance, **copies, **rest).unflatten(0, (contexts, windows))


def relative_error(value: torch.Tensor, expected: torch.Tensor) -> float:
    assert value.shape == expected.shape
    return float((value - expected).norm() / expected.norm())


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("fidelity", ["trained", "reference"])
@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
@pytest.mark.parametrize("scale", [0, 1.5])
def test_guided_is_the_network_on_copies(
    make_sgdm: MakeSGDM, topology: str, fidelity: str, size: tuple[int, int], scale: float
) -> None:
    sgdm = make_sgdm(fidelity, **TOPOLOGIES[topology]).double()
    given = {**windows_of(sgdm, size=size), "condition_scale": scale}
    assert relative_error(sgdm.guided(**given), repeated(sgdm, **given)) < 1e-13


@pytest.mark.parametrize("topology", ["plain", "face"])
def test_guided_in_single_precision(make_sgdm: MakeSGDM, topology: str) -> None:
    sgdm = make_sgdm("reference", **TOPOLOGIES[topology])
    given = windows_of(sgdm)
    assert relative_error(sgdm.guided(**given), repeated(sgdm, **given)) < 1e-5


@pytest.mark.parametrize(("windows", "contexts", "frames"), [(1, 1, 1), (3, 1, 2), (1, 3, 4), (2, 2, 1)])
def test_any_number_of_windows_contexts_and_frames(
    make_sgdm: MakeSGDM, windows: int, contexts: int, frames: int
) -> None:
    sgdm = make_sgdm("reference").double()
    given = windows_of(sgdm, windows, contexts, frames)
    assert relative_error(sgdm.guided(**given), repeated(sgdm, **given)) < 1e-13


@pytest.mark.parametrize("name", ["a_window_tiny2_f5", "a_window_tiny4_f1", "a_window_tiny4_f5"])
def test_guided_gives_the_published_predictions(
    goldens: Path, golden_sgdm: Callable[[str, str], SGDM], name: str
) -> None:
    config = json.loads((goldens / name / "config.json").read_text())
    sgdm = golden_sgdm(Path(config["model"]).name, "reference")
    inputs = load_file(goldens / name / "inputs.safetensors")
    pictures = torch.from_numpy(np.load(goldens / name / "pose_frames_uint8.npz")["frames"])
    with torch.no_grad():
        pose = sgdm.embed_pose(pictures.permute(0, 3, 1, 2) / 255)[None]
    latents = inputs["sample"].transpose(1, 2)
    contexts, expected = inputs["encoder_hidden_states"], load_file(goldens / name / "outputs.safetensors")
    for index, window in enumerate(latents):
        predicted = sgdm.guided(
            window[None], inputs["timestep"], contexts, pose, config["conditioning_scale"]
        )
        published = expected["noise_pred"].transpose(1, 2)[index]
        assert relative_error(predicted[index, 0], published) < 1e-5


def test_the_first_attention_is_computed_once_per_window(make_sgdm: MakeSGDM) -> None:
    sgdm, batches = make_sgdm(), []

    def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        batches.append((len(query), key.shape[2], query.stride(0)))
        return functional.scaled_dot_product_attention(query, key, value)

    sgdm.set_attention(attention)
    sgdm.guided(**windows_of(sgdm, windows=2, contexts=3, frames=3))
    # ControlNet: 2 x 3 frames on their own, 3 contexts; U-Net: 2 windows, 3 contexts, 6 windows
    control, unet = batches[:4], batches[4:]
    assert [batch for batch, _keys, _stride in control] == [6, 3, 18, 3]
    assert [batch for batch, _keys, _stride in unet] == [2, 3, 6, 3, 6, 3, 6, 3]
    assert control[1][2] == unet[1][2] == 0  # the queries of the first cross-attention are no copies


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("fidelity", ["trained", "reference"])
def test_frames_that_are_alike_go_down_as_one(make_sgdm: MakeSGDM, topology: str, fidelity: str) -> None:
    sgdm, tokens = make_sgdm(fidelity, **TOPOLOGIES[topology]).double(), []
    given = windows_of(sgdm, frames=3, size=(5, 7))
    for name in ("latents", "inpaint"):
        if given[name] is not None:
            given[name] = given[name][:, :1].repeat(1, 3, 1, 1, 1)
    expected = repeated(sgdm, **given)
    sgdm.unet.down_blocks[0].resnets[0].conv1.register_forward_pre_hook(
        lambda _conv, args: tokens.append(len(args[0]))
    )
    assert relative_error(sgdm.guided(**given), expected) < 1e-13
    assert (
        relative_error(
            sgdm.guided(**{**given, "condition_scale": 0}), repeated(sgdm, **{**given, "condition_scale": 0})
        )
        < 1e-13
    )
    given["latents"][1, 2, 0, 0, 0] += 1
    assert relative_error(sgdm.guided(**given), repeated(sgdm, **given)) < 1e-13
    assert tokens[:2] == [2, 2]  # two windows, of one frame each
    assert tokens[-2] == 6
    assert sgdm.window.frames == 1


def test_arguments_are_left_alone(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm("reference", in_channels=9)
    given = windows_of(sgdm)
    before = {name: copy.deepcopy(value) for name, value in given.items()}
    for _ in range(2):
        sgdm.guided(**given)
    for name, value in before.items():
        assert value is None or torch.equal(torch.as_tensor(given[name]), torch.as_tensor(value)), name


@pytest.mark.parametrize("images", [1, 4, 5, 100])
def test_feed_forward_layers_in_parts_are_exact(make_sgdm: MakeSGDM, images: int) -> None:
    sgdm = make_sgdm("reference").double()
    given = windows_of(sgdm)
    whole = sgdm.guided(**given)
    sgdm.feed_forward_chunk, sizes = images, []
    sgdm.unet.mid_block.attentions[0].transformer_blocks[0].norm3.register_forward_pre_hook(
        lambda _norm, args: sizes.append(len(args[0]))
    )
    assert relative_error(sgdm.guided(**given), whole) < 1e-13
    assert sum(sizes) == 12
    assert max(sizes) == min(images, 12)


def test_no_window_is_left_entered_and_no_gradient_is_kept(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm()
    assert not sgdm.guided(**windows_of(sgdm)).requires_grad
    assert not sgdm.window.entered_now


@torch.inference_mode()
def test_guided_in_inference_mode(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm("reference").double()  # weights made here have no version counter
    given = windows_of(sgdm)
    with sgdm.one_clip():
        first, second = sgdm.guided(**given), sgdm.guided(**given)
    assert torch.equal(first, second)
    assert relative_error(first, repeated(sgdm, **given)) < 1e-13


def test_networks_that_the_walk_does_not_know_run_as_a_batch(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm("reference", time_cond_proj_dim=8).double()
    given = windows_of(sgdm)
    assert not sgdm._walkable
    assert relative_error(sgdm.guided(**given), repeated(sgdm, **given)) < 1e-13
    single = {**given, "pose_features": given["pose_features"][:1]}
    expected = repeated(sgdm, **{**given, "pose_features": given["pose_features"][:1].repeat(2, 1, 1, 1, 1)})
    assert relative_error(sgdm.guided(**single), expected) < 1e-13


def test_one_pose_for_all_windows(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm().double()
    given = windows_of(sgdm)
    same = given["pose_features"][:1]
    expected = sgdm.guided(**{**given, "pose_features": same.repeat(2, 1, 1, 1, 1)})
    assert torch.equal(sgdm.guided(**{**given, "pose_features": same}), expected)


def test_threads_take_turns(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm("reference")
    given = [windows_of(sgdm, frames=frames) for frames in (1, 2, 3)]
    expected, differences = [sgdm.guided(**windows) for windows in given], []

    def work(index: int) -> None:
        with sgdm.one_clip():
            for _ in range(3):
                differences.append(float((sgdm.guided(**given[index]) - expected[index]).abs().max()))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(differences) == 9
    assert max(differences) < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latents": torch.zeros(3, 4, 8, 8)}, r"needs \(B, F, 4, h, w\)"),
        ({"latents": torch.zeros(2, 4, 4, 8, 8)}, "3 pose frames for 4 frames of latents"),
        ({"contexts": torch.zeros(2, 5, 768)}, r"this model needs \(B, T, 24\)"),
        ({"inpaint": torch.zeros(2, 3, 5, 8, 8)}, "needs 0 inpainting channels and got 5"),
        ({"timestep": torch.zeros(2)}, "Got 2 time steps for guided windows"),
    ],
)
def test_shapes_that_do_not_fit(make_sgdm: MakeSGDM, change: dict[str, Any], message: str) -> None:
    sgdm = make_sgdm()
    with pytest.raises(AnchorError, match=message):
        sgdm.guided(**{**windows_of(sgdm), **change})
