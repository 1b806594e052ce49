"""The face pass in a real ComfyUI: the shipped workflow with an anchor whose face network is untrained.

What such a network paints is noise, so a face that was painted is told from one that was left as it is.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from .conftest import BODY_ANCHOR, FACE_ANCHOR, Edit
from .server import HostServer, cached_nodes

Prompt = dict[str, Any]
FACE = [[75, 38], [92, 38], [83, 47], [77, 54], [90, 54]]
"""About where the demo person has the face, in frames of 192 x 192."""


def with_nodes(prompt: Prompt, **nodes: tuple[str, dict[str, Any]]) -> Prompt:
    """The prompt with further nodes."""
    return {
        **prompt,
        **{name: {"class_type": kind, "inputs": given} for name, (kind, given) in nodes.items()},
    }


def watched(prompt: Prompt) -> Prompt:
    """The prompt with the frames shown before ("before") and after the face pass ("after")."""
    return with_nodes(
        prompt,
        before=("PreviewImage", {"images": prompt["15"]["inputs"]["images"]}),
        after=("PreviewImage", {"images": ["15", 0]}),
    )


def pictures(host: HostServer, entry: dict[str, Any], node: str) -> np.ndarray:
    """What a preview node has shown, (F, H, W, 3) int16."""
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in host.shown(entry, node)]).astype(
        np.int16
    )


@pytest.fixture(scope="module")
def finished(host: HostServer, faced: Edit) -> dict[str, Any]:
    """The history entry of one run."""
    return host.run(watched(faced()))


def test_faces_are_painted_and_the_rest_stays_bit_for_bit(host: HostServer, finished: dict[str, Any]) -> None:
    before, after = (pictures(host, finished, node) for node in ("before", "after"))
    changed = (before != after).any(-1)
    assert before.shape == after.shape == (6, 192, 192, 3)
    left, top, right, bottom = 52, 8, 116, 84  # generously about the head
    assert changed[:, 30:55, 75:92].mean() > 0.5, "the middle of the face was not painted"
    changed[:, top:bottom, left:right] = False
    assert changed.nonzero()[0].size == 0, [(places.min(), places.max()) for places in changed.nonzero()]


def test_crops_have_the_size_of_the_anchor_and_show_the_same_faces(
    host: HostServer, finished: dict[str, Any]
) -> None:
    before, after = (pictures(host, finished, node) for node in ("17", "18"))
    assert before.shape == after.shape == (6, 128, 128, 3)
    assert before.std() > 20
    assert np.abs(before - after).mean() > 10


def test_the_graph_paints_what_the_core_paints(
    host: HostServer, finished: dict[str, Any], anchors: Path, tmp_path: Path
) -> None:
    after = pictures(host, finished, "after")
    made = filmed(anchors / FACE_ANCHOR, len(after), tmp_path / "core.mp4")
    # The host's preview cuts fractions off, the core rounds to bytes between the passes.
    assert np.abs(after - made).mean() < 1


def filmed(path: Path, n_frames: int, out: Path) -> np.ndarray:
    """The frames of `faced` by the core alone, (F, H, W, 3) int16."""
    from anchor_core.anchor.file import load_anchor
    from anchor_core.anchor.use import betas_of, camera_of, sampler_settings
    from anchor_core.body.find import STANDIN, body_for
    from anchor_core.files import ASSETS
    from anchor_core.filming.crew import AnchorCrew, Runtime
    from anchor_core.filming.film import film_to_file
    from anchor_core.filming.folder import RenderFolder
    from anchor_core.filming.scene import FacePass, Scene, face_tracking
    from anchor_core.motion.place import place_motion
    from anchor_core.motion.read import read_motion
    from anchor_core.progress import silent_step

    anchor = load_anchor(path)
    card, motion = anchor.card, read_motion(ASSETS / "demo_motion.npz").sliced(0, n_frames)
    staged = place_motion(motion, camera_of(card), betas_of(card))
    face = FacePass(sampler_settings(card, "face"), track=face_tracking(card))
    scene = Scene(staged, body_for(STANDIN, {}, motion.gender), face=face)
    crew = AnchorCrew(anchor, Runtime(torch.device("cpu"), torch.float32))
    settings = sampler_settings(card, steps=1)
    film = film_to_file(scene, crew, settings, out, step=silent_step, keep_folder=True)
    assert film is not None
    assert film.folder is not None
    width, height = card.resolution
    return RenderFolder(film.folder).frames("finished", (height, width, 3))[:].numpy().astype(np.int16)


def test_a_setting_of_the_face_pass_leaves_the_body_cached(
    host: HostServer, faced: Edit, finished: dict[str, Any]
) -> None:
    entry = host.run(watched(faced({"15.seed": 1})))
    assert {"2", "3", "4", "5", "6", "7", "13", "14", "16"} <= cached_nodes(entry)
    assert not {"15", "8", "9"} & cached_nodes(entry)
    assert (pictures(host, entry, "after") != pictures(host, finished, "after")).any()


def test_the_same_seed_gives_the_same_faces(host: HostServer, faced: Edit, finished: dict[str, Any]) -> None:
    host.post("/free", {"unload_models": True, "free_memory": True})
    time.sleep(1.5)  # the queue looks at the flag once a second
    again = host.run(watched(faced()))
    assert "15" not in cached_nodes(again)
    assert (pictures(host, again, "after") == pictures(host, finished, "after")).all()


def test_cancel_stops_the_face_pass_and_the_next_run_works(host: HostServer, faced: Edit) -> None:
    prompt = host.start(faced({"15.steps": 900, "15.seed": 2}))
    time.sleep(4)
    host.post("/interrupt", {})
    began = time.monotonic()
    messages = dict(host.result(prompt)["status"]["messages"])
    assert messages["execution_interrupted"]["node_id"] == "15"
    assert time.monotonic() - began < 10
    assert host.complaint(faced({"15.seed": 3})) == ""


def test_every_choice_of_the_face_pass_runs_and_alpha_is_dropped(host: HostServer, faced: Edit) -> None:
    choices = {"schedule": "uniform", "weighting": "pyramid", "scheduler": "dpm++2m", "cfg": 2.0}
    choices |= {"window_size": 4, "overlap": 1, "shared_noise": False, "color_match": False}
    for blend in ("face", "crop", "square"):
        prompt = faced({f"15.{name}": value for name, value in {**choices, "blend": blend}.items()})
        prompt["15"]["inputs"]["images"] = ["alpha", 0]
        prompt = with_nodes(
            prompt,
            alpha=("JoinImageWithAlpha", {"image": ["7", 0], "alpha": ["4", 1]}),
        )
        assert host.complaint(prompt) == ""


def test_a_crop_of_a_frame_is_a_reference_picture(host: HostServer, faced: Edit) -> None:
    prompt = faced({"14.image": ["one", 0]})
    crop = {"images": ["7", 0], "face_track": ["13", 0], "frame": 2, "size": 224}
    assert host.complaint(with_nodes(prompt, one=("FaceCrop", crop))) == ""


def test_a_mask_of_the_user_is_what_is_painted(host: HostServer, faced: Edit) -> None:
    entry = host.run(watched(_masked(faced, x=70, y=25, side=12)))
    before, after = (pictures(host, entry, node) for node in ("before", "after"))
    changed = (before != after).any(-1)
    assert changed[:, 27:35, 72:80].all()
    changed[:, 20:42, 65:87] = False
    assert not changed.any()


def _masked(faced: Edit, x: int, y: int, side: int) -> Prompt:
    """The prompt with one mask for all frames, a white square."""
    whole = {"value": 0.0, "width": 192, "height": 192}
    square = {"value": 1.0, "width": side, "height": side}
    joined = {"destination": ["whole", 0], "source": ["square", 0], "x": x, "y": y, "operation": "add"}
    return with_nodes(
        faced({"15.mask": ["joined", 0]}),
        whole=("SolidMask", whole),
        square=("SolidMask", square),
        joined=("MaskComposite", joined),
    )


def _with_points(faced: Edit, points: str) -> Prompt:
    """The prompt with faces tracked by points."""
    given = {"pose": ["4", 0], "points": points, "anchor": ["2", 0], "crop_size": 0, "smoothing": 0.0}
    prompt = faced({"15.face_track": ["20", 0], "16.face_track": ["20", 0]})
    prompt.pop("13")
    return with_nodes(prompt, **{"20": ("FaceTrackFromPoints", {**given, "min_visibility": 0.3})})


def test_points_do_where_there_is_no_mesh_and_hidden_faces_stay(host: HostServer, faced: Edit) -> None:
    entry = host.run(watched(_with_points(faced, json.dumps([FACE, FACE, None, FACE, FACE, FACE]))))
    before, after = (pictures(host, entry, node) for node in ("before", "after"))
    assert (before != after).any((1, 2, 3)).tolist() == [True, True, False, True, True, True]
    assert "face pass: 5 of 6 faces painted; left as they are: 1 no face" in host.log()


def test_a_clip_without_a_face_stays_as_it_is_with_one_warning(host: HostServer, faced: Edit) -> None:
    entry = host.run(watched(_with_points(faced, json.dumps([None] * 6))))
    assert (pictures(host, entry, "before") == pictures(host, entry, "after")).all()
    assert host.log().count("no face to paint in 6 frames (6 no face): they stay as they are") == 1


BAD = {
    "no face network": ({"2.anchor": BODY_ANCHOR}, r"'.*' holds no face network and the face pass needs one"),
    "crops of no multiple of 8": ({"13.crop_size": 100}, r"100 pixels: need a multiple of 8 from 32"),
    "overlap too long": (
        {"15.window_size": 8, "15.overlap": 8},
        r"overlap 8 is not smaller than window_size 8",
    ),
    "another number of frames": ({"15.images": ["part", 0]}, r"4 frames and faces were tracked in 6"),
    "another size": ({"15.images": ["small", 0]}, r"96 x 96 pixels and faces were tracked at 192 x 192"),
    "a mask of another size": ({"15.mask": ["tiny", 0]}, r"need 1 or 6 masks of 192 x 192 pixels"),
    "an empty mask": ({"15.mask": ["black", 0]}, r"the face mask is empty: paint the face white"),
    "a mask that covers all": ({"15.mask": ["white", 0]}, r"the face mask covers a whole frame"),
    "a frame that is not there": ({"16.frame": 6}, r"frame is 6 and the clip has 6 frames"),
    "another blend": ({"15.blend": "smear"}, r"smear"),
    "another stage": ({"14.stage": "legs"}, r"legs"),
}
EXTRA = {
    "part": ("ImageFromBatch", {"image": ["7", 0], "batch_index": 0, "length": 4}),
    "small": (
        "ImageScale",
        {"image": ["7", 0], "upscale_method": "area", "width": 96, "height": 96, "crop": "disabled"},
    ),
    "tiny": ("SolidMask", {"value": 1.0, "width": 64, "height": 64}),
    "black": ("SolidMask", {"value": 0.0, "width": 192, "height": 192}),
    "white": ("SolidMask", {"value": 1.0, "width": 192, "height": 192}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_choice_gets_one_sentence(host: HostServer, faced: Edit, name: str) -> None:
    changes, pattern = BAD[name]
    sentence = host.complaint(with_nodes(faced(changes), **EXTRA))
    assert re.search(pattern, sentence), sentence
    assert "Traceback" not in sentence


def test_a_mask_beside_the_face_gets_one_sentence(host: HostServer, faced: Edit) -> None:
    sentence = host.complaint(_masked(faced, x=0, y=150, side=20))
    assert "the face mask is empty in all 6 frames that show a face" in sentence


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ("hello", "points is no JSON"),
        (json.dumps([FACE]), "face points for 1 frames"),
        (json.dumps([FACE[:3]] * 6), "frame 0 of points"),
    ],
)
def test_bad_points_get_one_sentence(host: HostServer, faced: Edit, points: str, words: str) -> None:
    assert words in host.complaint(_with_points(faced, points))


def test_half_precision_between_nodes_gives_the_same_faces(
    host: HostServer, faced: Edit, finished: dict[str, Any], anchors: Path, tmp_path: Path
) -> None:
    if "--fp16-intermediates" not in (host.checkout / "comfy" / "cli_args.py").read_text():
        pytest.skip("this ComfyUI knows no --fp16-intermediates")
    (tmp_path / "models" / "anchors").mkdir(parents=True)
    (tmp_path / "models" / "anchors" / FACE_ANCHOR).symlink_to(anchors / FACE_ANCHOR)
    with HostServer(host.checkout, tmp_path, "--fp16-intermediates") as coarse:
        after = pictures(coarse, coarse.run(watched(faced())), "after")
    assert np.abs(after - pictures(host, finished, "after")).mean() < 1
