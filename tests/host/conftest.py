"""The servers that the host tests talk to, and the shipped workflow as a small prompt."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .server import ROOT, HostServer, api_prompt, find_checkouts, python_for

WORKFLOW = ROOT / "workflows" / "anchor_body.json"
Edit = Callable[..., dict[str, Any]]


@pytest.fixture(
    scope="session", params=find_checkouts() or [None], ids=lambda path: path.name if path else "none"
)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    """A running ComfyUI, once per checkout; a skip that says what to do where there is none."""
    checkout: Path | None = request.param
    if checkout is None:
        pytest.skip("NO COMFYUI was found, the nodes were not run in a host: set COMFYUI_DIR to a checkout")
    missing = python_for(checkout)
    if isinstance(missing, str):
        pytest.skip(f"{checkout}: {missing}")
    with HostServer(checkout, tmp_path_factory.mktemp("base")) as server:
        yield server


@pytest.fixture(scope="session")
def edited(host: HostServer) -> Edit:
    """The shipped workflow as a prompt, shortened, with changed inputs: edited({"6.overlap": 16})."""
    info = host.get("/object_info")
    prompt = api_prompt(json.loads(WORKFLOW.read_text()), info)
    prompt["3"]["inputs"]["n_frames"] = 20
    prompt["6"]["inputs"]["steps"] = 2

    def edit(changes: dict[str, Any] | None = None) -> dict[str, Any]:
        fresh = copy.deepcopy(prompt)
        for place, value in (changes or {}).items():
            node, name = place.split(".")
            fresh[node]["inputs"][name] = value
        return fresh

    return edit
