"""What the shipped anchor must be worth on motion that it never saw; 16 frames, 4 steps."""

from __future__ import annotations

import pytest

from anchor_core.evaluation.benchmark import film_held_out, load_demo_anchor, measure, vae_ceiling
from anchor_core.evaluation.experiments import Experiment
from anchor_core.files import ASSETS

FAST = {"steps": 4}


@pytest.fixture(scope="module")
def rows():
    """Rows of the experiments, by name."""
    anchor = load_demo_anchor(ASSETS / "demo_anchor.safetensors")
    clip = film_held_out(anchor, 16)
    experiments = (
        Experiment("windows", FAST),
        Experiment("own noise", {**FAST, "shared_noise": False}),
        Experiment("single frames", {**FAST, "window_size": 1, "overlap": 0}),
    )
    measured = {experiment.name: measure(anchor, clip, experiment) for experiment in experiments}
    return {"vae": vae_ceiling(anchor, clip), **measured}


def test_frames_are_near_the_truth(rows):
    assert rows["vae"].psnr > 31
    assert rows["windows"].psnr > 24.5
    assert rows["windows"].ssim > 0.88


def test_shared_noise_takes_the_jitter_away(rows):
    assert rows["own noise"].acceleration > 1.5 * rows["windows"].acceleration


def test_windows_flicker_less_than_single_frames(rows):
    assert rows["windows"].flicker < rows["single frames"].flicker
    assert rows["windows"].background < rows["single frames"].background
