"""The shipped workflow in a real ComfyUI: to a finished video, cached, repeatable, stoppable."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Edit
from .server import PACK, HostServer, cached_nodes

NODES = {
    "LoadAnchorSGDM",
    "LoadSMPLXMotion",
    "RenderSMPLXMesh",
    "AppearanceCLIPEncode",
    "OverlappedTemporalSampler",
    "AnchorWindowPlan",
    "FaceTrackFromMesh",
    "FaceTrackFromPoints",
    "FaceCrop",
    "FaceSGDMInpaint",
    "EditSMPLXMotion",
    "TrimSMPLXMotion",
    "JoinSMPLXMotions",
    "RetargetSMPLXMotion",
    "PreviewSMPLXMotion",
    "PrepareAnchorDataset",
    "TrainAnchorSGDM",
    "EvaluateAnchorVideo",
    "RenderAnchorVideo",
}
NATIVE = {"SMPLXMotionFromPose"}
"""Nodes that are there where the host has what they read."""
TEMPLATES = [
    "anchor_body",
    "anchor_body_face",
    "driving_video_to_anchor",
    "long_video",
    "mocap_to_anchor",
    "speech_to_anchor",
    "train_anchor",
]


def _video(host: HostServer, entry: dict[str, Any]) -> Path:
    saved = entry["outputs"]["9"]["images"][0]
    return host.base / "output" / saved["subfolder"] / saved["filename"]


def _frames(path: Path) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def finished(host: HostServer, edited: Edit) -> dict[str, Any]:
    """The history entry of one run."""
    entry = host.run(edited())
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    return entry


def test_all_nodes_are_there_and_the_log_is_clean(host: HostServer) -> None:
    info = host.get("/object_info")
    ours = {name for name, node in info.items() if node["python_module"].endswith(PACK)}
    assert ours - NATIVE == NODES
    assert "IMPORT FAILED" not in host.log()


def test_the_templates_are_offered(host: HostServer) -> None:
    assert sorted(host.get("/workflow_templates")[PACK]) == TEMPLATES


def test_the_video_has_every_frame_and_shows_something(
    host: HostServer, edited: Edit, finished: dict[str, Any]
) -> None:
    frames = _frames(_video(host, finished))
    mesh = finished["outputs"]["10"]["images"]
    assert len(frames) == edited()["3"]["inputs"]["n_frames"] == len(mesh)
    assert frames.shape[1] == frames.shape[2] > 64
    assert frames.std() > 5, "the frames are empty"
    assert (frames[1:] != frames[:-1]).any(), "nothing moves"


def test_nothing_runs_again_when_nothing_changed(
    host: HostServer, edited: Edit, finished: dict[str, Any]
) -> None:
    assert cached_nodes(host.run(edited())) == set(edited())


def test_another_sampler_setting_leaves_the_steps_before_it_cached(
    host: HostServer, edited: Edit, finished: dict[str, Any]
) -> None:
    entry = host.run(edited({"6.seed": 1}))
    assert {"2", "3", "4", "5"} <= cached_nodes(entry)
    assert not {"6", "7", "9"} & cached_nodes(entry)


def test_the_same_seed_gives_the_same_frames(host: HostServer, edited: Edit) -> None:
    """Compared before the video is encoded: what we hand out, bit by bit."""
    prompt = edited()
    prompt["99"] = {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}}
    first = _pictures(host, host.run(prompt), "99")
    host.post("/free", {"unload_models": True, "free_memory": True})
    time.sleep(1.5)  # the queue looks at the flag once a second
    again = host.run(prompt)
    assert "6" not in cached_nodes(again)
    assert len(first) == edited()["3"]["inputs"]["n_frames"]
    assert _pictures(host, again, "99") == first


def _pictures(host: HostServer, entry: dict[str, Any], node: str) -> list[str]:
    """Hashes of the lossless pictures that a preview node has shown."""
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in host.shown(entry, node)]


def test_cancel_stops_the_sampler_and_the_next_run_works(host: HostServer, edited: Edit) -> None:
    prompt = host.start(edited({"6.seed": 2, "6.steps": 200}))
    time.sleep(2)
    host.post("/interrupt", {})
    began = time.monotonic()
    messages = dict(host.result(prompt)["status"]["messages"])
    assert "execution_interrupted" in messages
    assert time.monotonic() - began < 10
    assert host.run(edited({"6.seed": 3}))["status"]["status_str"] == "success"


def test_tiled_decoding_and_every_choice_of_the_sampler_run(host: HostServer, edited: Edit) -> None:
    choices = {"6.schedule": "uniform", "6.weighting": "pyramid", "6.scheduler": "dpm++2m", "6.cfg": 2.0}
    prompt = edited({**choices, "6.fidelity": "reference", "6.window_size": 8, "6.overlap": 2})
    prompt["7"]["class_type"] = "VAEDecodeTiled"
    prompt["7"]["inputs"] |= {"tile_size": 64, "overlap": 16, "temporal_size": 64, "temporal_overlap": 8}
    entry = host.run(prompt)
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
