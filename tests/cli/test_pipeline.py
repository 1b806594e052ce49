"""Both passes in a row: what the face pass changes, what it leaves alone, what is refused before the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.anchor.file import Anchor
from anchor_core.anchor.use import camera_of, sampler_settings
from anchor_core.body.model import standin_body
from anchor_core.cli.options import DEMO_MOTION
from anchor_core.errors import AnchorError
from anchor_core.face.blend import BlendOptions
from anchor_core.face.track import TrackOptions
from anchor_core.motion.motion import Motion
from anchor_core.motion.place import place_motion
from anchor_core.motion.read import read_motion
from anchor_core.pipeline import FacePass, Runtime, Scene, Take, face_tracking, film, sheet_rows

from ..anchor import models

N_FRAMES = 4
AWAY = 2
"""From this frame on the head of `turning` is turned away."""
SHORT: dict[str, Any] = {"steps": 1, "guidance_scale": 1.0, "window_size": 4, "overlap": 1}
CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def anchor() -> Anchor:
    return models.tiny_face_anchor()


@pytest.fixture(scope="module")
def motion(anchor: Anchor) -> Motion:
    return place_motion(read_motion(DEMO_MOTION).sliced(0, N_FRAMES), camera_of(anchor.card), None)


@pytest.fixture(scope="module")
def turning(motion: Motion) -> Motion:
    """The head looks at the camera, and then to the side and back."""
    pose = motion.pose.copy()
    for joint in (12, 15):
        pose[AWAY:, joint] = (0.0, 1.0, 0.0)
    return replace(motion, pose=pose)


@pytest.fixture(scope="module")
def shoot(anchor: Anchor, motion: Motion) -> Any:
    """shoot(**changes): a take of the anchor; `face` None is one without a face pass."""

    def run(runtime: Runtime = CPU, seed: int = 3, **changes: Any) -> Take:
        face = FacePass(sampler_settings(anchor.card, "face", seed=seed), track=face_tracking(anchor.card))
        given = {"anchor": anchor, "motion": motion, "body": standin_body(), "face": face}
        return film(Scene(**given | changes), sampler_settings(anchor.card, **SHORT, seed=seed), runtime)

    return run


@pytest.fixture(scope="module")
def take(shoot: Any) -> Take:
    return shoot()


@pytest.fixture(scope="module")
def plain(shoot: Any) -> Take:
    return shoot(face=None)


class Steps:
    """Names of the steps that were begun."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @contextmanager
    def __call__(self, name: str, _unit: str) -> Iterator[Any]:
        self.names.append(name)
        yield lambda done, total, preview: None


def boxes(take: Take) -> np.ndarray:
    """(F, H, W) bool: pixels of the squares that the crops show."""
    from anchor_core.face.align import inverse, transform

    assert take.track is not None
    corners = torch.tensor([[-1.0, -1], [512, -1], [-1, 512], [512, 512]], dtype=torch.float64)
    places = transform(corners.expand(N_FRAMES, 4, 2), inverse(take.track.matrices))
    inside = np.zeros(take.frames.shape[:3], bool)
    for frame, place in enumerate(places):
        left, top = place.amin(0).floor().int().clamp(min=0).tolist()
        right, bottom = (place.amax(0).ceil().int() + 1).tolist()
        inside[frame, top:bottom, left:right] = True
    return inside


def test_without_a_face_pass_there_is_the_body_alone(plain: Take) -> None:
    assert plain.frames.shape == plain.mesh.shape == (N_FRAMES, 128, 144, 3)
    assert plain.frames.dtype == plain.mesh.dtype == np.uint8
    assert (plain.body, plain.track, plain.face, plain.n_painted) == (None, None, None, 0)


def test_the_face_pass_changes_faces_and_nothing_else(take: Take, plain: Take) -> None:
    assert np.array_equal(take.body, plain.frames)
    assert np.array_equal(take.mesh, plain.mesh)
    changed = (take.frames != take.body).any(axis=-1)
    assert not (changed & ~boxes(take)).any()
    assert (changed.reshape(N_FRAMES, -1).sum(1) > 50).all()
    assert take.n_painted == N_FRAMES


def test_one_seed_for_both_passes(take: Take, shoot: Any) -> None:
    again, other = shoot(), shoot(seed=4)
    assert np.array_equal(again.frames, take.frames)
    inside = boxes(take)
    assert not np.array_equal(other.frames[inside], take.frames[inside])


def test_hidden_faces_stay_as_they_are(shoot: Any, turning: Motion) -> None:
    take = shoot(motion=turning)
    assert take.track.hidden == ("",) * AWAY + ("turned away",) * (N_FRAMES - AWAY)
    assert np.array_equal(take.frames[AWAY:], take.body[AWAY:])
    assert not np.array_equal(take.frames[:AWAY], take.body[:AWAY])
    assert take.n_painted == AWAY


def test_a_clip_without_any_face_is_the_body_pass(shoot: Any, turning: Motion, caplog: Any) -> None:
    take = shoot(motion=turning.sliced(AWAY, N_FRAMES))
    assert np.array_equal(take.frames, take.body)
    assert "no face to paint in 2 frames (2 turned away)" in caplog.text


def test_the_whole_crop_can_be_put_back(shoot: Any, take: Take) -> None:
    face = replace(take.face, blend=BlendOptions(mode="crop"))
    whole = shoot(face=face)
    changed = [(one.frames != one.body).any(axis=-1).sum() for one in (take, whole)]
    assert changed[1] > 1.3 * changed[0]


def test_a_crop_of_the_face_replaces_that_of_the_anchor(shoot: Any, take: Take) -> None:
    face = replace(take.face, appearance=np.full((32, 32, 3), 200, np.uint8))
    assert not np.array_equal(shoot(face=face).frames, take.frames)


def test_faces_are_found_as_in_the_training(anchor: Anchor) -> None:
    face = replace(anchor.card.face, forehead=0.6, dilation=0.1, mesh="warped")  # type: ignore[type-var]
    options = face_tracking(replace(anchor.card, face=face))
    assert options == TrackOptions(forehead=0.6, dilation=0.1, mesh="warped")
    assert face_tracking(anchor.card, smoothing=0).smoothing == 0


def test_sheets_show_what_the_pass_gains(take: Take, plain: Take) -> None:
    assert list(sheet_rows(plain)) == ["mesh", "result"]
    rows = sheet_rows(take)
    assert list(rows) == ["mesh", "body pass", "result", "face: mesh", "face: body pass", "face: result"]
    assert {len(row) for row in rows.values()} == {N_FRAMES}
    for label in ("face: mesh", "face: body pass", "face: result"):
        assert rows[label][1].shape == (32, 32, 3)
    assert np.abs(rows["face: result"][1].astype(int) - rows["face: body pass"][1]).max() > 8


MISSING = [
    ({"face": None}, "'Ada' holds no face network and the face pass needs one"),
    ({"face_reference": None}, "no reference picture of the face and its face pass needs one; pass --face"),
    ({"face": models.tiny_sgdm()}, "this network takes no mask, it is one for body frames"),
    ({"vision": None}, "holds no vision tower"),
    ({"vae": None}, "holds no VAE"),
    ({"body": None}, "holds no body network"),
]


@pytest.mark.parametrize(("change", "words"), MISSING, ids=[next(iter(change)) for change, _ in MISSING])
def test_what_is_missing_is_found_before_the_work(
    change: dict[str, Any], words: str, anchor: Anchor, shoot: Any
) -> None:
    steps = Steps()
    with pytest.raises(AnchorError, match=words):
        shoot(runtime=replace(CPU, step=steps), anchor=replace(anchor, **change))
    assert steps.names == []


@pytest.mark.parametrize("stage", ["body", "face"])
def test_guidance_without_null_tokens_is_found_before_the_work(
    stage: str, anchor: Anchor, motion: Motion
) -> None:
    card = replace(anchor.card, null_appearance="text")
    without = replace(anchor, card=card, null_appearance=None)
    settings = {
        one: sampler_settings(card, one, guidance_scale=1.0 + (one == stage)) for one in ("body", "face")
    }
    steps = Steps()
    scene = Scene(without, motion, standin_body(), face=FacePass(settings["face"]))
    with pytest.raises(AnchorError, match=f"guidance scale of the {stage} pass is 2 and .* no null tokens"):
        film(scene, settings["body"], replace(CPU, step=steps))
    assert steps.names == []


def test_masks_that_cannot_be_painted_are_found_before_the_denoising(shoot: Any, take: Take) -> None:
    steps = Steps()
    face = replace(take.face, track=TrackOptions(dilation=0.5))
    with pytest.raises(AnchorError, match="covers the whole crop of frame 0"):
        shoot(runtime=replace(CPU, step=steps), face=face)
    assert steps.names == ["rendering the mesh", "finding faces"]


def test_steps_come_in_order_and_clips_are_bytes(shoot: Any, take: Take) -> None:
    steps = Steps()
    shoot(runtime=replace(CPU, step=steps))
    assert steps.names[:4] == ["rendering the mesh", "finding faces", "denoising", "decoding"]
    assert {"denoising faces", "blending faces"} <= set(steps.names[4:])
    assert take.mesh.dtype == take.body.dtype == take.frames.dtype == np.uint8


def test_crops_of_long_clips_are_not_kept(shoot: Any, take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anchor_core.pipeline._KEPT_CROPS", 0)
    assert np.array_equal(shoot().frames, take.frames)
