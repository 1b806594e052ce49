"""A whole film in a real ComfyUI: a video file out of one node, which goes on where it was cancelled."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from anchor_core.video.read import read_info

from .conftest import FACE_ANCHOR, Edit, editor, prompt_of
from .server import ROOT, HostServer, cached_nodes

Prompt = dict[str, Any]


@pytest.fixture(scope="module")
def film(host: HostServer, faced: Edit) -> Edit:
    """Demo motion, an anchor with a face network, and the node, as a prompt: film({"3.name": "x"})."""
    del faced  # links the anchors into the host's folder
    return editor(
        {
            "1": {"class_type": "LoadAnchorSGDM", "inputs": loader_inputs(host)},
            "2": {
                "class_type": "LoadSMPLXMotion",
                "inputs": {**defaults(host, "LoadSMPLXMotion"), "n_frames": 20},
            },
            "3": {
                "class_type": "RenderAnchorVideo",
                "inputs": {
                    **defaults(host, "RenderAnchorVideo"),
                    "anchor": ["1", 0],
                    "motion": ["2", 0],
                    "steps": 2,
                },
            },
        }
    )


def loader_inputs(host: HostServer) -> dict[str, Any]:
    return {**defaults(host, "LoadAnchorSGDM"), "anchor": FACE_ANCHOR}


def defaults(host: HostServer, node: str) -> dict[str, Any]:
    """The widgets of a node as the front end sets them."""
    values: dict[str, Any] = {}
    for group in ("required", "optional"):
        for name, (kind, *options) in host.get(f"/object_info/{node}")[node]["input"].get(group, {}).items():
            given = options[0] if options else {}
            if "default" in given:
                values[name] = given["default"]
            elif isinstance(kind, list) or kind == "COMBO":
                values[name] = (kind if isinstance(kind, list) else given["options"])[0]
    return values


def renders(host: HostServer) -> Path:
    return host.base / "output" / "anchor_renders"


def test_a_film_is_written_and_found_again(host: HostServer, film: Edit) -> None:
    entry = host.run(film({"3.name": "whole"}))
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    (video,) = renders(host).glob("whole_*.mp4")
    assert read_info(video).n_frames == 20
    assert video.with_suffix(".png").is_file()
    assert not video.with_suffix(".render").exists()
    written = video.stat().st_mtime_ns
    host.run(film({"3.name": "whole", "3.face": "on"}))  # another widget, the same film
    assert video.stat().st_mtime_ns == written
    assert "was rendered before" in host.log()


def test_only_a_video_that_was_deleted_is_rendered_once_more(host: HostServer, film: Edit) -> None:
    prompt = film({"3.name": "kept", "3.steps": 1})
    host.run(prompt)
    assert "3" in cached_nodes(host.run(prompt))
    (video,) = renders(host).glob("kept_*.mp4")
    video.unlink()
    assert "3" not in cached_nodes(host.run(prompt))
    assert video.is_file()
    assert "3" in cached_nodes(host.run(prompt))


def test_the_shipped_workflow_runs(host: HostServer) -> None:
    prompt = prompt_of(host, ROOT / "workflows" / "long_video.json")
    (motion,) = (node for node in prompt.values() if node["class_type"] == "LoadSMPLXMotion")
    (node,) = (node for node in prompt.values() if node["class_type"] == "RenderAnchorVideo")
    motion["inputs"]["n_frames"] = 8
    node["inputs"] |= {"name": "shipped", "steps": 1, "face": "off"}
    entry = host.run(prompt)
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    (video,) = renders(host).glob("shipped_*.mp4")
    assert read_info(video).n_frames == 8


def test_a_cancelled_film_goes_on_to_the_same_bytes(host: HostServer, film: Edit) -> None:
    host.run(film({"3.name": "straight", "3.steps": 6}))
    started = host.start(film({"3.name": "cancelled", "3.steps": 6}))
    state = wait_for_state(host)
    host.post("/interrupt", {})
    assert host.result(started)["status"]["status_str"] == "error"
    assert state.is_file(), "the state of a cancelled film is gone"
    host.run(film({"3.name": "cancelled", "3.steps": 6}))
    straight, cancelled = (next(renders(host).glob(f"{name}_*.mp4")) for name in ("straight", "cancelled"))
    assert cancelled.read_bytes() == straight.read_bytes()
    assert not cancelled.with_suffix(".render").exists()


def wait_for_state(host: HostServer) -> Path:
    """The latents of the film that is being denoised, as soon as they are there."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for file in renders(host).glob("cancelled_*.render/body_latents.safetensors"):
            return file
        time.sleep(0.02)
    raise AssertionError(f"no state was kept: {host.log()[-2000:]}")


def test_a_face_that_the_anchor_cannot_paint_is_refused(host: HostServer, film: Edit) -> None:
    sentence = host.complaint(film({"1.anchor": "body_only.safetensors", "3.face": "on"}))
    assert "holds no face network" in sentence
