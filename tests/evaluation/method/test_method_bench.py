"""The whole benchmark at a scale that learns nothing, and the parts that it stands on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from anchor_core.demo.gestures import make_motion
from anchor_core.errors import AnchorError
from anchor_core.evaluation.method.bench import benchmark_method
from anchor_core.evaluation.method.points import N_POINTS, PointDetector, distances, true_points
from anchor_core.evaluation.method.rows import ROWS
from anchor_core.evaluation.method.runs import PRETRAIN, plan_runs
from anchor_core.evaluation.method.scale import FULL, QUICK, MethodScale, on_device
from anchor_core.evaluation.method.world import film_name, perturbed_meshes
from anchor_core.training.config import LoopConfig, SGDMConfig, VAEConfig

TOY = MethodScale(
    size=128,  # smaller faces would be left out
    crop_size=32,
    people=2,
    people_frames=2,
    anchors=1,
    anchor_frames=3,
    clips=1,
    clip_frames=3,
    film_frames=3,
    vae=VAEConfig(steps=1, batch_size=2, crop_size=32, whole_size=32),
    pretrain=SGDMConfig(steps=1, batch_size=2, train_vision=True),
    finetune=SGDMConfig(steps=1, batch_size=2),
    face_pretrain=SGDMConfig(steps=1, batch_size=2),
    face_finetune=SGDMConfig(steps=1, batch_size=2),
    landmarks=LoopConfig(steps=1, batch_size=2),
    perturbed=2,
    body_steps=1,
    face_steps=1,
    workers=1,
)
SHOWN = ("ours", "alone", "perturbed")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the benchmark has run, and its table."""
    out = tmp_path_factory.mktemp("method")
    rows = [row if row.key == "ours" else replace(row, face="none") for row in ROWS if row.key in SHOWN]
    return out, rows, benchmark_method(out, TOY, rows=rows)


def test_the_table_names_every_row(finished):
    out, rows, text = finished

    assert (out / "table.md").read_text(encoding="utf-8").strip() == text.strip()
    assert all(row.name in text for row in rows)
    assert "CPU minutes" in text


def test_finished_stages_are_not_run_again(finished):
    out, rows, text = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}

    again = benchmark_method(out, TOY, rows=rows)

    assert again == text
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before


def test_contact_sheets_are_drawn(finished):
    out, _, _ = finished

    assert {path.name for path in (out / "sheets").iterdir()} == {"3_0.png"}


def test_perturbed_meshes_differ_from_each_other_and_stay_near(finished):
    out, _, _ = finished
    meshes = perturbed_meshes(out, film_name(3)).float()

    assert meshes.shape == (3, 2, 3, 128, 128)
    apart = (meshes[:, 0] - meshes[:, 1]).abs().mean()
    assert 0 < apart < 20  # of 255, over the whole picture


@pytest.mark.parametrize("scale", [QUICK, FULL])
def test_every_way_of_training_gets_as_many_steps(scale):
    by_name = {run.name: run for level in plan_runs(scale) for run in level}
    for run in by_name.values():
        if run.face:
            continue
        steps = getattr(scale, run.config).steps
        if run.start is not None:
            steps += getattr(scale, by_name[run.start].config).steps
        if run.config == "short":
            assert steps == scale.finetune.steps
        else:
            assert run.name == PRETRAIN or steps == scale.pretrain.steps + scale.finetune.steps


def test_runs_need_only_earlier_levels():
    done: set[str] = set()
    for level in plan_runs(QUICK):
        assert all(run.start is None or run.start in done for run in level)
        done |= {run.name for run in level}


def test_no_pre_training_sees_a_test_person():
    assert not set(QUICK.people_ids) & set(QUICK.anchor_ids)


def test_true_points_lie_on_the_person():
    points = true_points(make_motion(3, 2), 128)

    assert points.shape == (2, N_POINTS, 2)
    head, neck, wrist = points[0, 69], points[0, 68], points[0, 74]
    assert head[1] < neck[1] < wrist[1]
    assert torch.all((points[:, :68] > 0) & (points[:, :68] < 1))


def test_the_detector_reads_a_soft_maximum_in_the_picture():
    with torch.no_grad():
        found = PointDetector()(torch.rand(2, 3, 64, 64))

    assert found.shape == (2, N_POINTS, 2)
    assert torch.all((found > 0) & (found < 1))


def test_distances_are_pixels_on_points_inside_the_picture():
    known = torch.full((1, N_POINTS, 2), 0.5)
    known[:, 70] = 1.5  # out of the picture
    moved = known.clone()
    moved[:, :68, 0] += 0.1
    moved[:, 70] += 5

    assert distances(moved, known, known, 100) == pytest.approx(
        {"lmd_face": 10.0, "lmd_body": 0.0, "lmd_hands": 0.0}, abs=1e-4
    )


def test_another_device_changes_nothing_else():
    moved = on_device(QUICK, "meta")

    assert moved.device == moved.pretrain.device == moved.vae.device == "meta"
    assert on_device(moved, "cpu") == QUICK


def test_a_scale_without_clips_is_refused():
    with pytest.raises(AnchorError, match="clips is 0"):
        replace(TOY, clips=0)


def test_results_hold_numbers(finished):
    out, _, _ = finished
    shown = np.load(out / "rows" / "ours_3_0.npy")

    assert shown.shape == (3, 128, 128, 3)
