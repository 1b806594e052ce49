"""The host may leave weights on the CPU (--lowvram, --novram): every layer has to work from there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .server import find_checkouts, python_for


@pytest.fixture(
    scope="module", params=find_checkouts() or [None], ids=lambda path: path.name if path else "none"
)
def facts(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What `offloaded_weights.py` found in this checkout."""
    if request.param is None:
        pytest.skip("NO COMFYUI was found: set COMFYUI_DIR to a checkout")
    found = python_for(request.param)
    if isinstance(found, str):
        pytest.skip(f"{request.param}: {found}")
    python, extra = found
    script = Path(__file__).with_name("offloaded_weights.py")
    done = subprocess.run(
        [python, str(script), str(request.param), "--cpu"],
        env={**os.environ, **extra},
        cwd=request.param,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def test_no_layer_needs_its_weights_on_the_device(facts: dict[str, Any]) -> None:
    assert facts["stuck"] == []


def test_weights_of_another_type_give_the_same_prediction(facts: dict[str, Any]) -> None:
    for part in ("body", "face", "encode", "decode"):
        assert facts[part] < 1e-5, part


def test_the_networks_run_with_their_weights_half_or_all_on_the_cpu(facts: dict[str, Any]) -> None:
    assert facts["novram"] == 1
    assert all(0 < share < 1 for share in facts["lowvram"])
