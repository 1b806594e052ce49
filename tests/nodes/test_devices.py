"""Several devices of the host: each gets a network of its own, and takes windows."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from anchor_core.sampling.room import Work
from anchor_core.sampling.settings import SamplerSettings

from .stand_in_host import PACK


class Patcher:
    """A handle as the host has one."""

    def __init__(self, model: Any, load_device: torch.device, offload_device: Any) -> None:
        self.model, self.load_device = model, load_device


@pytest.fixture
def host(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that touches the host, on a host with three devices."""
    module = sys.modules[f"{PACK}.nodes._host"]
    monkeypatch.setattr(module.comfy.model_patcher, "CoreModelPatcher", Patcher, raising=False)
    monkeypatch.setattr(module, "make_castable", lambda network: None)
    monkeypatch.setattr(module, "_attention_on", lambda device: f"attention on {device}")
    devices = [torch.device("cuda", 1), torch.device("cuda", 2)]
    monkeypatch.setattr(
        module.mm, "get_all_torch_devices", lambda exclude_current: list(devices), raising=False
    )
    return module


class Network(nn.Linear):
    attention = ""

    def set_attention(self, attention: str) -> None:
        self.attention = attention


@pytest.fixture
def loaded(nodes: Any) -> Any:
    kind = sys.modules[f"{PACK}.nodes._anchor"].LoadedAnchor
    parts = SimpleNamespace(card=None, face=None)
    return kind(parts, Network(2, 2), None, torch.float32, None, True, (0.0, 1.0))


def test_each_further_device_gets_a_copy_that_is_made_once(host: Any, loaded: Any) -> None:
    made = host._on_other_devices(loaded, "body")
    assert [handle.load_device.index for _, handle in made] == [1, 2]
    assert [network.attention for network, _ in made] == ["attention on cuda:1", "attention on cuda:2"]
    for network, handle in made:
        assert handle.model is network
        assert network is not loaded.body
        assert torch.equal(network.weight, loaded.body.weight)
        assert network.weight.data_ptr() != loaded.body.weight.data_ptr()
    again = host._on_other_devices(loaded, "body")
    assert [network for network, _ in again] == [network for network, _ in made]


class Buffer:
    """Memory of a device, which would be freed twice if it was copied."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise AssertionError("copied")


def test_a_copy_has_nothing_of_what_the_host_has_put_on_the_network(host: Any, loaded: Any) -> None:
    loaded.body.dynamic_pins = {"cuda:0": Buffer()}
    (network, _), _ = host._on_other_devices(loaded, "body")
    assert not hasattr(network, "dynamic_pins")
    assert loaded.body.dynamic_pins


def test_what_a_network_of_the_host_takes_can_be_counted(host: Any) -> None:
    """As the sampler does when it explains that a window does not fit."""
    unet, controlnet = (SimpleNamespace(config={"of": name}) for name in ("unet", "controlnet"))
    sgdm = SimpleNamespace(
        unet=unet, controlnet=controlnet, latent_channels=4, parameters=None, fidelity="trained"
    )
    network = host.ManagedNetwork(sgdm, "auto")
    work = Work.of(network, SamplerSettings(), (64, 64), 1, torch.float16)
    assert (work.unet, work.controlnet) == ({"of": "unet"}, {"of": "controlnet"})


def test_another_anchor_gets_copies_of_its_own(host: Any, loaded: Any) -> None:
    other = replace(loaded, body=Network(2, 2), copies={})
    first, second = (host._on_other_devices(one, "body")[0][0] for one in (loaded, other))
    assert not torch.equal(first.weight, second.weight)


def test_a_host_with_one_device_or_an_older_one_makes_no_copies(
    host: Any, loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.mm, "get_all_torch_devices", lambda exclude_current: [])
    assert host._on_other_devices(loaded, "body") == []
    monkeypatch.setattr(host, "mm", SimpleNamespace())
    assert host._on_other_devices(loaded, "body") == []
