"""Fingerprints tell contents apart, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.body.model import standin_body
from anchor_core.filming.fingerprint import fingerprint
from anchor_core.sampling.settings import SamplerSettings

PAIRS: list[tuple[Any, Any]] = [
    (np.zeros(4, np.float32), np.zeros(4, np.float64)),
    (np.zeros((2, 2)), np.zeros(4)),
    (np.zeros(4), np.ones(4)),
    (np.zeros(0), None),
    (("ab", "c"), ("a", "bc")),
    (SamplerSettings(), SamplerSettings(seed=1)),
    ({"a": 1}, {"b": 1}),
    (torch.zeros(3), torch.zeros(3, dtype=torch.int64)),
    (torch.zeros(3, dtype=torch.bfloat16), torch.ones(3, dtype=torch.bfloat16)),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_different_things_differ(one: Any, other: Any) -> None:
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(one)
    assert len(fingerprint(one)) == 16


def test_the_same_contents_are_the_same() -> None:
    assert fingerprint(standin_body()) == fingerprint(standin_body())
    weights = torch.arange(12.0).reshape(3, 4)
    assert fingerprint(weights) == fingerprint(weights.T.contiguous().T)


def test_networks_are_known_as_they_were_first_seen() -> None:
    torch.manual_seed(0)
    network = torch.nn.Linear(300, 300)
    other = torch.nn.Linear(300, 300)
    twin = torch.nn.Linear(300, 300)
    twin.load_state_dict(network.state_dict())
    name = fingerprint(network)
    assert fingerprint(twin) == name != fingerprint(other)
    assert fingerprint(network.half()) == name
