"""Both passes in a row: what the face pass changes, what it leaves alone, what is refused before the work."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.anchor.file import Anchor
from anchor_core.body.model import standin_body
from anchor_core.errors import AnchorError
from anchor_core.face.align import inverse, transform
from anchor_core.face.blend import BlendOptions
from anchor_core.face.track import TrackOptions, track_motion
from anchor_core.filming.crew import AnchorCrew
from anchor_core.filming.finish import sheet_rows
from anchor_core.filming.scene import FacePass, face_tracking
from anchor_core.filming.stages import Clip
from anchor_core.motion.motion import Motion
from anchor_core.video.read import read_frames, read_info

from ..anchor import models
from . import scenes
from .scenes import CPU, SIZE, Take

N_FRAMES = 4
AWAY = 2
"""From this frame on the head of `turning` is turned away."""


@pytest.fixture(scope="module")
def anchor() -> Anchor:
    return scenes.tiny_anchor()


@pytest.fixture(scope="module")
def motion(anchor: Anchor) -> Motion:
    return scenes.demo_motion(anchor, N_FRAMES)


@pytest.fixture(scope="module")
def shoot(anchor: Anchor, motion: Motion, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """shoot(**changes of the scene): a take of the anchor; `face` None is one without a face pass."""

    def run(options: dict[str, Any] | None = None, seed: int = 3, **changes: Any) -> Take:
        out = tmp_path_factory.mktemp("film") / "ada.mp4"
        scene = replace(scenes.scene_of(anchor, motion, seed=seed), **changes)
        film = scenes.shot(out, anchor, scene, seed=seed, keep_folder=True, **options or {})
        return scenes.take_of(film)

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


@pytest.fixture(scope="module")
def boxes(motion: Motion) -> np.ndarray:
    """(F, H, W) bool: pixels of the squares that the crops show."""
    track = track_motion(motion, standin_body(), size=SIZE, crop_size=scenes.CROP)
    corners = torch.tensor([[-1.0, -1], [512, -1], [-1, 512], [512, 512]], dtype=torch.float64)
    places = transform(corners.expand(N_FRAMES, 4, 2), inverse(track.matrices))
    inside = np.zeros((N_FRAMES, SIZE[1], SIZE[0]), bool)
    for frame, place in enumerate(places):
        left, top = place.amin(0).floor().int().clamp(min=0).tolist()
        right, bottom = (place.amax(0).ceil().int() + 1).tolist()
        inside[frame, top:bottom, left:right] = True
    return inside


def test_without_a_face_pass_there_is_the_body_alone(plain: Take) -> None:
    assert plain.frames.shape == plain.mesh.shape == (N_FRAMES, 128, 144, 3)
    assert (plain.film.painted, plain.film.hidden) == (None, {})
    assert plain.film.n_frames == N_FRAMES


def test_the_face_pass_changes_faces_and_nothing_else(take: Take, plain: Take, boxes: np.ndarray) -> None:
    assert np.array_equal(take.body, plain.frames)
    assert np.array_equal(take.mesh, plain.mesh)
    changed = (take.frames != take.body).any(axis=-1)
    assert not (changed & ~boxes).any()
    assert (changed.reshape(N_FRAMES, -1).sum(1) > 50).all()
    assert take.film.painted == N_FRAMES


def test_the_video_shows_the_frames(take: Take) -> None:
    for number, shown in enumerate(read_frames(take.film.video)):
        far = np.abs(shown.astype(int) - take.frames).reshape(N_FRAMES, -1).mean(1)
        assert far.argmin() == number
    assert number == N_FRAMES - 1
    tags = json.loads(read_info(take.film.video).tags["comment"])
    assert tags["settings"]["seed"] == tags["face"]["settings"]["seed"] == 3
    assert tags["face"]["painted"] == N_FRAMES
    assert tags["face"]["blend"]["mode"] == "face"


def test_one_seed_for_both_passes(take: Take, shoot: Any, boxes: np.ndarray) -> None:
    again, other = shoot(), shoot(seed=4)
    assert np.array_equal(again.frames, take.frames)
    assert again.film.video.read_bytes() == take.film.video.read_bytes()
    assert not np.array_equal(other.frames[boxes], take.frames[boxes])


def test_hidden_faces_stay_as_they_are(shoot: Any, motion: Motion) -> None:
    take = shoot(motion=scenes.turning(motion, AWAY))
    assert take.film.hidden == {"turned away": N_FRAMES - AWAY}
    assert np.array_equal(take.frames[AWAY:], take.body[AWAY:])
    assert not np.array_equal(take.frames[:AWAY], take.body[:AWAY])
    assert take.film.painted == AWAY


def test_a_clip_without_any_face_is_the_body_pass(shoot: Any, motion: Motion, caplog: Any) -> None:
    take = shoot(motion=scenes.turning(motion, AWAY).sliced(AWAY, N_FRAMES))
    assert np.array_equal(take.frames, take.body)
    assert "no face to paint in 2 frames (2 turned away)" in caplog.text


def test_the_whole_crop_can_be_put_back(shoot: Any, take: Take, anchor: Anchor, motion: Motion) -> None:
    face = scenes.scene_of(anchor, motion).face
    assert face is not None
    whole = shoot(face=replace(face, blend=BlendOptions(mode="crop")))
    changed = [(one.frames != one.body).any(axis=-1).sum() for one in (take, whole)]
    assert changed[1] > 1.3 * changed[0]


def test_pictures_replace_those_of_the_anchor(shoot: Any, take: Take, anchor: Anchor) -> None:
    grey = np.full((32, 32, 3), 200, np.uint8)
    face = shoot(options={"crew": AnchorCrew(anchor, CPU, face_appearance=grey)})
    assert np.array_equal(face.body, take.body)
    assert not np.array_equal(face.frames, take.frames)
    body = shoot(options={"crew": AnchorCrew(anchor, CPU, appearance=grey)})
    assert not np.array_equal(body.body, take.body)


def test_faces_are_found_as_in_the_training(anchor: Anchor) -> None:
    face = replace(anchor.card.face, forehead=0.6, dilation=0.1, mesh="warped")  # type: ignore[type-var]
    options = face_tracking(replace(anchor.card, face=face))
    assert options == TrackOptions(forehead=0.6, dilation=0.1, mesh="warped")
    assert face_tracking(anchor.card, smoothing=0).smoothing == 0


def test_warped_meshes_are_cut_out_of_the_frames_that_were_drawn(
    shoot: Any, take: Take, anchor: Anchor, motion: Motion
) -> None:
    card = replace(anchor.card, face=replace(anchor.card.face, mesh="warped"))  # type: ignore[type-var]
    face = scenes.scene_of(anchor, motion).face
    assert face is not None
    warped = shoot(face=FacePass(face.settings, face_tracking(card)))
    meshes = [(one.film.folder / "faces" / "face_mesh").read_bytes() for one in (take, warped)]
    assert len(meshes[0]) == len(meshes[1])
    assert meshes[0] != meshes[1]


def test_sheets_show_what_the_pass_gains(take: Take, motion: Motion) -> None:
    mesh, body, frames = (torch.from_numpy(one) for one in (take.mesh, take.body, take.frames))
    assert list(sheet_rows(Clip(mesh, body))) == ["mesh", "result"]  # type: ignore[arg-type]
    track = track_motion(motion, standin_body(), size=SIZE, crop_size=scenes.CROP)
    rows = sheet_rows(Clip(mesh, frames, body, track))  # type: ignore[arg-type]
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
    change: dict[str, Any], words: str, anchor: Anchor, motion: Motion, tmp_path: Path
) -> None:
    without, scene = replace(anchor, **change), scenes.scene_of(anchor, motion)
    with pytest.raises(AnchorError, match=words):
        scenes.shot(tmp_path / "x.mp4", without, scene)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("stage", ["body", "face"])
def test_guidance_without_null_tokens_is_found_before_the_work(
    stage: str, anchor: Anchor, motion: Motion, tmp_path: Path
) -> None:
    without = replace(anchor, card=replace(anchor.card, null_appearance="text"), null_appearance=None)
    scene = scenes.scene_of(anchor, motion)
    assert scene.face is not None
    guided = {one: 1.0 + (one == stage) for one in ("body", "face")}
    face = replace(scene.face, settings=replace(scene.face.settings, guidance_scale=guided["face"]))
    with pytest.raises(AnchorError, match=f"guidance scale of the {stage} pass is 2 and .* no null tokens"):
        scenes.shot(tmp_path / "x.mp4", without, replace(scene, face=face), guidance_scale=guided["body"])
    assert os.listdir(tmp_path) == []


def test_masks_that_cannot_be_painted_are_found_before_the_denoising(
    anchor: Anchor, motion: Motion, tmp_path: Path
) -> None:
    steps, scene = Steps(), scenes.scene_of(anchor, motion)
    assert scene.face is not None
    wide = replace(scene, face=replace(scene.face, track=TrackOptions(dilation=0.5)))
    with pytest.raises(AnchorError, match="covers the whole crop of frame 0"):
        scenes.shot(tmp_path / "x.mp4", anchor, wide, step=steps)
    assert steps.names == ["rendering the mesh", "finding faces"]


def test_steps_come_in_order_and_are_timed(shoot: Any) -> None:
    steps = Steps()
    film = shoot(options={"step": steps}).film
    names = ["rendering the mesh", "finding faces", "denoising", "decoding", "cropping faces"]
    assert steps.names == [*names, "denoising faces", "decoding faces", "blending faces"]
    assert sorted(film.seconds) == sorted(steps.names)
    assert min(film.seconds.values()) > 0


def test_crops_of_long_clips_are_decoded_twice(
    shoot: Any, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anchor_core.face.stream.KEPT_BYTES", 0)
    assert np.array_equal(shoot().frames, take.frames)


def test_nothing_but_video_and_sheet_is_left(anchor: Anchor, motion: Motion, tmp_path: Path) -> None:
    film = scenes.shot(tmp_path / "ada.mp4", anchor, scenes.scene_of(anchor, motion, face=False))
    assert sorted(os.listdir(tmp_path)) == ["ada.mp4", "ada.png"]
    assert (film.video, film.sheet, film.folder) == (tmp_path / "ada.mp4", tmp_path / "ada.png", None)
