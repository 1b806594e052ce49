"""The servers that the host tests talk to, and the shipped workflows as small prompts."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .server import ROOT, HostServer, api_prompt, find_checkouts, python_for

WORKFLOW = ROOT / "workflows" / "anchor_body.json"
FACE_WORKFLOW = ROOT / "workflows" / "anchor_body_face.json"
FACE_ANCHOR, BODY_ANCHOR = "with_face.safetensors", "body_only.safetensors"
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
    prompt = prompt_of(host, WORKFLOW)
    prompt["3"]["inputs"]["n_frames"] = 20
    prompt["6"]["inputs"]["steps"] = 2
    return editor(prompt)


@pytest.fixture(scope="session")
def anchors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo person with an untrained face network, and without one."""
    folder = tmp_path_factory.mktemp("anchors")
    save_anchors(folder)
    return folder


@pytest.fixture(scope="session")
def faced(host: HostServer, anchors: Path) -> Edit:
    """A few frames of the workflow with the face pass, as `edited` gives those of the body."""
    for file in anchors.iterdir():
        (host.base / "models" / "anchors" / file.name).symlink_to(file)
    prompt = prompt_of(host, FACE_WORKFLOW)
    prompt["2"]["inputs"]["anchor"] = FACE_ANCHOR
    prompt["3"]["inputs"]["n_frames"] = 6
    prompt["6"]["inputs"]["steps"] = 1
    return editor(prompt)


def prompt_of(host: HostServer, workflow: Path) -> dict[str, Any]:
    """A workflow file as a prompt for this host."""
    return api_prompt(json.loads(workflow.read_text()), host.get("/object_info"))


def editor(prompt: dict[str, Any]) -> Edit:
    """A function that gives copies of the prompt with changed inputs."""

    def edit(changes: dict[str, Any] | None = None) -> dict[str, Any]:
        fresh = copy.deepcopy(prompt)
        for place, value in (changes or {}).items():
            node, name = place.split(".")
            fresh[node]["inputs"][name] = value
        return fresh

    return edit


def save_anchors(folder: Path) -> None:
    """Write FACE_ANCHOR and BODY_ANCHOR."""
    import torch

    from anchor_core.anchor.face_card import FaceCard
    from anchor_core.anchor.file import load_anchor, save_anchor
    from anchor_core.demo.networks import new_face_sgdm
    from anchor_core.files import ASSETS

    demo = load_anchor(ASSETS / "demo_anchor.safetensors")
    body = replace(demo, card=replace(demo.card, face=None), face=None, face_reference=None)
    save_anchor(body, folder / BODY_ANCHOR)
    card = FaceCard(crop_size=128, steps=2, guidance_scale=1.0, mesh="drawn")
    picture = torch.randint(
        0, 256, (64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    person = replace(body, card=replace(demo.card, face=card), face=new_face_sgdm(1), face_reference=picture)
    save_anchor(person, folder / FACE_ANCHOR)
