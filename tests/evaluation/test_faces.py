"""The face benchmark measures faces where they truly are, and each experiment changes what it says."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from anchor_core.anchor.face_card import FaceCard
from anchor_core.anchor.file import Anchor, save_anchor
from anchor_core.cli.main import main
from anchor_core.demo.networks import TOKEN_WIDTH, new_face_sgdm, new_sgdm, new_vae, new_vision
from anchor_core.demo.recipe import QUICK, demo_card
from anchor_core.errors import AnchorError
from anchor_core.evaluation import benchmark
from anchor_core.evaluation.benchmark import benchmark_demo, face_rows
from anchor_core.evaluation.experiments import Experiment
from anchor_core.evaluation.face_experiments import ANCHORS_OWN, FACE_EXPERIMENTS, WITHOUT
from anchor_core.evaluation.faces import (
    blended_alpha,
    compare_faces,
    film_scene,
    measure_faces,
    track_faces,
    true_faces,
)
from anchor_core.evaluation.held_out import film_held_out
from anchor_core.face.blend import BlendOptions
from anchor_core.progress import silent_step

FRAMES = 4
SIDE = 128
UNCHANGED = (WITHOUT.name, ANCHORS_OWN.name, "windows of 16, overlap 4", "blend: square (published)")
FEW = {"5 steps": {"steps": 2}, "20 steps": {"steps": 3}}
BODY = (Experiment("body"),)


@pytest.fixture(scope="module")
def anchor():
    """An untrained anchor of the demo world, with a face."""
    card = replace(demo_card(QUICK, 0), resolution=(SIDE, SIDE), steps=1)
    return Anchor(
        card=replace(card, face=FaceCard(crop_size=64, steps=1, guidance_scale=1.0)),
        body=new_sgdm(0),
        face=new_face_sgdm(0),
        vae=new_vae(0),
        vision=new_vision(0),
        null_appearance=torch.zeros(1, 17, TOKEN_WIDTH),
        reference=torch.zeros(64, 64, 3, dtype=torch.uint8),
        face_reference=torch.zeros(64, 64, 3, dtype=torch.uint8),
    )


@pytest.fixture(scope="module")
def path(anchor, tmp_path_factory):
    """The anchor as a file."""
    file = tmp_path_factory.mktemp("anchor") / "anchor.safetensors"
    save_anchor(anchor, file)
    return file


@pytest.fixture(scope="module")
def bodiless_face(anchor, tmp_path_factory):
    """An anchor file without a face network."""
    file = tmp_path_factory.mktemp("anchor") / "body.safetensors"
    save_anchor(replace(anchor, face=None, card=replace(anchor.card, face=None)), file)
    return file


@pytest.fixture(scope="module")
def clip(anchor):
    """Held-out motion."""
    return film_held_out(anchor, FRAMES)


@pytest.fixture
def filmed(clip, monkeypatch):
    """The clip at hand instead of filming it again."""
    monkeypatch.setattr(benchmark, "film_held_out", lambda *_: clip)


@pytest.fixture(scope="module")
def scene(anchor, clip):
    """The clip after the body pass."""
    return film_scene(anchor, clip, silent_step)


@pytest.fixture(scope="module")
def rows(scene):
    """Rows of all experiments, by name, with few steps."""
    short = (replace(one, settings={**one.settings, **FEW.get(one.name, {})}) for one in FACE_EXPERIMENTS)
    return {row.name: row for row in measure_faces(scene, tuple(short), silent_step)}


@pytest.mark.usefixtures("filmed")
def test_both_tables_and_json(path, tmp_path):
    text = benchmark_demo(path, FRAMES, tmp_path / "rows.json", BODY, face_experiments=(WITHOUT, ANCHORS_OWN))
    facts = json.loads((tmp_path / "rows.json").read_text())
    assert [row["name"] for row in facts["rows"]][1:] == ["body"]
    assert [row["name"] for row in facts["face_rows"]] == [WITHOUT.name, ANCHORS_OWN.name]
    assert facts["frames"] == FRAMES
    body, face = text.split("\n\n")
    assert "on the person" in body
    assert ANCHORS_OWN.name in face
    assert {line.count("|") for line in face.splitlines()} == {11}


@pytest.mark.usefixtures("filmed")
def test_one_stage_alone(path, tmp_path):
    face = benchmark_demo(
        path, FRAMES, tmp_path / "rows.json", BODY, stage="face", face_experiments=(WITHOUT,)
    )
    assert "body" not in face.replace("without the face pass", "")
    assert json.loads((tmp_path / "rows.json").read_text())["rows"] == []


def test_the_command_takes_a_stage(path, capsys):
    assert main(["benchmark", "--anchor", str(path), "--frames", "1", "--stage", "face"]) == 1
    assert "the held-out clip has 1 frames" in capsys.readouterr().err


@pytest.mark.usefixtures("filmed")
def test_without_a_face_network_the_body_is_measured(bodiless_face):
    text = benchmark_demo(bodiless_face, FRAMES, experiments=BODY)
    assert "| body |" in text
    assert "face" not in text
    for refused in (lambda: benchmark_demo(bodiless_face, stage="face"), lambda: face_rows(bodiless_face)):
        with pytest.raises(AnchorError, match="holds no face network and the face pass needs one"):
            refused()


def test_unknown_stages_are_refused(path):
    with pytest.raises(AnchorError, match="the stage is 'head': need one of body, face, all"):
        benchmark_demo(path, stage="head")


def test_a_clip_too_small_for_a_face_is_refused(anchor, clip):
    small = replace(anchor, card=replace(anchor.card, resolution=(64, 64)))
    with pytest.raises(AnchorError, match="of 64 pixels show no face to measure"):
        true_faces(small, clip)


@pytest.mark.usefixtures("filmed")
def test_the_report_has_two_rows(path):
    rows = face_rows(path, FRAMES)
    assert [row.name for row in rows] == [WITHOUT.name, ANCHORS_OWN.name]
    assert rows[0].psnr != rows[1].psnr


def test_the_face_is_that_of_the_true_motion(scene, anchor, clip):
    assert scene.face.shape == scene.square.shape == (FRAMES, SIDE, SIDE)
    assert (scene.square | ~scene.face).all()
    assert 0.1 < float(scene.face.sum() / scene.square.sum()) < 0.7
    jittered = true_faces(anchor, replace(clip, motion=clip.estimate))[0]
    assert not torch.equal(jittered, scene.face)


def test_the_truth_is_perfect(scene, anchor):
    alpha = blended_alpha(track_faces(anchor, scene.estimate))
    row = compare_faces("", scene.truth, scene, alpha, 0.0)
    assert row.psnr_face == row.psnr_square == row.psnr == math.inf
    assert row.ssim_face == pytest.approx(1)
    assert row.flicker_face == row.flicker == row.rim == row.rim_error == 0


def test_only_what_lies_on_the_face_counts_there(scene, anchor):
    alpha = blended_alpha(track_faces(anchor, scene.estimate))
    frames = torch.where(scene.square[..., None], scene.truth, 0)
    row = compare_faces("", frames, scene, alpha, 0.0)
    assert row.psnr_face == row.psnr_square == math.inf
    assert row.psnr < 30


def test_alpha_is_where_the_face_is_shown(scene, anchor):
    track = track_faces(anchor, scene.estimate)
    alpha = blended_alpha(track)
    assert alpha[scene.face].mean() > 0.95
    assert not alpha[~scene.square].gt(0.9).any()
    hidden = replace(track, hidden=("", "covered", "", ""))
    assert blended_alpha(hidden)[1].max() == 0
    crop = blended_alpha(track, BlendOptions("crop"))
    assert crop.sum() > 1.2 * alpha.sum()


def test_a_row_without_the_pass_is_that_of_the_body(rows, scene):
    row = rows[WITHOUT.name]
    assert row.psnr == pytest.approx(-10 * math.log10((scene.body - scene.truth).double().square().mean()))
    assert row.seconds == 0


def test_the_published_square_pastes_nothing_this_small(rows):
    row = rows["blend: square (published)"]
    assert row.psnr == rows[WITHOUT.name].psnr
    assert math.isnan(row.rim)


@pytest.mark.parametrize("name", [one.name for one in FACE_EXPERIMENTS if one.name not in UNCHANGED])
def test_each_experiment_changes_the_result(rows, name):
    assert rows[name].psnr_square != rows[ANCHORS_OWN.name].psnr_square


def test_what_rows_share_counts_in_both_times(rows):
    first, again = rows[ANCHORS_OWN.name], rows["windows of 16, overlap 4"]
    assert replace(again, name=first.name, seconds=first.seconds) == first
    assert again.seconds > first.seconds / 3


def test_the_network_is_left_as_it_was(rows, scene):
    (again,) = measure_faces(scene, (ANCHORS_OWN,), silent_step)
    assert replace(again, seconds=0) == replace(rows[ANCHORS_OWN.name], seconds=0)
