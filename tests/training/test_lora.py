"""Low-rank layers: what is trained, what stays, and that merging changes nothing that one sees."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from anchor_core.errors import AnchorError
from anchor_core.sampling.schedulers import ZERO_TERMINAL_SNR
from anchor_core.sgdm.network import build_sgdm
from anchor_core.training.config import SGDMConfig
from anchor_core.training.lora import attach_lora, has_lora, lora_tensors, low_rank_size, merge_lora
from anchor_core.training.trainer import train_sgdm

from .conftest import CONTROLNET, UNET

QUERY = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"


def output(sgdm, latents_seed=0):
    generator = torch.Generator().manual_seed(latents_seed)
    latents, tokens = (torch.randn(shape, generator=generator) for shape in ((1, 2, 4, 8, 8), (1, 5, 16)))
    pose = torch.rand(2, 3, 16, 16, generator=generator)
    with torch.no_grad():
        return sgdm(latents, 3, tokens, sgdm.embed_pose(pose)[None])


def stir(sgdm) -> None:
    generator = torch.Generator().manual_seed(5)
    for parameter in sgdm.low_rank.parameters():
        parameter.data.normal_(std=0.2, generator=generator)


def test_nothing_changes_at_the_start(new_sgdm) -> None:
    sgdm = new_sgdm()
    before, names = output(sgdm), set(sgdm.unet.state_dict())
    attach_lora(sgdm, 4, 8)
    assert torch.equal(output(sgdm), before)
    assert set(sgdm.unet.state_dict()) == names


def test_attention_projections_are_updated_and_nothing_else(new_sgdm) -> None:
    sgdm = new_sgdm()
    low_rank = attach_lora(sgdm, 4, 8)
    layers = {name.removesuffix(".up") for name in lora_tensors(sgdm) if name.endswith(".up")}
    expected = {
        f"{name}.{projection}"
        for name, module in sgdm.named_modules()
        if name.endswith((".attn1", ".attn2"))
        for projection in ("to_q", "to_k", "to_v", "to_out.0")
    }
    assert layers == expected
    assert any(name.startswith("controlnet.") for name in layers)
    trained = {id(parameter) for parameter in sgdm.parameters() if parameter.requires_grad}
    assert trained == {id(parameter) for parameter in low_rank.parameters()}


def test_all_layers_take_in_convolutions(new_sgdm) -> None:
    sgdm = new_sgdm()
    attach_lora(sgdm, 2, 2, layers="all")
    tensors = lora_tensors(sgdm)
    assert tensors["unet.down_blocks.0.resnets.0.conv1.down"].shape == (2, 16, 3, 3)
    assert tensors["unet.down_blocks.0.resnets.0.conv1.up"].shape == (16, 2)
    assert not any("controlnet_down_blocks" in name or "conv_in" in name for name in tensors)


@pytest.mark.parametrize("layers", ["attention", "all"])
def test_the_size_is_known_before(new_sgdm, layers: str) -> None:
    sgdm = new_sgdm()
    expected = low_rank_size(sgdm, 3, layers)
    low_rank = attach_lora(sgdm, 3, 3, layers=layers)
    assert sum(parameter.numel() for parameter in low_rank.parameters()) == expected
    assert low_rank_size(sgdm, 3, layers) == expected


def test_the_trainer_takes_layers_and_seed_from_its_settings(new_sgdm, training_set, tmp_path: Path) -> None:
    config = SGDMConfig(steps=1, batch_size=2, learning_rate=1e-9, lora_rank=2, lora_layers="all", seed=7)
    sgdm, other = new_sgdm(), new_sgdm()
    train_sgdm(sgdm, None, training_set, ZERO_TERMINAL_SNR, config, tmp_path)
    attach_lora(other, 2, 2, layers="all", seed=7)
    found, expected = lora_tensors(sgdm), lora_tensors(other)
    assert set(found) == set(expected)
    torch.testing.assert_close(found[QUERY + ".down"], expected[QUERY + ".down"])


@pytest.mark.parametrize("layers", ["attention", "all"])
def test_merging_gives_the_same_function(new_sgdm, layers: str) -> None:
    sgdm = new_sgdm()
    plain = output(sgdm)
    attach_lora(sgdm, 3, 6.0, layers=layers)
    stir(sgdm)
    attached = output(sgdm)
    assert (attached - plain).abs().max() > 1e-2
    merge_lora(sgdm)
    assert not has_lora(sgdm)
    assert not [hook for module in sgdm.unet.up_blocks.modules() for hook in module._forward_hooks]
    torch.testing.assert_close(output(sgdm), attached, rtol=1e-4, atol=1e-5)


def test_the_update_is_the_published_one(new_sgdm) -> None:
    sgdm = new_sgdm().double()
    attach_lora(sgdm, 2, 6.0)
    sgdm.double()
    stir(sgdm)
    update = sgdm.low_rank.updates[QUERY.replace(".", "/")]
    layer: nn.Linear = sgdm.get_submodule(QUERY)
    x = torch.randn(3, 32, dtype=torch.float64)
    expected = x @ layer.weight.T + 6.0 / 2 * (x @ update.down.T) @ update.up.T
    torch.testing.assert_close(layer(x), expected if layer.bias is None else expected + layer.bias)


def test_a_copy_has_layers_of_its_own(new_sgdm) -> None:
    sgdm = new_sgdm()
    attach_lora(sgdm, 2, 2)
    stir(sgdm)
    other = copy.deepcopy(sgdm)
    before = output(sgdm)
    merge_lora(other)
    other.unet.conv_out.weight.data.zero_()
    assert torch.equal(output(sgdm), before)


def test_masters_stay_in_float32_beside_half_precision(new_sgdm) -> None:
    sgdm = new_sgdm().bfloat16()
    low_rank = attach_lora(sgdm, 2, 2)
    assert {parameter.dtype for parameter in low_rank.parameters()} == {torch.float32}
    x = torch.randn(3, 32, dtype=torch.bfloat16)
    assert sgdm.get_submodule(QUERY)(x).dtype == torch.bfloat16


def test_the_seed_decides_the_start(new_sgdm) -> None:
    def start(seed: int) -> torch.Tensor:
        sgdm = new_sgdm()
        attach_lora(sgdm, 2, 2, seed=seed)
        return lora_tensors(sgdm)[QUERY + ".down"]

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_training_learns_and_leaves_the_base(new_sgdm, training_set, tmp_path: Path) -> None:
    sgdm = new_sgdm()
    base = copy.deepcopy(sgdm.unet.state_dict())
    config = SGDMConfig(steps=60, batch_size=4, learning_rate=2e-2, lora_rank=8, lora_alpha=8, warmup_steps=2)
    losses = train_sgdm(sgdm, None, training_set, ZERO_TERMINAL_SNR, config, tmp_path)
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert all(torch.equal(tensor, base[name]) for name, tensor in sgdm.unet.state_dict().items())
    assert any(bool(tensor.any()) for name, tensor in lora_tensors(sgdm).items() if name.endswith(".up"))


def test_a_stopped_training_goes_on_bit_equal(new_sgdm, training_set, tmp_path: Path) -> None:
    config = SGDMConfig(steps=6, batch_size=2, lora_rank=2, checkpoint_every=3)

    def stop(done: int, total: int, picture: object) -> None:
        if done == 3:
            raise KeyboardInterrupt

    whole = train_sgdm(new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_sgdm(new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, config, tmp_path / "cut", stop)
    rest = train_sgdm(new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, config, tmp_path / "cut")
    assert rest == whole[3:]


def test_an_untrained_controlnet_is_refused() -> None:
    with pytest.raises(AnchorError, match=r"ControlNet has never been trained.*start from a pre-trained"):
        attach_lora(build_sgdm(UNET, CONTROLNET), 4, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, "lora_rank is 0; need a whole number from 1 to 1024"),
        ({"rank": 2.5}, "lora_rank is 2.5"),
        ({"alpha": 0.0}, "lora_alpha is 0.0; need more than 0"),
        ({"layers": "some"}, "lora_layers is 'some'; need 'attention' or 'all'"),
    ],
)
def test_numbers_out_of_range(new_sgdm, changes, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        attach_lora(new_sgdm(), **{"rank": 4, "alpha": 4.0, **changes})


def test_twice_or_never_attached(new_sgdm) -> None:
    sgdm = new_sgdm()
    with pytest.raises(AnchorError, match="no low-rank layers: attach them"):
        merge_lora(sgdm)
    attach_lora(sgdm, 2, 2)
    with pytest.raises(AnchorError, match="has low-rank layers already"):
        attach_lora(sgdm, 2, 2)


def test_gradient_checkpointing_gives_the_same_gradients(new_sgdm, training_set, tmp_path: Path) -> None:
    config = SGDMConfig(steps=2, batch_size=2, lora_rank=2)
    plain = train_sgdm(new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, config, tmp_path / "plain")
    saving = replace(config, gradient_checkpointing=True)
    saved = train_sgdm(new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, saving, tmp_path / "saving")
    assert saved == pytest.approx(plain, rel=1e-5)
