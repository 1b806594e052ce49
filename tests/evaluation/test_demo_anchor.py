"""What the shipped anchor must be worth on motion that it never saw; few frames, few steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anchor_core.evaluation.benchmark import measure, vae_ceiling
from anchor_core.evaluation.experiments import OWN_NOISE, SINGLE, Experiment
from anchor_core.evaluation.face_experiments import WITHOUT, FaceExperiment
from anchor_core.evaluation.faces import film_scene, measure_faces
from anchor_core.evaluation.held_out import film_held_out, load_demo_anchor
from anchor_core.files import ASSETS
from anchor_core.progress import silent_step

FAST = {"steps": 4}


@pytest.fixture(scope="module")
def anchor():
    """The anchor that ships, with a body pass of few steps."""
    shipped = load_demo_anchor(ASSETS / "demo_anchor.safetensors")
    shipped.card = replace(shipped.card, **FAST)
    return shipped


@pytest.fixture(scope="module")
def clip(anchor):
    """Held-out motion."""
    return film_held_out(anchor, 16)


@pytest.fixture(scope="module")
def rows(anchor, clip):
    """Rows of the experiments, by name."""
    experiments = (
        Experiment("windows"),
        Experiment("own noise", OWN_NOISE),
        Experiment("single frames", SINGLE),
    )
    measured = {experiment.name: measure(anchor, clip, experiment) for experiment in experiments}
    return {"vae": vae_ceiling(anchor, clip), **measured}


@pytest.fixture(scope="module")
def faces(anchor, clip):
    """Rows of the face pass, by name."""
    if anchor.face is None:
        pytest.skip("the anchor that ships has no face network yet")
    experiments = (
        WITHOUT,
        FaceExperiment("windows", FAST),
        FaceExperiment("single frames", {**FAST, **SINGLE, **OWN_NOISE}),
    )
    measured = measure_faces(film_scene(anchor, clip, silent_step), experiments, silent_step)
    return {row.name: row for row in measured}


def test_frames_are_near_the_truth(rows):
    assert rows["vae"].psnr > 31
    assert rows["windows"].psnr > 24.5
    assert rows["windows"].ssim > 0.88


def test_shared_noise_takes_the_jitter_away(rows):
    assert rows["own noise"].acceleration > 1.5 * rows["windows"].acceleration


def test_windows_flicker_less_than_single_frames(rows):
    assert rows["windows"].flicker < rows["single frames"].flicker
    assert rows["windows"].background < rows["single frames"].background


def test_the_face_pass_paints_the_face(faces):
    assert faces["windows"].psnr_face > faces[WITHOUT.name].psnr_face + 1
    assert faces["windows"].ssim_face > faces[WITHOUT.name].ssim_face


def test_the_face_flickers_less(faces):
    assert faces["windows"].flicker_face < faces[WITHOUT.name].flicker_face
    assert faces["windows"].flicker_face < faces["single frames"].flicker_face
