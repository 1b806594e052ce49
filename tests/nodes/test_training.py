"""What the nodes that prepare, train and evaluate make of what a graph brings, without a host."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from .stand_in_host import PACK, VideoFromFile
from .test_motion import motion_of


def _module(name: str) -> Any:
    return sys.modules[f"{PACK}.nodes.{name}"]


@pytest.fixture
def error(nodes: Any) -> type[Exception]:
    """The pack's own error type: under the host the core has another name."""
    found: type[Exception] = sys.modules[f"{PACK}.anchor_core.errors"].AnchorError
    return found


class Frames:
    """A VIDEO that is made of frames."""

    def __init__(self, images: torch.Tensor, fps: Fraction = Fraction(25)) -> None:
        self._parts = SimpleNamespace(images=images, frame_rate=fps)

    def get_components(self) -> Any:
        return self._parts


class PartOfFile(VideoFromFile, Frames):
    """A part of a file, which no reader of the file knows about."""

    def __init__(self, images: torch.Tensor) -> None:
        Frames.__init__(self, images)
        VideoFromFile.__init__(self, Path("whole.mp4"), (1.0, 2.0))


def _pictures(count: int, seed: int = 0) -> torch.Tensor:
    levels = torch.randint(0, 256, (count, 24, 32, 3), generator=torch.Generator().manual_seed(seed))
    return levels.float() / 255


@pytest.mark.parametrize("name", ["", "  ", "..", ".hidden", "a/b", "a\\b", "end.", "a\0b", "x" * 101])
def test_a_name_is_one_folder_name(nodes: Any, error: type[Exception], name: str) -> None:
    with pytest.raises(error, match="name"):
        _module("_folders").output_folder("anchor_datasets", name)
    for node in ("PrepareAnchorDataset", "TrainAnchorSGDM"):
        assert "name" in str(getattr(nodes, node).validate_inputs(name))


def test_folders_lie_in_the_output_folder_and_names_keep_their_letters(nodes: Any, base: Path) -> None:
    folders = _module("_folders")
    for name in ("Ada", " Ada ", "Zoë 2", "v1.2-x"):
        folder = folders.output_folder("anchor_datasets", name)
        assert folder.parent == base / "output" / "anchor_datasets"
        assert folder.name == name.strip()
        assert nodes.TrainAnchorSGDM.validate_inputs(name) is True
    assert nodes.TrainAnchorSGDM.validate_inputs(None) is True
    assert nodes.EvaluateAnchorVideo.validate_inputs("") is True
    assert "name" in nodes.EvaluateAnchorVideo.validate_inputs("../x")


def test_a_node_does_not_run_again_for_what_it_has_made_itself(nodes: Any) -> None:
    ledger = _module("_ledger")
    first = ledger.fingerprint("ada", "nothing")
    ledger.has_run("ada", "made")
    assert ledger.fingerprint("ada", "made") == first
    ledger.has_run("ada", "made again")
    assert ledger.fingerprint("ada", "made again") == first
    assert ledger.fingerprint("ada", "changed by hand") != first
    assert ledger.fingerprint("eve", "made again") != first


def test_a_stopped_node_runs_again(nodes: Any) -> None:
    ledger = _module("_ledger")
    first = ledger.fingerprint("kim", "nothing")
    stopped = ledger.fingerprint("kim", "half")
    assert stopped != first
    ledger.has_run("kim", "whole")
    assert ledger.fingerprint("kim", "whole") == stopped


def test_a_node_runs_again_where_what_it_has_made_was_deleted(nodes: Any) -> None:
    ledger = _module("_ledger")
    first = ledger.fingerprint("sam", "")
    ledger.has_run("sam", "made")
    deleted = ledger.fingerprint("sam", "")
    assert deleted != first
    ledger.has_run("sam", "made")
    assert ledger.fingerprint("sam", "made") == deleted


def test_a_file_is_read_where_it_lies(nodes: Any, tmp_path: Path) -> None:
    assert _module("_recording").video_file(VideoFromFile(tmp_path / "me.mov")) == tmp_path / "me.mov"


@pytest.mark.parametrize("kind", [Frames, PartOfFile])
def test_frames_become_the_same_file_each_time_without_loss(nodes: Any, kind: Any) -> None:
    from anchor_core.video.read import read_frames

    recording, pictures = _module("_recording"), _pictures(4)
    path = recording.video_file(kind(pictures))
    back = np.stack(list(read_frames(path)))
    assert (back == pictures.mul(255).round().numpy()).all()
    assert recording.video_file(kind(pictures.clone())) == path
    assert recording.video_file(kind(_pictures(4, seed=1))) != path
    assert path.read_bytes() == recording.video_file(kind(pictures)).read_bytes()


def test_alpha_is_dropped_and_masks_are_grey(nodes: Any, error: type[Exception]) -> None:
    from anchor_core.video.read import read_frames

    recording = _module("_recording")
    alpha = torch.cat([_pictures(2), torch.zeros(2, 24, 32, 1)], 3)
    assert recording.video_file(Frames(alpha), "a").is_file()
    masks = torch.linspace(0, 1, 24 * 32).reshape(1, 24, 32)
    path = recording.frames_file(masks, Fraction(25), "matte")
    (grey,) = read_frames(path)
    assert (grey == masks[0].mul(255).round().numpy()[..., None]).all()
    with pytest.raises(error, match="matte holds no frames"):
        recording.frames_file(masks[:0], Fraction(25), "matte")


def test_a_motion_is_known_again(nodes: Any) -> None:
    recording = _module("_recording")
    path = recording.motion_file(motion_of(5))
    data = path.read_bytes()
    assert recording.motion_file(motion_of(5)) == path
    assert path.read_bytes() == data
    assert recording.motion_file(motion_of(6)) != path


@pytest.fixture
def job(nodes: Any, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`make_job` with the widgets as they are: job(steps=5)."""
    monkeypatch.setattr(_module("_training")._host, "device_gb", lambda: 0.0)
    node = nodes.TrainAnchorSGDM.define_schema()
    inputs = {widget.id: widget for widget in node.inputs if widget.io_type.isupper()}
    skipped = ("dataset", "anchor", "start", "guidance_dropout")
    given = {
        name: widget.options[0] if widget.io_type == "COMBO" and widget.default is None else widget.default
        for name, widget in inputs.items()
        if name not in skipped
    }
    given["null_probability"] = -1.0
    dataset = _module("_types").AnchorDataset(tmp_path / "ada", "ada", "Ada agreed", "abc")
    source = _module("_loading").AnchorSource(tmp_path / "start.safetensors")

    def make(**changes: Any) -> Any:
        return _module("_training").make_job(dataset, source, torch.device("cpu"), **{**given, **changes})

    return make


def test_widgets_as_they_are_leave_everything_to_the_preset(nodes: Any, job: Any, base: Path) -> None:
    from anchor_core.training.presets import preset_values

    made, usual = job(), preset_values("", "body", "finetune")
    for name in ("learning_rate", "batch_size", "null_probability", "perturbation", "ema_decay"):
        assert getattr(made.train, name) == usual[name], name
    assert (made.train.precision, made.train.lora_rank, made.train.device) == ("fp32", 0, "cpu")
    assert (made.consent, made.stage, made.mode) == ("Ada agreed", "body", "finetune")
    assert made.out == base / "models" / "anchors" / "presenter.safetensors"
    assert made.folder == base / "output" / "anchor_training" / "presenter_body"


def test_set_widgets_win_and_zero_is_a_value_where_it_means_something(job: Any) -> None:
    made = job(
        preset="12gb",
        learning_rate=1e-4,
        batch_size=6,
        precision="fp32",
        lora_rank=0,
        perturbation=0.0,
        null_probability=0.0,
        min_snr_gamma=5.0,
        steps=20,
        sample_every=0,
        seed=3,
    )
    train = made.train
    assert (train.learning_rate, train.batch_size, train.precision, train.lora_rank) == (1e-4, 6, "fp32", 0)
    assert (train.perturbation, train.null_probability, train.min_snr_gamma) == (0, 0, 5)
    assert (train.steps, train.log_every, train.seed, made.monitor.every) == (20, 1, 3, 0)
    assert job(lora_rank=8).train.lora_alpha == 8
    assert job(preset="12gb").train.lora_rank == 64


@pytest.mark.parametrize(
    ("memory", "preset"), [(0.0, ""), (8.0, "12gb"), (17.0, "16gb"), (25.7, "24gb"), (85.0, "40gb")]
)
def test_the_automatic_preset_fits_the_card(
    nodes: Any, job: Any, monkeypatch: pytest.MonkeyPatch, memory: float, preset: str
) -> None:
    training = _module("_training")
    monkeypatch.setattr(training._host, "device_gb", lambda: memory)
    assert training.preset_for("automatic") == preset
    assert training.preset_for("published") == "published"


@pytest.fixture
def anchor_file(nodes: Any, base: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts an anchor of the name there that has these stages."""
    path = base / "models" / "anchors" / "presenter.safetensors"

    def put(*stages: str) -> Path:
        path.write_bytes(b"x")
        parts = tuple(f"{stage}.{net}" for stage in stages for net in ("unet", "controlnet"))
        file = sys.modules[f"{PACK}.anchor_core.anchor.file"]
        monkeypatch.setattr(file, "read_parts", lambda _path: (*parts, "vae"))
        return path

    yield put
    path.unlink(missing_ok=True)


def test_an_anchor_from_elsewhere_is_not_written_over(
    job: Any, anchor_file: Any, error: type[Exception]
) -> None:
    anchor_file("body")
    with pytest.raises(error, match="has a body already, which was not trained here"):
        job()


def test_the_other_stage_of_a_person_is_kept(
    job: Any, anchor_file: Any, error: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(error, match="no body yet for the face of 'presenter'"):
        job(stage="face")
    assert job(stage="face", kept=tmp_path / "eve.safetensors").start.into == tmp_path / "eve.safetensors"
    path = anchor_file("body")
    assert job(stage="face").start.into == path
    for kept in (None, tmp_path / "eve.safetensors"):
        with pytest.raises(error, match=r"low-rank layers \(lora_rank 4\) belong to one file"):
            job(stage="face", lora_rank=4, kept=kept)
    path.unlink()
    assert job(stage="face", lora_rank=4, kept=tmp_path / "start.safetensors").start.into is None


def test_an_anchor_without_a_face_gets_one_from_the_list(nodes: Any, tmp_path: Path) -> None:
    source = _module("_loading").AnchorSource(tmp_path / "eve.safetensors")
    body, both = (
        SimpleNamespace(source=source, anchor=SimpleNamespace(body=1, face=face)) for face in (None, 1)
    )
    start = _module("train_anchor_sgdm")._start
    assert start("demo", None, "body")[0].path.name == "demo_anchor.safetensors"
    assert start("demo", body, "body") == (source, None)
    found, kept = start("demo", body, "face")
    assert (found.path.name, kept) == ("demo_anchor.safetensors", source.path)
    assert start("demo", both, "face") == (source, source.path)


def test_a_training_of_ours_goes_on(job: Any, anchor_file: Any, base: Path) -> None:
    anchor_file("body")
    folder = base / "output" / "anchor_training" / "presenter_body"
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"x")
    assert job().start.into is None
    path = anchor_file("body", "face")
    assert job().start.into == path


def test_the_bar_only_grows_and_shows_the_newest_pictures(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    training, seen = _module("_training"), []
    show = lambda total: lambda done, total, preview: seen.append((done, preview))  # noqa: E731
    monkeypatch.setattr(training._host, "FrameProgress", show)
    view = training.TrainingView(tmp_path)
    assert view.picture() is None
    for name in ("reading data", "latents", "tokens", "training the body"):
        with view.step(name, "") as bar:
            bar(1, 2, None)
            bar(2, 2, None)
    places = [done for done, _ in seen]
    assert places == sorted(places)
    assert places[-3] < 100
    assert places[-1] == 1000
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "loss.png")
    Image.new("RGB", (20, 30), (0, 255, 0)).save(tmp_path / "samples.png")
    view.watch(SimpleNamespace(step=5, steps=10))
    done, picture = seen[-1]
    assert done == 550
    assert picture.shape == (60 + 8 + 20, 40, 3)
    assert picture[30, 20].tolist() == [0, 255, 0]
    assert picture[-5, 20].tolist() == [255, 0, 0]


def test_a_cancelled_run_stops_at_the_next_step_however_many_there_are(
    nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled() -> None:
        raise KeyboardInterrupt

    host = _module("_host")
    bar = host.FrameProgress(1_000_000)
    bar(1, 1_000_000)
    monkeypatch.setattr(host.mm, "throw_exception_if_processing_interrupted", cancelled)
    with pytest.raises(KeyboardInterrupt):
        bar(2, 1_000_000)


WIDGETS = {"body": "stand-in", "fps": 25.0, "window_size": 0, "overlap": 4, "save_as": ""}


@pytest.fixture
def evaluate(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The node's `execute` with its widgets as they are."""
    node = _module("evaluate_anchor_video")
    monkeypatch.setattr(node._host, "to_host", lambda tensor: tensor)
    monkeypatch.setattr(node._host, "FrameProgress", lambda total: lambda done, total, preview: None)
    return lambda **given: node.EvaluateAnchorVideo.execute(**{**WIDGETS, **given})


def test_frames_are_measured_against_the_truth(evaluate: Any, base: Path) -> None:
    truth = _pictures(6)
    noisy = (truth + 0.1).clamp(0, 1)
    words, picture = evaluate(images=noisy, truth=truth, save_as="try", window_size=4, overlap=2)
    expected = -10 * np.log10(float((noisy - truth).mul(255).round().div(255).square().mean()))
    (line,) = [line for line in words.splitlines() if line.startswith("PSNR  ")]
    assert float(line.split()[1]) == pytest.approx(expected, abs=0.05)
    assert "left out" in words
    assert picture.ndim == 4
    assert picture.shape[3] == 3
    assert picture.std() > 0.05
    folder = base / "output" / "anchor_evaluations" / "try"
    assert {file.name for file in folder.iterdir()} == {"page.html", "metrics.json"}


def test_one_truth_is_needed(evaluate: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="connect one of the two"):
        evaluate(images=_pictures(2))
    dataset = _module("_types").AnchorDataset(Path("nowhere"), "ada", "", "")
    with pytest.raises(error, match="connect one of the two"):
        evaluate(images=_pictures(2), truth=_pictures(2), dataset=dataset)


def test_networks_of_metrics_are_found_by_their_published_names(nodes: Any, base: Path) -> None:
    node, folder = _module("evaluate_anchor_video"), base / "models" / "anchor_metrics"
    assert node._weights().lpips is None
    folder.mkdir(exist_ok=True)
    (folder / "vgg16-397923af.pth").write_bytes(b"x")
    (folder / "other.pth").write_bytes(b"x")
    found = node._weights()
    assert found.lpips == folder / "vgg16-397923af.pth"
    assert (found.inception, found.i3d, found.landmarks) == (None, None, None)
