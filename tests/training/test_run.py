"""A whole training: from a dataset and a configuration to an anchor file, in one go or stopped."""

from __future__ import annotations

import json
import logging
import shutil
import sys

import pytest
import torch

from anchor_core.anchor.file import load_anchor, read_card, read_parts, save_anchor
from anchor_core.anchor.lora import read_updates
from anchor_core.cli.main import main
from anchor_core.errors import AnchorError
from anchor_core.training.job import job_from
from anchor_core.training.memory import dry_run
from anchor_core.training.run import run_job
from anchor_core.training.start import tiny_anchor

from .dataset import SIZE, tables, write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "ada")


@pytest.fixture(scope="module")
def body(dataset, tmp_path_factory):
    """A trained body, and the reports of its training."""
    reports = []
    out = tmp_path_factory.mktemp("body") / "body.safetensors"
    given = tables(dataset, out)
    given["monitor"] = {"every": 3, "samples": 2, "tensorboard": False}
    job = job_from({**given, "licence": "CC0", "consent": "nobody"})
    run_job(job, watch=reports.append)
    return job, reports


def test_the_anchor_file_says_how_it_was_made(body):
    job, _ = body
    card = read_card(job.out)
    assert (card.name, card.licence, card.consent, card.stage) == ("Ada", "CC0", "nobody", "finetuned")
    assert (card.resolution, card.training_steps, card.fidelity) == ((SIZE, SIZE), 3, "trained")
    facts = card.extra["training"]["body"]
    assert (facts["start"], facts["samples"], facts["settings"]["steps"]) == ("tiny", 8, 3)
    assert len(facts["dataset"][0]) == 32
    assert load_anchor(job.out).reference.shape == (SIZE, SIZE, 3)


def test_it_reports_and_draws_while_it_trains(body):
    job, reports = body
    assert [report.step for report in reports] == [1, 2, 3]
    assert (job.folder / "loss.png").is_file()
    assert (job.folder / "samples_000003.png").is_file()


def test_the_network_was_trained(body):
    job, _ = body
    before = tiny_anchor(job).body.state_dict()
    after = load_anchor(job.out).body.state_dict()
    assert any(not torch.equal(after[name].half(), before[name].half()) for name in before)


def test_a_face_joins_the_body(body, dataset, tmp_path):
    job, _ = body
    given = tables(dataset, tmp_path / "both.safetensors")
    given["start"]["into"] = str(job.out)
    path = run_job(job_from({**given, "stage": "face"}))
    anchor, alone = load_anchor(path, need=("body", "face")), load_anchor(job.out)
    for name, tensor in alone.body.state_dict().items():
        assert torch.equal(anchor.body.state_dict()[name], tensor)
    assert (anchor.face.inpaint_channels, anchor.card.face.crop_size) == (5, SIZE)
    assert set(anchor.card.extra["training"]) == {"body", "face"}
    assert anchor.face_reference is not None
    assert anchor.reference is not None


def test_a_body_joins_a_face(body, dataset, tmp_path):
    face = run_job(job_from({**tables(dataset, tmp_path / "face.safetensors"), "stage": "face"}))
    given = tables(dataset, tmp_path / "both.safetensors")
    given["start"]["into"] = str(face)
    parts = read_parts(run_job(job_from(given)))
    assert {"body.unet", "face.unet", "reference", "face_reference"} <= set(parts)


def test_low_rank_on_an_anchor_file(body, dataset, tmp_path):
    job, _ = body
    shutil.copy(job.out, tmp_path / "base.safetensors")
    given = tables(dataset, tmp_path / "low.safetensors", lora_rank=2)
    given["start"]["networks"] = str(tmp_path / "base.safetensors")
    path = run_job(job_from(given))
    assert path.stat().st_size < 0.3 * job.out.stat().st_size
    assert load_anchor(path).card.name == "Ada"
    other = load_anchor(job.out)  # under the same name; checkpoints hold the low-rank layers alone
    next(other.body.parameters()).data.add_(1)
    save_anchor(other, tmp_path / "base.safetensors")
    with pytest.raises(AnchorError, match=r"was begun with the SHA-256 of start\.networks = "):
        run_job(job_from(given))


def test_low_rank_layers_of_both_stages_in_one_file(body, dataset, tmp_path):
    base = tables(dataset, tmp_path / "base.safetensors")
    base["start"]["into"] = str(body[0].out)
    run_job(job_from({**base, "stage": "face"}))

    def low_rank(out, stage, into=None):
        given = tables(dataset, tmp_path / out, lora_rank=2)
        given["start"] = {"networks": str(tmp_path / "base.safetensors"), **({"into": into} if into else {})}
        return run_job(job_from({**given, "stage": stage, "name": "Bo"}))

    first = low_rank("first.safetensors", "body")
    assert load_anchor(first).face is None  # the base's is another person's
    with pytest.raises(
        AnchorError, match=r"start.into is ada.safetensors, which is no low-rank anchor on base"
    ):
        low_rank("no.safetensors", "face", str(shutil.copy(body[0].out, tmp_path / "ada.safetensors")))
    both = low_rank("both.safetensors", "face", str(first))
    assert set(read_updates(both)) == {"body", "face"}
    anchor = load_anchor(both, need=("body", "face"))
    assert anchor.reference is not None
    assert anchor.face_reference is not None


class Stop(Exception):
    pass


def test_stopped_and_called_again_gives_the_same_file(dataset, tmp_path):
    def stop(report):
        if report.step == 2:
            raise Stop

    whole = run_job(job_from(tables(dataset, tmp_path / "whole.safetensors", steps=4)))
    job = job_from(tables(dataset, tmp_path / "parts.safetensors", steps=4))
    with pytest.raises(Stop):
        run_job(job, watch=stop)
    assert not job.out.exists()
    run_job(job)
    one, other = load_anchor(whole).body.state_dict(), load_anchor(job.out).body.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_steps_that_are_added_are_those_of_a_longer_training(dataset, tmp_path):
    whole = run_job(job_from(tables(dataset, tmp_path / "whole.safetensors", steps=4)))
    for steps in (2, 4):
        longer = run_job(job_from(tables(dataset, tmp_path / "longer.safetensors", steps=steps)))
    one, other = load_anchor(whole).body.state_dict(), load_anchor(longer).body.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert read_card(longer).training_steps == 4


def test_going_on_with_another_configuration(dataset, tmp_path):
    given = tables(dataset, tmp_path / "a.safetensors")
    run_job(job_from(given))
    for key, now in (("steps", 2), ("seed", 7)):
        with pytest.raises(AnchorError, match=rf"was made with {key} = \d and now it is {now}"):
            run_job(job_from({**given, "train": {**given["train"], key: now}}))
    for use in (run_job, dry_run):
        with pytest.raises(AnchorError, match=r"was begun with data\.size = 32 and now it is 64"):
            use(job_from({**given, "data": {**given["data"], "size": 64}}))
    other = write_dataset(tmp_path / "eve", n_frames=9)
    with pytest.raises(AnchorError, match=r"dataset_hash"):
        run_job(job_from({**given, "data": {**given["data"], "sets": [str(other)]}}))


def test_published_lines_at_another_size(dataset, tmp_path, monkeypatch, caplog):
    """Paths from the working directory, no keys of ours, pictures that are squashed."""
    monkeypatch.chdir(dataset.parent)
    keys = ("source", "target", "reference")
    lines = [json.loads(line) for line in (dataset / "manifest.jsonl").read_text().splitlines()]
    lines = [{key: f"ada/{line[key]}" for key in keys} for line in lines]
    path = tmp_path / "train.json"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    given = tables(path, tmp_path / "a.safetensors", steps=1, perturbation=0.5)
    with caplog.at_level(logging.WARNING, "anchor"):
        run_job(job_from({**given, "data": {"sets": [str(path)], "size": 16}}))
    card = read_card(tmp_path / "a.safetensors")
    assert card.resolution == (16, 16)
    assert card.extra["training"]["body"]["settings"]["perturbation"] == 0
    assert "training without perturbation" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": "face", "data": {"sets": "{ada}/manifest.jsonl"}}, r"has no masks, which the face needs"),
        ({"data": {"sets": "{ada}/face.jsonl"}}, r"has masks, so it holds faces; set stage to face"),
        ({"data": {"sets": ["{ada}", "{eve}"]}}, r"show 2 people \(ada, eve\) and a fine-tuning is for one"),
        ({"data": {"sets": "{ada}/mesh"}}, r"mesh has no manifest\.jsonl; need a dataset folder"),
        (
            {"data": {"sets": ["{ada}", "{bare}"]}},
            r"some sets have 0 perturbed meshes per frame and others 1",
        ),
        (
            {"stage": "face", "out": "{body}"},
            r"out is body\.safetensors, which has a body that would be lost; name it as start\.into too",
        ),
        (
            {"start": {"networks": "{body}"}, "train": {"lora_rank": 2}, "out": "{body}"},
            r"out is body\.safetensors, on which the low-rank layers stand",
        ),
        ({"train": {"lora_rank": 4}}, r"lora_rank is 4 and .*tiny is no anchor file"),
        ({"start": {"networks": "tiny", "into": "{body}"}}, r"body\.safetensors, which has no face to keep"),
    ],
)
def test_wrong_jobs_stop_before_they_begin(body, dataset, tmp_path, changes, message):
    places = {
        "ada": dataset,
        "eve": write_dataset(tmp_path / "eve", person="eve"),
        "bare": write_dataset(tmp_path / "bare", perturbed=False),
        "body": body[0].out,
    }
    text = json.dumps(changes)
    for name, place in places.items():
        text = text.replace(f"{{{name}}}", str(place))
    with pytest.raises(AnchorError, match=message):
        run_job(job_from({**tables(dataset, tmp_path / "a.safetensors"), **json.loads(text)}))
    assert not (tmp_path / "a_body").exists()


def test_several_people_make_a_pretrained_anchor(dataset, tmp_path):
    eve = write_dataset(tmp_path / "eve", person="eve")
    given = tables(dataset, tmp_path / "a.safetensors", steps=1)
    given["data"]["sets"].append(str(eve))
    card = read_card(run_job(job_from({**given, "mode": "pretrain"})))
    assert card.stage == "pretrained"
    assert card.extra["training"]["body"]["people"] == 2


def test_a_trained_tower_is_stored(dataset, tmp_path):
    given = tables(dataset, tmp_path / "a.safetensors", steps=2, train_vision=True)
    trained = load_anchor(run_job(job_from(given))).vision.state_dict()
    before = tiny_anchor(job_from(given)).vision.state_dict()
    assert any(not torch.equal(trained[name], before[name].half().float()) for name in before)


def test_a_missing_optimiser_is_told_before_an_hour_is_spent(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    job = job_from(tables(dataset, tmp_path / "a.safetensors", optimiser="adamw8bit"))
    for call in (run_job, dry_run):
        with pytest.raises(AnchorError, match=r"needs bitsandbytes, and that is not installed"):
            call(job)
    assert not job.folder.exists()


def test_another_familys_face_is_not_joined(body, dataset, tmp_path):
    anchor = load_anchor(body[0].out)
    with torch.no_grad():
        next(anchor.vae.parameters()).mul_(2)
    save_anchor(anchor, tmp_path / "other.safetensors")
    given = tables(dataset, tmp_path / "a.safetensors")
    given["start"]["into"] = str(tmp_path / "other.safetensors")
    with pytest.raises(AnchorError, match=r"other\.safetensors has another vae than tiny"):
        run_job(job_from({**given, "stage": "face"}))


def test_the_shell(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--write-config", "c.toml", "--preset", "published"]) == 0
    settings = [f"data.sets={dataset}", f"data.size={SIZE}", "start.networks=tiny", "train.steps=2"]
    settings += ["train.batch_size=2", "train.device=cpu", "monitor.every=0", "monitor.tensorboard=false"]
    options = [part for setting in settings for part in ("--set", setting)]
    assert main(["train", "c.toml", *options, "--dry-run"]) == 0
    assert "fits: memory of this machine" in capsys.readouterr().out
    assert not (tmp_path / "c.safetensors").exists()
    assert main(["train", "c.toml", *options]) == 0
    assert "c.safetensors: " in capsys.readouterr().out
    assert read_card(tmp_path / "c.safetensors").made_with.endswith("train c.toml")
    assert main(["train", "c.toml", "--set", "train.stpes=2"]) == 1
    assert "train.stpes is no key" in capsys.readouterr().err
    assert main(["train"]) == 1
