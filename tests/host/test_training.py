"""Preparing, training, going on and measuring in a real ComfyUI: the shipped workflow, much shortened."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import prompt_of
from .server import ROOT, HostServer, cached_nodes

WORKFLOW = ROOT / "workflows" / "train_anchor.json"
NAME = "demo_presenter"
_STEPS = 80  # of the training that is cancelled; it reports every second one
Prompt = dict[str, Any]


def _id(prompt: Prompt, kind: str) -> str:
    return next(node for node, entry in prompt.items() if entry["class_type"] == kind)


def _with(prompt: Prompt, kind: str, **inputs: Any) -> Prompt:
    """A copy with other inputs of all nodes of a kind."""
    fresh = copy.deepcopy(prompt)
    for entry in fresh.values():
        if entry["class_type"] == kind:
            entry["inputs"].update(inputs)
    return fresh


@pytest.fixture(scope="module")
def short(host: HostServer) -> Prompt:
    """The workflow with few frames and steps."""
    prompt = _with(prompt_of(host, WORKFLOW), "LoadSMPLXMotion", n_frames=12)
    prompt = _with(prompt, "OverlappedTemporalSampler", steps=1)
    prompt = _with(prompt, "PrepareAnchorDataset", held_out=0.25)
    return _with(prompt, "TrainAnchorSGDM", steps=4, sample_every=2, batch_size=2)


@pytest.fixture(scope="module")
def entry(host: HostServer, short: Prompt) -> dict[str, Any]:
    """The history entry of one run."""
    found = host.run(short)
    assert found["status"]["status_str"] == "success", found["status"]["messages"][-1]
    return found


@pytest.fixture(scope="module")
def alone(host: HostServer, short: Prompt, entry: dict[str, Any]) -> Prompt:
    """Loading, preparing and training alone; the film is the mesh itself."""
    wanted = ("LoadAnchorSGDM", "LoadSMPLXMotion", "RetargetSMPLXMotion", "PrepareAnchorDataset")
    kept = {node: entry for node, entry in short.items() if entry["class_type"] in wanted}
    retarget = _id(kept, "RetargetSMPLXMotion")
    render = next(
        n for n, e in short.items() if e["inputs"].get("motion") == [retarget, 0] and "width" in e["inputs"]
    )
    film = {"images": [render, 0], "fps": 25.0}
    prompt = {**kept, render: short[render], "film": {"class_type": "CreateVideo", "inputs": film}}
    prompt["train"] = short[_id(short, "TrainAnchorSGDM")]
    prompt = _with(prompt, "PrepareAnchorDataset", video=["film", 0], name="mesh", perturbed=0)
    return _with(prompt, "TrainAnchorSGDM", name="mesh", steps=_STEPS, sample_every=0)


def _anchor(host: HostServer, name: str = NAME) -> Path:
    return host.base / "models" / "anchors" / f"{name}.safetensors"


def test_the_anchor_is_saved_with_its_card(host: HostServer, entry: dict[str, Any]) -> None:
    from anchor_core.anchor.file import load_anchor
    from anchor_core.dataset.card import read_dataset_card

    anchor = load_anchor(_anchor(host))
    data = read_dataset_card(host.base / "output" / "anchor_datasets" / NAME)
    assert data is not None
    assert (data.frames, data.held_out_frames, data.perturbed) == (9, 3, 1)
    training = anchor.card.extra["training"]["body"]
    assert training["dataset"] == [data.hash]
    assert (anchor.card.name, anchor.card.training_steps) == (NAME, 4)
    assert anchor.card.consent.startswith("Nobody")
    assert "ComfyUI" in anchor.card.made_with


def test_pictures_are_shown_in_the_nodes(host: HostServer, short: Prompt, entry: dict[str, Any]) -> None:
    from PIL import Image

    for kind, names in (
        ("PrepareAnchorDataset", ["alignment.png"]),
        ("TrainAnchorSGDM", ["samples.png", "loss.png"]),
    ):
        shown = host.shown(entry, _id(short, kind))
        assert [file.name for file in shown] == names
        assert all(np.asarray(Image.open(file)).std() > 5 for file in shown)


def test_words_and_video_come_out(host: HostServer, short: Prompt, entry: dict[str, Any]) -> None:
    words = [out["text"][0] for out in entry["outputs"].values() if "text" in out]
    assert any("9 frames of demo_presenter to train on and 3 held out" in text for text in words)
    assert any("PSNR" in text and "left out" in text for text in words)
    (video,) = entry["outputs"][_id(short, "SaveVideo")]["images"]
    assert (host.base / "output" / video["subfolder"] / video["filename"]).stat().st_size > 1000


def test_nothing_runs_twice(host: HostServer, short: Prompt, entry: dict[str, Any]) -> None:
    again = host.run(short)
    assert set(short) <= cached_nodes(again)


def test_more_steps_go_on_from_the_checkpoint(host: HostServer, short: Prompt, entry: dict[str, Any]) -> None:
    before, train = _anchor(host).read_bytes(), _id(short, "TrainAnchorSGDM")
    more = host.run(_with(short, "TrainAnchorSGDM", steps=6))
    assert more["status"]["status_str"] == "success", more["status"]["messages"][-1]
    assert "resumed at step 4 of 6" in host.log()
    assert _id(short, "PrepareAnchorDataset") in cached_nodes(more)
    assert train not in cached_nodes(more)
    assert _anchor(host).read_bytes() != before


def test_cancel_keeps_a_checkpoint_and_the_next_run_goes_on(host: HostServer, alone: Prompt) -> None:
    folder = host.base / "output" / "anchor_training" / "mesh_body"
    _cancel(host, alone, "mesh_body: step 2/")
    first = _done(folder)
    assert first >= 2
    _cancel(host, alone, f"mesh_body: step {first + 2 - first % 2}/")
    assert f"mesh_body: resumed at step {first} of {_STEPS}" in host.log()
    assert _done(folder) > first
    assert host.log().count("mesh_body was stopped; the same name goes on from") == 2
    assert not _anchor(host, "mesh").exists()


def _cancel(host: HostServer, prompt: Prompt, words: str) -> None:
    """Start, cancel when the log says these words, wait for the end."""
    started, deadline = host.start(prompt), time.monotonic() + 300
    while words not in host.log():
        assert time.monotonic() < deadline, host.log()[-2000:]
        time.sleep(0.2)
    host.post("/interrupt", {})
    messages = dict(host.result(started)["status"]["messages"])
    assert messages["execution_interrupted"]["node_id"] == "train"


def _done(folder: Path) -> int:
    import torch

    return int(torch.load(folder / "checkpoint.pt", weights_only=True)["step"])


BAD = {
    "a path as a name": ("PrepareAnchorDataset", {"name": "../mesh"}, "'/' cannot stand in a name"),
    "another size": ("PrepareAnchorDataset", {"size": 128}, "was begun with size 192"),
    "a stage without a network": ("TrainAnchorSGDM", {"stage": "legs"}, "legs"),
    "other settings": ("TrainAnchorSGDM", {"seed": 5}, "was made with seed = 0 and now it is 5"),
    "a rank that is too high": ("TrainAnchorSGDM", {"name": "new", "lora_rank": 5000}, "5000"),
    "an anchor from elsewhere": ("TrainAnchorSGDM", {"name": "mine"}, "which was not trained here"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_choice_gets_one_sentence(host: HostServer, alone: Prompt, name: str) -> None:
    kind, changes, words = BAD[name]
    other = _anchor(host, "mine")
    if not other.exists():
        other.write_bytes(_anchor(host).read_bytes())
    complaint = host.complaint(_with(alone, kind, **changes))
    assert words in complaint
    assert len(complaint) < 800
    assert "Traceback" not in complaint
