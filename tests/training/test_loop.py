"""Stopping and resuming, what a checkpoint refuses, and batches without repetition."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from anchor_core.errors import AnchorError
from anchor_core.training.config import LoopConfig, SGDMConfig
from anchor_core.training.loop import CHECKPOINT, LOSS_LOG, batch_indices, fit

CONFIG = LoopConfig(steps=12, batch_size=4, checkpoint_every=5, log_every=3, warmup_steps=2)


class Interrupted(Exception):
    pass


def line_fit(network):
    """Learn y = x W from noisy data: random numbers come from the generator only."""

    def objective(_step, generator):
        x = torch.randn(8, 3, generator=generator)
        return (network(x) - x.sum(dim=1, keepdim=True)).square().mean()

    return objective


def new_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def run(folder, config=CONFIG, stop_at=None):
    network = new_network()

    def progress(done, total, preview):
        if done == stop_at:
            raise Interrupted

    losses = fit(network, line_fit(network), config, folder, progress)
    return losses, network


def test_resumed_training_is_bit_equal(tmp_path):
    straight, network = run(tmp_path / "straight")
    with pytest.raises(Interrupted):
        run(tmp_path / "broken", stop_at=8)  # three steps after the last checkpoint
    rest, resumed = run(tmp_path / "broken")
    assert rest == straight[8:]  # it was saved before it was stopped
    for one, two in zip(network.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)


def test_log_has_each_step_once_after_resuming(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, stop_at=8)
    run(tmp_path)
    steps = [json.loads(line)["step"] for line in (tmp_path / LOSS_LOG).read_text().splitlines()]
    assert steps == [3, 6, 9, 12]


def test_finished_training_is_only_loaded(tmp_path):
    _, network = run(tmp_path)
    losses, again = run(tmp_path)
    assert losses == []
    assert torch.equal(next(network.parameters()), next(again.parameters()))


def test_result_is_the_average_of_the_weights(tmp_path):
    _, averaged = run(tmp_path / "average")
    _, last = run(tmp_path / "last", replace(CONFIG, ema_decay=0.0))
    saved = torch.load(tmp_path / "average" / CHECKPOINT, weights_only=True)
    assert torch.equal(next(averaged.parameters()), saved["average"][0])
    assert not torch.equal(next(averaged.parameters()), next(last.parameters()))


def test_crash_while_saving_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    run(tmp_path, replace(CONFIG, steps=5))
    before = (tmp_path / CHECKPOINT).read_bytes()

    def broken(state, stream):
        stream.write(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    (tmp_path / CHECKPOINT).rename(tmp_path / "kept")
    with pytest.raises(AnchorError, match="disk full"):
        run(tmp_path, replace(CONFIG, steps=5))
    assert not (tmp_path / CHECKPOINT).exists()
    assert (tmp_path / "kept").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_other_settings_are_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(AnchorError, match=r"learning_rate = 0.001 and now it is 0.1"):
        run(tmp_path, replace(CONFIG, learning_rate=0.1))


def test_where_and_how_often_may_change(tmp_path):
    run(tmp_path)
    assert run(tmp_path, replace(CONFIG, log_every=7, checkpoint_every=1))[0] == []


def test_damaged_checkpoint_is_one_sentence(tmp_path):
    tmp_path.joinpath(CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(AnchorError, match=r"cannot be read, it is damaged; delete it"):
        run(tmp_path)


def test_diverged_training_stops(tmp_path):
    network = new_network()
    with pytest.raises(AnchorError, match=r"loss is nan at step 0"):
        fit(network, lambda step, generator: network(torch.full((1, 3), torch.nan)).sum(), CONFIG, tmp_path)


def test_all_gradients_are_clipped_together(tmp_path):
    network = new_network()
    before = [p.detach().clone() for p in network.parameters()]
    config = replace(CONFIG, steps=1, gradient_clip=1e-6, weight_decay=0.0, ema_decay=0.0)
    fit(network, lambda step, generator: 1e6 * network(torch.ones(1, 3)).sum(), config, tmp_path)
    norm = torch.cat([p.grad.flatten() for p in network.parameters()]).norm()
    assert norm <= 1.001e-6
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_an_epoch_sees_every_sample_once():
    seen = torch.cat([batch_indices(10, 4, step, seed=3) for step in range(5)])
    assert sorted(seen[:10].tolist()) == list(range(10))
    assert sorted(seen[10:].tolist()) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"null_probability": 1.5}, "null_probability is 1.5"),
        ({"decay": "linear"}, "decay is 'linear'"),
        ({"clip_length": 0}, "clip_length is 0"),
        ({"precision": "fp8"}, "precision is 'fp8'; need one of fp32, bf16, fp16"),
        ({"optimiser": "lion"}, "optimiser is 'lion'; need one of adamw, adamw8bit"),
        ({"accumulation": 0}, "accumulation is 0"),
        ({"accumulation": 8, "batch_size": 4}, "accumulation is 8 and batch_size 4"),
        ({"keep_checkpoints": 0}, "keep_checkpoints is 0"),
        ({"perturbation": -0.1}, "perturbation is -0.1"),
        ({"min_snr_gamma": -1}, "min_snr_gamma is -1"),
        ({"lora_rank": -1}, "lora_rank is -1"),
        ({"lora_alpha": 0}, "lora_alpha is 0"),
        ({"lora_rank": 4, "train_vision": True}, "lora_rank is 4 and train_vision is on"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(AnchorError, match=message):
        SGDMConfig(**{"steps": 5, **change})
