"""One step: its parts, its precision, what stops it, and when it may be stopped."""

from __future__ import annotations

import errno
import os
import signal
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from anchor_core.errors import AnchorError
from anchor_core.sampling.schedulers import STABLE_DIFFUSION
from anchor_core.training import checkpoint
from anchor_core.training.config import LoopConfig, SGDMConfig
from anchor_core.training.loop import CHECKPOINT, fit
from anchor_core.training.steps import Run, check_precision
from anchor_core.training.trainer import train_sgdm
from anchor_core.training.workers import Workers

CONFIG = LoopConfig(steps=8, batch_size=4, checkpoint_every=3, log_every=1, warmup_steps=2)
SGDM = SGDMConfig(steps=4, batch_size=6, learning_rate=3e-3, warmup_steps=1, log_every=1)


@pytest.fixture(autouse=True)
def _interruptible():
    """Ctrl-C raises here too where the tests run in a shell's background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def objective(net, before=lambda step: None):
    def loss(step, generator):
        before(step)
        x = torch.randn(8, 3, generator=generator)
        return (net(x) - x.sum(dim=1, keepdim=True)).square().mean()

    return loss


def train(folder, config=CONFIG, before=lambda step: None, **callbacks):
    net = network()
    return fit(net, objective(net, before), config, folder, **callbacks), net


def saved_step(folder):
    return torch.load(folder / CHECKPOINT, weights_only=True)["step"]


@pytest.fixture
def learn(new_sgdm, training_set, tmp_path):
    """A function that trains the tiny SGDM and gives losses and network."""

    def run(name, config):
        sgdm = new_sgdm()
        losses = train_sgdm(sgdm, None, training_set, STABLE_DIFFUSION, config, tmp_path / name)
        return losses, sgdm

    return run


def test_ctrl_c_waits_for_the_step_and_is_saved(tmp_path):
    straight, _ = train(tmp_path / "straight")

    def interrupt(step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", before=interrupt)
    assert saved_step(tmp_path / "broken") == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert train(tmp_path / "broken")[0] == straight[5:]


def test_what_a_watch_raises_is_raised_after_saving(tmp_path):
    class Cancelled(Exception):
        pass

    def cancel(report):
        if report.step == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        train(tmp_path, watch=cancel)
    assert saved_step(tmp_path) == 5


def test_errors_inside_of_a_step_leave_the_last_checkpoint(tmp_path):
    def broken(step):
        if step == 5:
            raise AnchorError("a frame is missing")

    with pytest.raises(AnchorError, match="a frame is missing"):
        train(tmp_path, before=broken)
    assert saved_step(tmp_path) == 3


def test_full_memory_is_one_sentence(tmp_path):
    def full(step):
        if step == 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(AnchorError, match=r"memory of cpu is full at step 4; .*raise accumulation, switch"):
        train(tmp_path, before=full)
    assert saved_step(tmp_path) == 3


def test_old_gpus_cannot_compute_bf16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(
        AnchorError, match=r"precision is 'bf16' and cuda is too old .*; set precision to fp16"
    ):
        check_precision(replace(CONFIG, precision="bf16", device="cuda"))
    check_precision(replace(CONFIG, precision="bf16"))


def test_nan_gradients_stop_before_they_reach_the_weights(tmp_path):
    net = network()
    whole = objective(net)

    def rooted(step, generator):
        root = (net(torch.ones(1, 3)) * 0).sum().sqrt()  # 0, with the derivative 0 * inf
        return whole(step, generator) + (root if step == 4 else 0)

    with pytest.raises(AnchorError, match=r"gradient is nan at step 4; .*the last checkpoint is .*\.pt"):
        fit(net, rooted, CONFIG, tmp_path)
    assert saved_step(tmp_path) == 3
    assert all(bool(parameter.isfinite().all()) for parameter in net.parameters())


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("file write failed")]
)
def test_full_disks_leave_the_last_checkpoint(tmp_path, monkeypatch, error):
    save, saved = torch.save, []

    def fills(state, stream):
        if saved:
            stream.write(b"half a file")
            raise error
        save(state, stream)
        saved.append(state["step"])

    monkeypatch.setattr(torch, "save", fills)
    with pytest.raises(AnchorError, match=r"checkpoint.pt cannot be written \(.*: free space"):
        train(tmp_path)
    assert saved == [saved_step(tmp_path)] == [3]
    assert not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    assert len(train(tmp_path)[0]) == 5


def test_a_really_full_disk(tmp_path):
    """Files may not grow beyond 2 kB: the system says so while the checkpoint is written."""
    resource = pytest.importorskip("resource")
    train(tmp_path / "first")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(AnchorError, match=r"checkpoint.pt cannot be written"):
            train(tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert not list((tmp_path / "full").glob("*.pt"))
    assert not list((tmp_path / "full").glob(".*"))


def test_room_is_asked_for_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(AnchorError, match=r"a checkpoint in .* will take 0.0 GB and 0.0 GB are free"):
        train(tmp_path)


def test_accumulated_parts_make_the_same_step(learn):
    whole, sgdm = learn("whole", SGDM)
    parts, accumulated = learn("parts", replace(SGDM, accumulation=4))  # 2, 2, 1 and 1 samples
    assert parts == pytest.approx(whole, rel=1e-4)
    for one, other in zip(sgdm.parameters(), accumulated.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=1e-2)


def test_accumulation_needs_an_objective_that_can_be_split(tmp_path):
    with pytest.raises(AnchorError, match="accumulation 2 were asked for and this training computes each"):
        train(tmp_path, replace(CONFIG, accumulation=2))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_computes_in_halves_and_keeps_masters(learn, new_sgdm, precision, tmp_path):
    seen = set()
    exact, _ = learn("fp32", SGDM)
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, output: (
            seen.add((type(module).__name__, output.dtype)) if torch.is_tensor(output) else None
        )
    )
    try:
        losses, sgdm = learn(precision, replace(SGDM, precision=precision))
    finally:
        handle.remove()
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert {("Conv2d", half), ("Linear", half)} <= seen
    assert ("Conv2d", torch.float32) not in seen
    assert losses == pytest.approx(exact, rel=0.05)
    assert losses != exact
    saved = torch.load(tmp_path / precision / CHECKPOINT, weights_only=True)
    tensors = [*sgdm.parameters(), *saved["average"], *saved["network"].values()]
    tensors += [state["exp_avg"] for state in saved["optimiser"]["state"].values()]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}


def test_fp16_resumes_with_its_scale(learn, tmp_path, new_sgdm, training_set):
    config = replace(SGDM, precision="fp16", checkpoint_every=2)
    straight, _ = learn("straight", config)

    def stop(done, total, preview):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_sgdm(new_sgdm(), None, training_set, STABLE_DIFFUSION, config, tmp_path / "two", stop)
    saved = torch.load(tmp_path / "two" / CHECKPOINT, weights_only=True)
    assert saved["scaler"]["scale"] == 2.0**16
    assert learn("two", config)[0] == straight[2:]


def test_fp16_leaves_out_steps_that_overflow(tmp_path):
    """The first gradient is too large for the scale, the scale is halved, the weights wait."""
    net = network()
    first = [parameter.detach().clone() for parameter in net.parameters()]
    config = replace(CONFIG, precision="fp16", steps=1, ema_decay=0.0)
    fit(net, lambda step, generator: net(torch.full((1, 3), 100.0)).float().sum() * 100, config, tmp_path)
    assert all(torch.equal(one, two) for one, two in zip(first, net.parameters(), strict=True))
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["scaler"]["scale"] == 2.0**15


def test_fp16_that_always_overflows_is_one_sentence(tmp_path):
    net = network()
    config = replace(CONFIG, precision="fp16", steps=100)

    def steep(step, generator):
        return net(torch.ones(1, 3)).float().sum() * 1e38

    with pytest.raises(AnchorError, match=r"gradients overflow in fp16 .*set precision to bf16 or fp32"):
        fit(net, steep, config, tmp_path)


def test_a_checkpoint_of_another_network_is_one_sentence(tmp_path):
    train(tmp_path)
    other = nn.Linear(3, 1)
    with pytest.raises(AnchorError, match=r"checkpoint\.pt is of a network with other layers than the one"):
        fit(other, objective(other), CONFIG, tmp_path)


@pytest.mark.parametrize("told", [0.0, 1.0])
def test_a_ctrl_c_that_comes_late_is_told_in_the_next_step(tmp_path, told):
    """Of several processes all stop after the same step, and none forgets that it was asked."""

    class Two(Workers):
        def add(self, numbers):
            loss, _ = numbers
            return [loss, told]

        def add_(self, tensors):
            pass

    net = network()
    run = Run(net, CONFIG, tmp_path / CHECKPOINT, Two("cpu", 2, 0))
    run._parts = lambda objective: iter([(1, lambda: objective(0, run.generator))])
    run.step(objective(net, lambda step: os.kill(os.getpid(), signal.SIGINT)))
    assert run.interrupts.pending
    with pytest.raises(KeyboardInterrupt) if told else nullcontext():
        run.stop_if_asked()
