"""Adding low-rank updates from a file to weights: the sum, and one sentence for what does not fit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from anchor_core.errors import AnchorError
from anchor_core.sgdm.low_rank import add_low_rank


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"linear": nn.Linear(6, 4), "conv": nn.Conv2d(3, 5, 3), "norm": nn.LayerNorm(4)})


def pair(layer: str, down: tuple[int, ...], up: tuple[int, ...]) -> dict[str, torch.Tensor]:
    return {f"{layer}.down": torch.randn(down), f"{layer}.up": torch.randn(up)}


def test_the_sum_is_added(network: nn.Module) -> None:
    before = copy.deepcopy(network)
    update = pair("linear", (2, 6), (4, 2)) | pair("conv", (2, 3, 3, 3), (5, 2))
    add_low_rank(network, update, "a.safetensors")
    expected = before["linear"].weight + update["linear.up"] @ update["linear.down"]
    torch.testing.assert_close(network["linear"].weight, expected)
    x = torch.randn(1, 3, 5, 5)
    hidden = nn.functional.conv2d(x, update["conv.down"])
    mixed = nn.functional.conv2d(hidden, update["conv.up"][:, :, None, None])
    torch.testing.assert_close(network["conv"](x), before["conv"](x) + mixed)


def test_half_precision_is_summed_in_float32(network: nn.Module) -> None:
    network.half()
    update = {name: tensor.half() for name, tensor in pair("linear", (2, 6), (4, 2)).items()}
    expected = network["linear"].weight.float() + update["linear.up"].float() @ update["linear.down"].float()
    add_low_rank(network, update, "a.safetensors")
    assert torch.equal(network["linear"].weight, expected.half())


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (
            pair("other", (2, 6), (4, 2)),
            "changes the layer other, which its base does not have",
        ),
        (pair("norm", (2, 4), (4, 2)), "changes the layer norm, which"),
        (pair("linear", (2, 7), (4, 2)), r"holds \[4, 2\] x \[2, 7\] for linear, whose weight is \[4, 6\]"),
        (pair("linear", (2, 6), (4, 3)), r"holds \[4, 3\] x \[2, 6\]"),
        (pair("linear", (0, 6), (4, 0)), r"holds \[4, 0\]"),
        (pair("conv", (2, 27), (5, 2)), "for conv"),
        ({"linear.down": torch.zeros(2, 6)}, r"1 low-rank tensors without their other half \(linear"),
        (pair("linear", (2, 6), (4, 2)) | {"linear.scale": torch.ones(1)}, r"other half \(linear.scale"),
        ({k: t.int() for k, t in pair("linear", (2, 6), (4, 2)).items()}, "for linear"),
    ],
)
def test_what_does_not_fit_changes_nothing(network: nn.Module, update: dict, message: str) -> None:
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(AnchorError, match=message):
        add_low_rank(network, pair("conv", (2, 3, 3, 3), (5, 2)) | update, "a.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_overflow_is_told(network: nn.Module) -> None:
    update = {name: tensor + 1e3 for name, tensor in pair("linear", (2, 6), (4, 2)).items()}
    with pytest.raises(AnchorError, match=r"makes linear not finite in torch.float16: load it in float32"):
        add_low_rank(network.half(), update, "a.safetensors")
