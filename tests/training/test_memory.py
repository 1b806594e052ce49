"""The arithmetic of memory: counted activations are those of a real pass, presets fit their cards."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anchor_core.anchor.base_unet import UNET_CONFIG, controlnet_config
from anchor_core.training.config import SGDMConfig
from anchor_core.training.job import job_from
from anchor_core.training.manifest import Sample
from anchor_core.training.memory import count_activations, dry_run, empty_networks, need_of
from anchor_core.training.sets import JobData
from anchor_core.training.start import tiny_anchor
from anchor_core.training.workers import Workers

from .dataset import tables, write_dataset


@pytest.fixture
def job(tmp_path):
    return job_from(tables(tmp_path / "ada", tmp_path / "a.safetensors"))


def saved_by_a_real_pass(sgdm, size):
    """Bytes that autograd keeps of one frame, without the weights, in a pass with numbers."""
    owned = {p.untyped_storage().data_ptr() for p in sgdm.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = sgdm.embed_pose(torch.rand(1, 3, size, size))[None]
        latents = torch.randn(1, 1, 4, size // 8, size // 8)
        sgdm(latents, torch.tensor([5.0]), torch.randn(1, 50, 16), features)
    return sum(size for size, _ in kept.values())


def test_counts_what_a_real_pass_keeps(job):
    sgdm = tiny_anchor(job).body.train().requires_grad_(True)
    wanted = saved_by_a_real_pass(sgdm, 64)
    config = SGDMConfig(steps=1)
    counted = count_activations(empty_networks(job), 1, 64, config)
    # Attention kernels of the processor keep a few numbers more or less than those of a GPU.
    assert counted == pytest.approx(wanted, rel=0.1)
    assert count_activations(empty_networks(job), 3, 64, config) == 3 * counted


def test_what_saves_activations(job):
    full = count_activations(empty_networks(job), 1, 64, SGDMConfig(steps=1))
    half = count_activations(empty_networks(job), 1, 64, SGDMConfig(steps=1, precision="bf16"))
    again = count_activations(empty_networks(job), 1, 64, SGDMConfig(steps=1, gradient_checkpointing=True))
    assert 0.4 * full < half < 0.9 * full
    assert again < 0.7 * full


@pytest.fixture(scope="module")
def sd_folder(tmp_path_factory):
    """The published layout with configs alone: the arithmetic opens no weights."""
    folder = tmp_path_factory.mktemp("ada")
    for name, config in (("unet", UNET_CONFIG), ("controlnet", controlnet_config(UNET_CONFIG))):
        (folder / "body" / name).mkdir(parents=True)
        (folder / "body" / name / "config.json").write_text(json.dumps(config))
    return folder


def need(folder, tmp_path, preset):
    given = {"name": "A", "out": str(tmp_path / "a.safetensors"), "data": {"sets": "d"}}
    job = job_from({**given, "start": {"networks": str(folder)}, "preset": preset})
    frame = Sample(Path("m"), Path("i"), Path("r"), "c")
    return need_of(
        job, JobData([frame] * 1800, 512, None, ()), replace(job.train, device="cpu"), Workers("cpu")
    )


def test_presets_fit_their_cards(sd_folder, tmp_path):
    published = need(sd_folder, tmp_path, "published")
    assert published.trained == pytest.approx(1220.8e6, rel=1e-4)
    lasting = published.weights + published.gradients + published.optimiser
    assert lasting == pytest.approx(1220.8e6 * 16, rel=1e-4)  # 19.5 GB
    assert published.average == published.copies == 0
    totals = []
    for preset, gigabytes in (("40gb", 40), ("24gb", 24), ("16gb", 16), ("12gb", 12)):
        totals.append(need(sd_folder, tmp_path, preset).total)
        assert totals[-1] < gigabytes * 2**30 - 1e9, preset
    assert totals[1] > 16e9  # else the smaller preset had no reason
    assert totals == sorted(totals, reverse=True)


def test_processes_and_parts_share_a_batch(sd_folder, tmp_path):
    job = job_from(tables(tmp_path / "ada", tmp_path / "a.safetensors", batch_size=8))
    frame = Sample(Path("m"), Path("i"), Path("r"), "c")
    data = JobData([frame] * 10, 64, None, ())
    alone = need_of(job, data, job.train, Workers("cpu"))
    shared = need_of(job, data, replace(job.train, accumulation=2), Workers("cpu", 2, 0))
    assert shared.activations == alone.activations / 4
    assert shared.weights == alone.weights


def test_dry_run_says_whether_it_fits(tmp_path, monkeypatch):
    folder = write_dataset(tmp_path / "ada", n_frames=4)
    job = job_from(tables(folder, tmp_path / "a.safetensors"))
    text = dry_run(job)
    assert text.startswith(
        "body, finetune: 4 frames of 1 person at 32 pixels, 3 steps of 2 in fp32 = 1.5 epochs"
    )
    assert "\nfits: memory of this machine has" in text
    monkeypatch.setattr("anchor_core.training.memory.room_on", lambda device: (1e6, "a small card"))
    text = dry_run(job)
    assert "DOES NOT FIT: a small card has 0.0 GB for it; take a smaller --preset" in text
    monkeypatch.setattr("anchor_core.training.memory.room_on", lambda device: (math.inf, "memory"))
    assert "how much memory is free cannot be told here" in dry_run(job)
    assert not job.folder.exists()  # nothing was begun
