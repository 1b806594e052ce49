"""A configuration is read strictly: every wrong key is named, whatever is left out comes from a preset."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from anchor_core.cli import train as cli_train
from anchor_core.errors import AnchorError
from anchor_core.training.config import PUBLISHED
from anchor_core.training.job import job_from, read_job
from anchor_core.training.presets import NOTES, PRESETS, STEPS, preset_values, write_config

GIVEN = {"name": "Ada", "out": "ada.safetensors", "data": {"sets": "d"}, "start": {"networks": "tiny"}}


def job(**changes):
    return job_from({**GIVEN, **changes}, Path(__file__).parent)


def test_defaults_are_the_published_settings_and_what_they_lack():
    train = job().train
    lacking = {"null_probability": 0.1, "ema_decay": 0.999}
    for key, value in {**PUBLISHED, **lacking, "steps": 50_000}.items():
        assert getattr(train, key) == value
    assert job(preset="published").train.null_probability == 0


@pytest.mark.parametrize("preset", ["", *PRESETS])
@pytest.mark.parametrize(("stage", "mode"), STEPS)
def test_a_written_configuration_is_the_preset(tmp_path, preset, stage, mode):
    path = tmp_path / "train.toml"
    write_config(path, preset, stage, mode)
    written = read_job(path)
    assert (written.stage, written.mode) == (stage, mode)
    for key, value in preset_values(preset, stage, mode).items():
        assert getattr(written.train, key) == (tuple(value) if isinstance(value, list) else value), key
    assert written.data.held_out is None


def test_every_key_is_explained():
    explained = {key for key in NOTES if "." in key}
    tables = ("data", "start", "train", "monitor")
    known = {f"{table}.{key}" for table in tables for key in asdict(job())[table]}
    assert explained == known - {"train.dataset_hash"}


def test_paths_count_from_the_file_and_settings_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "c.toml").write_text(
        'name="Ada"\nout="ada.safetensors"\n[data]\nsets=["d","/e"]\n[start]\nnetworks="tiny"\ninto="i"\n'
    )
    read = read_job(folder / "c.toml", settings=["start.vae=v", "train.steps=7", "train.betas=[0.5,0.6]"])
    assert read.out == folder / "ada.safetensors"
    assert read.folder == folder / "ada_body"
    assert read.data.sets == (folder / "d", Path("/e"))
    assert (read.start.into, read.start.vae) == (folder / "i", tmp_path / "v")
    assert (read.train.steps, read.train.betas) == (7, (0.5, 0.6))
    assert read.start.is_tiny


def test_order_of_precedence(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        'preset="16gb"\nname="A"\nout="a.safetensors"\n[data]\nsets="d"\n[start]\nnetworks="tiny"\n'
        "[train]\naccumulation=2\n"
    )
    assert read_job(path).train.ema_decay == 0  # preset over defaults
    assert read_job(path).train.accumulation == 2  # file over preset
    assert read_job(path, preset="40gb").train.ema_decay == 0.999  # the option over the file's preset
    assert read_job(path, settings=["train.accumulation=1"]).train.accumulation == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"sttps": 3}}, r"train\.sttps is no key .*; did you mean train\.steps\?"),
        ({"nmae": "x"}, r"nmae is no key of the configuration; did you mean name\?"),
        ({"start": {"networks": "tiny", "unet": "x"}}, r"start\.unet is no key .*; known are networks, vae"),
        ({"train": {"dataset_hash": "x"}}, r"train\.dataset_hash is no key"),
        ({"train": {"steps": 0}}, r"steps is 0; need 1 to"),
        ({"train": {"steps": 1.5}}, r"train\.steps is 1\.5; need a whole number"),
        ({"train": {"steps": True}}, r"train\.steps is True; need a whole number"),
        ({"train": {"shared_noise": 1}}, r"train\.shared_noise is 1; need true or false"),
        ({"train": {"learning_rate": "fast"}}, r"train\.learning_rate is 'fast'; need a number"),
        ({"train": {"betas": [0.9]}}, r"train\.betas is \[0\.9\]; need 2 values"),
        ({"train": {"betas": [0.9, 1.5]}}, r"betas is 1\.5; need 0 to 0\.999999"),
        ({"train": {"weight_decay": -1}}, r"weight_decay is -1\.0; need 0 to 1"),
        ({"train": {"seed": -1}}, r"seed is -1; need 0 to"),
        ({"train": {"precision": "int4"}}, r"precision is 'int4'; need one of fp32, bf16, fp16"),
        ({"train": {"null_probability": 2}}, r"null_probability is 2\.0; need 0 to 1"),
        ({"train": 3}, r"train is 3; need a table"),
        ({"steps": 3}, r"steps is no key of the configuration; did you mean train\.steps\?"),
        ({"stage": "hand"}, r"stage is 'hand'; need one of body, face"),
        ({"mode": "x"}, r"mode is 'x'; need one of finetune, pretrain"),
        ({"preset": "8gb"}, r"no preset '8gb'; known are published, 40gb"),
        ({"data": {}}, r"the configuration has no data\.sets; it is needed"),
        ({"data": {"sets": []}}, r"data\.sets is empty"),
        ({"data": {"sets": "d", "size": 100}}, r"data\.size is 100; need a multiple of 8"),
        ({"data": {"sets": [3]}}, r"data\.sets is 3; need a path in quotes"),
        ({"name": " "}, r"name is empty"),
        ({"out": "ada.ckpt"}, r"out is ada\.ckpt; an anchor is a \.safetensors file"),
        ({"monitor": {"every": -1}}, r"monitor\.every is -1; need 0 to"),
    ],
)
def test_wrong_configurations_are_one_sentence(changes, message, tmp_path):
    with pytest.raises(AnchorError, match=message):
        job_from({**GIVEN, **changes}, tmp_path)


def test_wrong_files_and_settings(tmp_path):
    path = tmp_path / "c.toml"
    with pytest.raises(AnchorError, match=r"there is no configuration .*c\.toml"):
        read_job(path)
    path.write_text("steps 3", encoding="utf-8-sig")
    with pytest.raises(AnchorError, match=r"c\.toml is no TOML \("):
        read_job(path)
    path.write_text('name="A"', encoding="utf-8-sig")  # as Notepad writes it
    with pytest.raises(AnchorError, match=r"--set steps is no setting; need table\.key=value"):
        read_job(path, settings=["steps"])
    with pytest.raises(AnchorError, match=r"c\.toml exists already; it is not written over"):
        write_config(path)


def test_short_trainings_are_looked_at_too(tmp_path):
    assert job_from({**GIVEN, "train": {"steps": 300}}, tmp_path).monitor.every == 60
    assert job_from({**GIVEN, "monitor": {"every": 0}}, tmp_path).monitor.every == 0


def test_a_path_that_ends_in_tiny_is_a_path(tmp_path):
    job = job_from({**GIVEN, "start": {"networks": "nets/tiny"}}, tmp_path)
    assert not job.start.is_tiny


def test_the_shell_knows_all_presets():
    assert set(cli_train.PRESETS) == set(PRESETS)
