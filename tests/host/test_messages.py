"""What a user reads when something does not fit: one sentence, at the node."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Edit
from .server import HostServer


@pytest.fixture(scope="module")
def inputs(host: HostServer) -> Path:
    """Files that a user may bring, good and bad, in the host's folders."""
    folder = host.base / "input"
    rng = np.random.default_rng(0)
    for name, shape in (("grey", (20, 30)), ("alpha", (40, 40, 4)), ("dot", (1, 1, 3))):
        Image.fromarray(rng.integers(0, 255, shape, np.uint8)).save(folder / f"{name}.png")
    broken = rng.normal(size=(90, 265)).astype(np.float32) * 0.1
    broken[3:60, 20] = np.nan
    np.save(folder / "nan.npy", broken)
    (folder / "empty.npy").write_bytes(b"")
    (folder.parent / "models" / "anchors" / "lora.safetensors").write_bytes(b"not a safetensors file at all")
    return folder


BAD = {
    "missing anchor": ({"2.anchor": "nobody.safetensors"}, r"nobody\.safetensors"),
    "anchor outside of the folder": ({"2.anchor": "../../../etc/passwd"}, r"passwd"),
    "not an anchor": ({"2.anchor": "lora.safetensors"}, r"lora\.safetensors"),
    "missing motion": ({"3.motion": "nothing.npz"}, r"nothing\.npz"),
    "motion outside of the folder": ({"3.motion": "../server.log"}, r"server\.log"),
    "motion with NaN": ({"3.motion": "nan.npy"}, r"Frames 3 to 59 have no pose"),
    "empty motion": ({"3.motion": "empty.npy"}, r"empty"),
    "start after the end": ({"3.start_frame": 99999}, r"start_frame is 99999 .* choose a start from 0 to"),
    "one side only": ({"4.width": 64}, r"give both in pixels, or 0 for both"),
    "another resolution": (
        {"4.width": 64, "4.height": 64},
        r"64 x 64 pixels and the anchor .* was trained at",
    ),
    "no multiple of 8": ({"4.width": 100, "4.height": 100}, r"no multiple of 8"),
    "overlap too long": (
        {"6.window_size": 8, "6.overlap": 8},
        r"overlap 8 is not smaller than window_size 8",
    ),
    "plan overlap too long": ({"11.overlap": 16}, r"overlap 16 is not smaller than window_size 16"),
    "pose acts nowhere": (
        {"6.condition_start": 0.8, "6.condition_end": 0.2},
        r"condition_start <= condition_end",
    ),
    "too many steps": ({"6.steps": 1000, "6.scheduler": "lcm"}, r"steps is 1000: scheduler lcm needs"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_choice_gets_one_sentence(host: HostServer, edited: Edit, inputs: Path, name: str) -> None:
    changes, pattern = BAD[name]
    # Newer hosts refuse what is not in a list before the node sees it, and name it as well.
    sentence = host.complaint(edited({"3.n_frames": 4, **changes}))
    assert re.search(pattern, sentence), sentence
    assert "Traceback" not in sentence


def test_an_overlap_that_comes_over_a_link_is_refused_as_well(host: HostServer, edited: Edit) -> None:
    assert "is not smaller than window_size" in host.complaint(
        edited({"11.overlap": ["3", 2], "11.window_size": 8})
    )


@pytest.mark.parametrize("picture", ["grey.png", "alpha.png", "dot.png"])
def test_any_picture_works_as_a_reference(host: HostServer, edited: Edit, inputs: Path, picture: str) -> None:
    prompt = edited({"3.n_frames": 2, "6.steps": 1, "5.image": ["90", 0]})
    prompt["90"] = {"class_type": "LoadImage", "inputs": {"image": picture}}
    assert host.complaint(prompt) == ""


def test_a_batch_of_pictures_is_refused(host: HostServer, edited: Edit) -> None:
    assert re.search(
        r"image holds 20 pictures and one is needed", host.complaint(edited({"5.image": ["4", 0]}))
    )


def test_windows_longer_than_the_clip_are_fine(host: HostServer, edited: Edit) -> None:
    assert host.complaint(edited({"3.n_frames": 3, "6.window_size": 64, "6.overlap": 8, "6.steps": 1})) == ""
