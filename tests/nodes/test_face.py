"""What the nodes of the face pass make of the values that a graph brings, without a host."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from .stand_in_host import PACK

FACE = [[20.0, 18.0], [30.0, 18.5], [25.5, 24.0], [21.0, 30.0], [29.0, 30.5]]
UNSET = {
    "steps": 0,
    "cfg": -1.0,
    "condition_scale": -1.0,
    "window_size": 0,
    "overlap": -1,
    "scheduler": "as the anchor says",
}


def _core(name: str) -> Any:
    """A module of the core as the nodes see it: under the host it has another name."""
    return importlib.import_module(f"{PACK}.anchor_core.{name}")


def _module(name: str) -> Any:
    return importlib.import_module(f"{PACK}.nodes.{name}")


@pytest.fixture
def error(nodes: Any) -> type[Exception]:
    """The pack's own error type."""
    found: type[Exception] = _core("errors").AnchorError
    return found


@pytest.fixture
def plain_host(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that takes results as they are."""
    for name in ("face_crop", "_face"):
        monkeypatch.setattr(_module(name)._host, "to_host", lambda tensor: tensor)


@pytest.fixture
def anchor(nodes: Any) -> Any:
    """A loaded anchor with a face network in name only: crops of 64, masks that reach 0.2 and 0.1."""
    face = _core("anchor.face_card").FaceCard(
        crop_size=64, steps=7, guidance_scale=1.0, window_size=9, mesh="drawn", forehead=0.2, dilation=0.1
    )
    card = _core("anchor.card").AnchorCard("ada", resolution=(48, 64), steps=30, face=face)
    network = SimpleNamespace(fidelity="trained", appearance_width=8, latent_channels=4)
    vae = SimpleNamespace(downscale_ratio=8, encode=lambda pixels: pixels * 2, decode=lambda latents: latents)
    parts = SimpleNamespace(card=card, face=network, null_appearance=None)
    body = SimpleNamespace(fidelity="reference", appearance_width=16, latent_channels=4)
    loaded = _module("_anchor").LoadedAnchor
    return loaded(parts, body, "body", torch.float32, vae, True, (0.5, 2.0), "face")


@pytest.fixture
def track(nodes: Any, plain_host: None) -> Any:
    """Three frames of 48 x 64 with crops of 32; the second shows no face."""
    points = json.dumps([FACE, None, FACE])
    node = nodes.FaceTrackFromPoints
    found = node.execute(torch.zeros(3, 64, 48, 4), points, 32, smoothing=0.0, min_visibility=0.3)
    return found[0]


def test_each_stage_has_its_network(anchor: Any, error: type[Exception]) -> None:
    assert anchor.network("body") is anchor.body
    assert anchor.network("face") is anchor.anchor.face
    with pytest.raises(error, match="stage is 'legs': choose body or face"):
        anchor.network("legs")


def test_an_anchor_without_a_face_network_says_so(anchor: Any, error: type[Exception]) -> None:
    bare = replace(anchor, anchor=SimpleNamespace(card=anchor.card, face=None), face_patcher=None)
    with pytest.raises(error, match="the anchor 'ada' holds no face network and the face pass needs one"):
        bare.network("face")


def test_tokens_are_checked_against_the_network_of_the_stage(anchor: Any, error: type[Exception]) -> None:
    tokens = [[torch.zeros(1, 5, 8), {}]]
    assert anchor.tokens_of(tokens, "positive", "face").shape == (1, 5, 8)
    with pytest.raises(error, match="tokens 8 wide and the anchor 'ada' needs 16"):
        anchor.tokens_of(tokens, "positive")


def test_the_codec_speaks_in_the_scale_of_the_networks(anchor: Any) -> None:
    codec = anchor.codec()
    assert (codec.channels, codec.stride) == (4, 8)
    assert torch.equal(codec.encode(torch.full((1,), 1.0), 0), torch.full((1,), 3.0))  # (2 - 0.5) * 2
    assert torch.equal(codec.decode(torch.full((1,), 3.0)), torch.full((1,), 2.0))


def test_unset_widgets_take_the_values_of_the_face(nodes: Any, anchor: Any) -> None:
    settings_from = _module("_sampling").settings_from
    made = settings_from(anchor.card, "face", seed=1, **UNSET)
    assert (made.steps, made.guidance_scale, made.condition_scale) == (7, 1.0, 1.0)
    assert (made.window_size, made.overlap) == (9, 4)
    assert settings_from(anchor.card, seed=1, **UNSET).steps == 30
    assert settings_from(anchor.card, "face", **{**UNSET, "window_size": 1}).overlap == 0


def test_a_track_takes_reach_and_mesh_from_the_anchor_unless_told(nodes: Any, anchor: Any) -> None:
    options = _module("_face").track_options
    own, told = options(anchor), options(anchor, forehead=0.0, dilation=0.3, smoothing=2.0)
    assert (own.forehead, own.dilation, own.mesh) == (0.2, 0.1, "drawn")
    assert (told.forehead, told.dilation, told.smoothing) == (0.0, 0.3, 2.0)
    alone, usual = options(None), _core("face.track").TrackOptions()
    assert (alone.forehead, alone.dilation, alone.mesh) == (usual.forehead, usual.dilation, usual.mesh)


def test_crops_are_as_large_as_the_anchor_says(nodes: Any, anchor: Any, plain_host: None) -> None:
    execute = nodes.FaceTrackFromPoints.execute
    pose, points = torch.rand(1, 64, 48, 3), json.dumps([FACE])
    for given, who, side in ((0, anchor, 64), (0, None, 256), (32, anchor, 32)):
        track, crops, mask = execute(pose, points, given, who, smoothing=0.0, min_visibility=0.3)
        assert crops.shape == (1, side, side, 3)
        assert mask.shape == (1, side, side)
        assert 0 < float(mask.mean()) < 1
        assert track.crop_size == side


def test_hidden_faces_have_no_crop_and_no_mask(track: Any) -> None:
    assert track.hidden == ("", "no face", "")
    assert int(track.mask[1].max()) == int(track.mesh[1].max()) == 0


def test_points_are_read_as_written_and_null_is_no_face(nodes: Any) -> None:
    points = _module("face_track_from_points").read_points(json.dumps([FACE, None]))
    assert points.dtype == torch.float64
    assert points[0].tolist() == FACE
    assert bool(points[1].isnan().all())


NO_POINTS = {
    "nothing": ("", "points is no JSON"),
    "code": ("__import__('os')", "points is no JSON"),
    "nested too deeply": ("[" * 100_000, "points is no JSON"),
    "an endless number": ("[[" + "9" * 6000 + "]]", "points is no JSON|frame 0 of points"),
    "no list": ('{"frames": []}', "points holds no list of frames"),
    "no frames": ("[]", "points holds no list of frames"),
    "four points": (json.dumps([FACE, FACE[:4]]), "frame 1 of points is .* each five"),
    "three numbers": (json.dumps([[[1, 2, 3]] * 5]), "frame 0 of points"),
    "a word": (json.dumps([[[1, "2"]] * 5]), "frame 0 of points"),
    "truth": (json.dumps([[[1, True]] * 5]), "frame 0 of points"),
    "no number": ("[[[NaN, 1], [1, 1], [1, 1], [1, 1], [1, 1]]]", "NaN is no number"),
    "endless": ("[[[1e999, 1], [1, 1], [1, 1], [1, 1], [1, 1]]]", "frame 0 of points"),
    "far away": (json.dumps([[[1e9, 1]] * 5]), "frame 0 of points"),
}


@pytest.mark.parametrize("name", NO_POINTS)
def test_other_texts_are_refused_in_a_sentence(nodes: Any, error: type[Exception], name: str) -> None:
    text, words = NO_POINTS[name]
    with pytest.raises(error, match=words) as caught:
        _module("face_track_from_points").read_points(text)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_text_without_end_is_not_read(
    nodes: Any, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_module("face_track_from_points"), "_MAX_CHARACTERS", 20)
    with pytest.raises(error, match="points is 21 characters long and at most 20 are read"):
        _module("face_track_from_points").read_points(" " * 21)


def test_faces_are_cut_at_any_size_and_alpha_is_dropped(nodes: Any, track: Any) -> None:
    frames = torch.rand(3, 64, 48, 4, generator=torch.Generator().manual_seed(0))
    (every,) = nodes.FaceCrop.execute(frames, track, -1, 0)
    (large,) = nodes.FaceCrop.execute(frames, track, 2, 96)
    (last,) = nodes.FaceCrop.execute(frames, track, 2, 0)
    assert every.shape == (3, 32, 32, 3)
    assert large.shape == (1, 96, 96, 3)
    assert torch.equal(last[0], every[2])
    assert bool((every[0] != every[2]).any()), "frames of noise differ"


def test_half_precision_frames_are_cut_too(nodes: Any, track: Any) -> None:
    frames = torch.rand(3, 64, 48, 3, generator=torch.Generator().manual_seed(0)).half()
    (half,) = nodes.FaceCrop.execute(frames, track, 0, 0)
    (full,) = nodes.FaceCrop.execute(frames.float(), track, 0, 0)
    assert torch.allclose(half, full)


@pytest.mark.parametrize(
    ("frames", "number", "words"),
    [
        (3, 3, "frame is 3 and the clip has 3 frames: choose 0 to 2, or -1"),
        (3, 1, r"the face of frame 1 cannot be seen \(no face\): choose another frame, for example 0"),
        (2, 0, "there are 2 frames and faces were tracked in 3"),
    ],
)
def test_a_face_that_is_not_there_is_not_cut(
    nodes: Any, error: type[Exception], track: Any, frames: int, number: int, words: str
) -> None:
    with pytest.raises(error, match=words):
        nodes.FaceCrop.execute(torch.zeros(frames, 64, 48, 3), track, number, 0)


def test_crops_of_hidden_faces_are_mentioned(nodes: Any, track: Any, caplog: Any) -> None:
    nodes.FaceCrop.execute(torch.zeros(3, 64, 48, 3), track, -1, 0)
    assert "1 of 3 crops show no face (the first: frame 1, no face)" in caplog.text


def test_the_steps_of_a_node_fill_one_bar(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host, seen = _module("_host"), []
    monkeypatch.setattr(host, "FrameProgress", lambda total: lambda done, total, preview: seen.append(done))
    step = host.PartProgress(0.25, 0.75)
    for _ in range(2):
        with step("", "") as bar:
            bar(1, 2, None)
            bar(2, 2, None)
    assert seen == [125, 250, 625, 1000]
