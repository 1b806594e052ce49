"""What watchers are told, the averaged weights that they may borrow, and the log that a kill has cut."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from anchor_core.training.config import LoopConfig
from anchor_core.training.loop import LOSS_LOG, fit

CONFIG = LoopConfig(steps=10, batch_size=4, checkpoint_every=4, log_every=4, warmup_steps=2)


def train(folder, config=CONFIG, watch=None, progress=None):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))

    def objective(step, generator):
        return net(torch.randn(8, 3, generator=generator)).square().mean()

    torch.manual_seed(1)  # for the dropout
    return fit(net, objective, config, folder, progress, watch), net


def test_reports_come_every_few_steps_and_at_the_end(tmp_path):
    reports = []
    losses, _ = train(tmp_path, watch=reports.append)
    assert [(report.step, report.steps) for report in reports] == [(4, 10), (8, 10), (10, 10)]
    means = [sum(losses[first:last]) / (last - first) for first, last in ((0, 4), (4, 8), (8, 10))]
    assert [report.loss for report in reports] == pytest.approx(means)
    assert reports[0].rate > reports[-1].rate > 0
    assert reports[0].seconds_left > reports[-1].seconds_left == 0
    lines = list(map(json.loads, (tmp_path / LOSS_LOG).read_text().splitlines()))
    assert [line["loss"] for line in lines] == [report.loss for report in reports]


def test_borrowing_the_average_changes_nothing(tmp_path):
    """The average comes, in eval mode and without gradients; random numbers drawn inside are not missed."""
    plain, _ = train(tmp_path / "plain")
    found = []

    def borrow(report):
        before = [parameter.detach().clone() for parameter in net_of[0].parameters()]
        with report.averaged():
            found.append([parameter.detach().clone() for parameter in net_of[0].parameters()])
            assert not net_of[0].training
            assert not net_of[0](torch.randn(2, 3)).requires_grad
        assert net_of[0].training
        assert all(map(torch.equal, before, net_of[0].parameters()))
        assert not all(map(torch.equal, before, found[-1]))

    net_of = []
    torch.manual_seed(0)
    net_of.append(nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1)))
    torch.manual_seed(1)

    def objective(step, generator):
        return net_of[0](torch.randn(8, 3, generator=generator)).square().mean()

    assert fit(net_of[0], objective, CONFIG, tmp_path / "watched", None, borrow) == plain
    assert all(map(torch.equal, found[-1], net_of[0].parameters()))  # the last one is the result


def test_without_an_average_the_weights_are_lent(tmp_path):
    def borrow(report):
        with report.averaged():
            pass

    config = replace(CONFIG, ema_decay=0.0)
    assert train(tmp_path / "one", config, borrow)[0] == train(tmp_path / "two", config)[0]


def test_a_line_that_was_cut_off_is_made_again(tmp_path):
    class Stopped(Exception):
        pass

    def stop(done, total, preview):
        if done == 6:
            raise Stopped

    _, _ = train(tmp_path / "straight")
    with pytest.raises(Stopped):
        train(tmp_path / "cut", progress=stop)
    with (tmp_path / "cut" / LOSS_LOG).open("a") as stream:
        stream.write('{"step": 6, "lo')
    train(tmp_path / "cut")

    def logged(name):
        lines = map(json.loads, (tmp_path / name / LOSS_LOG).read_text().splitlines())
        return [(line["step"], line["rate"]) for line in lines]

    assert logged("cut") == logged("straight")


def test_the_mean_goes_on_over_an_interruption(tmp_path):
    """Losses since the last line are part of the checkpoint, so the log has the same lines."""

    class Stopped(Exception):
        pass

    def stop(done, total, preview):
        if done == 6:
            raise Stopped

    first = []
    losses, _ = train(tmp_path / "straight", progress=None)
    with pytest.raises(Stopped):
        train(tmp_path / "cut", progress=stop)
    rest, _ = train(tmp_path / "cut", watch=first.append)
    assert first[0].step == 8
    assert first[0].loss == pytest.approx(sum([*losses[4:6], *rest[:2]]) / 4)
