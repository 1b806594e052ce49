"""The 8-bit optimiser where it is installed and where it is not, and the learning rate."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.training.config import LoopConfig
from anchor_core.training.optimiser import learning_rate, make_optimiser

WEIGHTS = [torch.nn.Parameter(torch.ones(3))]


def test_adamw_by_default():
    config = LoopConfig(steps=5, learning_rate=0.5, betas=(0.8, 0.9), weight_decay=0.1)
    (group,) = make_optimiser(WEIGHTS, config).param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.8, 0.9), 0.1)


def test_eight_bits_come_from_bitsandbytes(monkeypatch):
    module = ModuleType("bitsandbytes")
    module.optim = SimpleNamespace(AdamW8bit=lambda parameters, **options: (parameters, options))
    monkeypatch.setitem(sys.modules, "bitsandbytes", module)
    config = LoopConfig(steps=5, optimiser="adamw8bit")
    parameters, options = make_optimiser(WEIGHTS, config)
    assert parameters is WEIGHTS
    assert options == {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 1e-2}


def test_eight_bits_without_bitsandbytes(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(
        AnchorError, match=r"needs bitsandbytes, .* not installed; pip install bitsandbytes, or"
    ):
        make_optimiser(WEIGHTS, LoopConfig(steps=5, optimiser="adamw8bit"))


def test_rates_grow_and_fall():
    config = LoopConfig(steps=100, learning_rate=1.0, warmup_steps=9)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[4] == pytest.approx(0.5, abs=0.01)
    assert max(rates) == rates[9]
    assert rates[-1] < 0.001
    constant = LoopConfig(steps=100, learning_rate=1.0, warmup_steps=0, decay="constant")
    assert {learning_rate(constant, step) for step in range(100)} == {1.0}
