"""What a training shows while it runs: files at the right steps, whole curves, one word about TensorBoard."""

from __future__ import annotations

import builtins
import json
import logging
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anchor_core.errors import AnchorError
from anchor_core.sampling.schedulers import ZERO_TERMINAL_SNR
from anchor_core.training import monitor
from anchor_core.training.config import SGDMConfig
from anchor_core.training.monitor import Board, TrainingMonitor, read_losses, time_left
from anchor_core.training.report import StepReport
from anchor_core.training.sample_sheet import draw_samples, psnr_of, tile_size
from anchor_core.training.trainer import train_sgdm


class Squares:
    """A sampler whose result is `error` grey levels off the truth."""

    def __init__(self, error: int = 10) -> None:
        self.mesh = np.zeros((2, 8, 8, 3), np.uint8)
        self.truth = np.full((2, 8, 8, 3), 100, np.uint8)
        self.error = error
        self.calls = 0
        self.inside = False

    def __call__(self) -> torch.Tensor:
        assert self.inside, "samples need the averaged weights"
        self.calls += 1
        return torch.from_numpy(self.truth + np.uint8(self.error))

    @contextmanager
    def averaged(self):
        self.inside = True
        yield
        self.inside = False


def report(step: int, sampler: Squares, loss: float = 0.5, steps: int = 100) -> StepReport:
    return StepReport(step, steps, loss, 1e-4, 60.0, sampler.averaged)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_files_come_at_their_steps(tmp_path: Path) -> None:
    sampler = Squares()
    watch = TrainingMonitor(tmp_path, sampler, every=40, tensorboard=False)
    watch(report(30, sampler))
    assert names(tmp_path) == {"loss.png"}
    assert watch.sample_picture is None
    for step in (60, 90, 100):  # 40 and 80 lie between reports; 100 is the end
        watch(report(step, sampler))
    sheets = {f"samples_{step:06d}.png" for step in (60, 90, 100)}
    assert names(tmp_path) == {"loss.png", "samples.png"} | sheets
    assert sampler.calls == 3
    newest = np.asarray(Image.open(tmp_path / "samples.png"))
    assert np.array_equal(newest, watch.sample_picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "loss.png")), watch.loss_picture)


def test_no_sheet_twice_after_resuming(tmp_path: Path) -> None:
    sampler = Squares()
    (tmp_path / "loss.jsonl").write_text(
        "".join(json.dumps({"step": step, "loss": 0.7}) + "\n" for step in (20, 40, 60)) + '{"step": 8'
    )
    watch = TrainingMonitor(tmp_path, sampler, every=50, tensorboard=False)
    assert set(watch.losses) == {20, 40, 60}
    watch(report(80, sampler))
    assert sampler.calls == 0
    assert watch.losses == {20: 0.7, 40: 0.7, 60: 0.7, 80: 0.5}


def test_losses_after_the_checkpoint_are_those_of_now(tmp_path: Path) -> None:
    sampler = Squares()
    (tmp_path / "loss.jsonl").write_text(
        "".join(json.dumps({"step": step, "loss": 0.7}) + "\n" for step in (20, 40, 60))
    )
    watch = TrainingMonitor(tmp_path, sampler, every=50, tensorboard=False)
    watch(report(40, sampler))  # the checkpoint was of step 20
    assert watch.losses == {20: 0.7, 40: 0.5}
    watch(report(60, sampler))
    assert sampler.calls == 1  # the sheet of step 50 is drawn again


def test_a_sample_that_fails_does_not_stop_the_training(tmp_path: Path, caplog) -> None:
    class Broken(Squares):
        def __call__(self) -> torch.Tensor:
            raise AnchorError("numbers are not finite")

    sampler = Broken()
    TrainingMonitor(tmp_path, sampler, every=1, tensorboard=False)(report(5, sampler))
    assert "no samples at step 5: numbers are not finite" in caplog.text
    assert names(tmp_path) == {"loss.png"}


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, path: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(AnchorError, match=r"loss.png cannot be written \(No space left on device\)"):
        TrainingMonitor(tmp_path, tensorboard=False)(report(5, Squares()))


def test_tensorboard_gets_numbers_and_pictures(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    sampler = Squares()
    watch = TrainingMonitor(tmp_path, sampler, every=20)
    for step, loss in ((10, 0.5), (20, 0.25)):
        watch(report(step, sampler, loss))
    watch.close()
    events = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(10, 0.5), (20, 0.25)]
    assert events.Scalars("held_out_psnr")[0].value == pytest.approx(28.13, abs=0.01)
    assert [picture.step for picture in events.Images("held_out")] == [20]


def test_a_missing_tensorboard_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    find = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return find(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(Board, "missing_was_said", False)
    with caplog.at_level(logging.WARNING, "anchor"):
        for _ in range(2):
            TrainingMonitor(tmp_path)(report(5, Squares()))
    assert caplog.text.count("TensorBoard is not installed") == 1
    assert "pip install tensorboard" in caplog.text
    assert names(tmp_path) == {"loss.png"}


def test_every_is_checked(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="every 0 steps; need 1 or more"):
        TrainingMonitor(tmp_path, every=0)


def test_watching_changes_no_loss(new_sgdm, training_set, tmp_path: Path) -> None:
    class Live(Squares):
        def __call__(self) -> torch.Tensor:
            torch.rand(3)  # a sampler may well use the global generator
            return super().__call__()

    config = SGDMConfig(steps=4, batch_size=2, log_every=1)
    sampler = Live()
    sampler.inside = True
    plain = train_sgdm(new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, config, tmp_path / "plain")
    watch = TrainingMonitor(tmp_path / "seen", sampler, every=2, tensorboard=False)
    seen = train_sgdm(
        new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, config, tmp_path / "seen", watch=watch
    )
    assert seen == plain
    assert sampler.calls == 2
    assert watch.losses == read_losses(tmp_path / "seen" / "loss.jsonl") == dict(enumerate(plain, start=1))


def test_sheet_shows_mesh_result_and_truth() -> None:
    mesh, result, truth = (np.full((3, 8, 8, 3), level, np.uint8) for level in (10, 120, 200))
    sheet = draw_samples(mesh, result, truth, "title")
    tiles = [sheet[y, 70] for y in (60, 320, 580)]  # inside of the first column
    assert [tile.tolist() for tile in tiles] == [[10] * 3, [120] * 3, [200] * 3]


def test_sheet_refuses_pictures_of_different_sizes() -> None:
    one, two = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 8, 9, 3), np.uint8)
    with pytest.raises(AnchorError, match=r"result \(2, 8, 9, 3\).*need one of \(n, h, w, 3\)"):
        draw_samples(one, two, one, "")


def test_psnr_is_the_metric_of_the_benchmark() -> None:
    from anchor_core.evaluation.metrics import psnr

    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 256, (2, 1, 9, 7, 3), np.uint8)
    expected = psnr(torch.from_numpy(one) / 255, torch.from_numpy(two) / 255)
    assert psnr_of(one, two) == [pytest.approx(expected, abs=1e-4)]
    assert psnr_of(one, one) == [99.0]


def test_tiles_fit() -> None:
    assert tile_size(512, 256) == (256, 128)
    assert tile_size(192, 192) == (192, 192)
    assert tile_size(64, 32) == (256, 128)


def test_time_left_in_words() -> None:
    assert [time_left(s) for s in (12.4, 150, 7500)] == ["12 s left", "2 min left", "2 h 05 min left"]
    assert monitor.SAMPLE_PICTURE == "samples.png"
