"""Several processes make the steps of one; a killed one goes on as if nothing had happened."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.sampling.schedulers import ZERO_TERMINAL_SNR
from anchor_core.training import workers
from anchor_core.training.config import SGDMConfig
from anchor_core.training.loop import LOSS_LOG
from anchor_core.training.trainer import train_sgdm
from anchor_core.training.workers import Workers, join_workers

from ..processes import environment, free_port
from .conftest import CONTROLNET, UNET

SCRIPT = Path(__file__).with_name("run_training.py")
CONFIG = SGDMConfig(
    steps=6, batch_size=5, learning_rate=3e-3, warmup_steps=2, log_every=1, perturbation=0.5, accumulation=2
)


@pytest.fixture
def with_perturbed(training_set):
    return replace(training_set, perturbed=255 - training_set.pose[:, None])


@pytest.fixture
def work(new_sgdm, with_perturbed, tmp_path):
    """A function that writes what `run_training.py` reads."""

    def write(config):
        path = tmp_path / "work.pt"
        data = {key: value for key, value in vars(with_perturbed).items() if value is not None}
        given = {"unet": UNET, "controlnet": CONTROLNET, "schedule": asdict(ZERO_TERMINAL_SNR)}
        torch.save(
            {**given, "weights": new_sgdm().state_dict(), "data": data, "config": asdict(config)}, path
        )
        return path

    return write


@pytest.fixture
def straight(new_sgdm, with_perturbed, tmp_path):
    """A function that trains in this process, on one thread as the others do."""

    def run(config):
        threads, sgdm = torch.get_num_threads(), new_sgdm()
        torch.set_num_threads(1)
        try:
            folder = tmp_path / "straight"
            losses = train_sgdm(sgdm, None, with_perturbed, ZERO_TERMINAL_SNR, config, folder)
        finally:
            torch.set_num_threads(threads)
        return losses, sgdm.state_dict()

    return run


def run(*command):
    """Run python in a process that finds the same core as this one."""
    command = [sys.executable, *map(str, command)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def launch(n_processes, *command):
    # On a machine without GPU too: with --cpu accelerate starts one process, whatever the number.
    options = ["--multi_gpu", "--num_processes", n_processes, "--num_machines", 1, "--mixed_precision", "no"]
    options += ["--dynamo_backend", "no", "--main_process_port", free_port()]
    run("-m", "accelerate.commands.launch", *options, *command)


def losses_of(folder, rank=0):
    return json.loads((folder / f"losses_{rank}.json").read_text())


def logged(folder):
    """Steps and losses of the log, to the bit."""
    lines = map(json.loads, (folder / LOSS_LOG).read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines]


@pytest.mark.skipif(importlib.util.find_spec("accelerate") is None, reason="accelerate is not installed")
def test_two_processes_make_the_steps_of_one(work, straight, tmp_path):
    losses, wanted = straight(CONFIG)
    launch(2, SCRIPT, work(CONFIG), tmp_path)
    assert losses_of(tmp_path, 0) == losses_of(tmp_path, 1)
    assert losses_of(tmp_path) == pytest.approx(losses, rel=1e-4)
    assert [step for step, _ in logged(tmp_path)] == list(range(1, 7))  # written by one of them
    ours, other = (torch.load(tmp_path / f"weights_{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in wanted.items():
        torch.testing.assert_close(ours[name], value, atol=2e-3, rtol=1e-2)
        assert torch.equal(ours[name], other[name])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_a_killed_training_goes_on_bit_equal(work, straight, tmp_path):
    config = replace(CONFIG, steps=10, checkpoint_every=2, keep_checkpoints=2)
    _, wanted = straight(config)
    run(SCRIPT, work(config), tmp_path / "killed", 4, 0)
    assert logged(tmp_path / "killed") == logged(tmp_path / "straight")
    ours = torch.load(tmp_path / "killed" / "weights_0.pt", weights_only=True)
    for name, value in wanted.items():
        assert torch.equal(ours[name], value)


def test_one_process_joins_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = join_workers("cpu")
    assert (alone.device, alone.count, alone.main) == ("cpu", 1, True)
    assert alone.add([1.5, 2]) == [1.5, 2]


def test_several_processes_need_accelerate(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(AnchorError, match=r"2 processes were started and accelerate is not installed"):
        join_workers("cpu")


def test_one_process_for_several_is_said(monkeypatch, caplog):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for name, value in (("ACCELERATE_USE_CPU", "True"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    workers.warn_single.cache_clear()
    join_workers("cpu")
    join_workers("cpu")
    assert caplog.text.count("accelerate launch --multi_gpu") == 1


@pytest.mark.parametrize(
    ("device", "message"),
    [("gpu", "device is 'gpu'; need 'cpu'"), ("cuda", "'cuda' and torch finds none here")],
)
def test_devices_that_are_not_there(monkeypatch, device, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AnchorError, match=message):
        join_workers(device)


def test_shares_cover_the_batch():
    shares = [Workers("cpu", 3, rank).share(8) for rank in range(3)]
    assert torch.cat(shares).tolist() == list(range(8))
    assert [len(share) for share in shares] == [3, 3, 2]
    with pytest.raises(AnchorError, match="a batch has 2 samples and there are 3 processes"):
        Workers("cpu", 3, 0).share(2)


def test_messages_keep_layout_and_order(monkeypatch):
    """Gradients of any memory format come back to their places; here everybody sends the same."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flat: flat.mul_(2), raising=False)
    monkeypatch.setattr(workers, "_BUCKET", 100)
    generator = torch.Generator().manual_seed(0)
    shapes = [(3,), (2, 3, 4, 4), (7, 5), (11,)]
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    tensors[1] = tensors[1].contiguous(memory_format=torch.channels_last)
    wanted = [2 * tensor for tensor in tensors]
    Workers("cpu", 2, 0).add_(tensors)
    for tensor, value in zip(tensors, wanted, strict=True):
        assert torch.equal(tensor, value)
