"""Renders that are stopped, by whatever: they go on to the same bytes, and say what is in the way."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core import files
from anchor_core.anchor.file import Anchor
from anchor_core.errors import AnchorError
from anchor_core.filming.crew import AnchorCrew
from anchor_core.filming.folder import RenderFolder, opened_folder
from anchor_core.filming.stages import Stages
from anchor_core.frames import FrameFile
from anchor_core.motion.motion import Motion

from .. import processes
from . import scenes
from .scenes import CPU

N_FRAMES = 9  # more than one group of frames that are decoded at once
STAGES = (
    *("rendering the mesh", "finding faces", "denoising", "decoding", "cropping faces", "denoising faces"),
    *("decoding faces", "blending faces"),
)


class Stopped(Exception):
    """What a host raises to stop a render."""


class Stops:
    """A StepFactory that stops a stage at its n-th report; n = 0: before the first. names: what was begun."""

    def __init__(self, stage: str = "", report: int = 0) -> None:
        self.names: list[str] = []
        self._stage, self._left = stage, report

    @contextmanager
    def __call__(self, name: str, _unit: str) -> Iterator[Any]:
        self.names.append(name)
        self._check(name)
        yield lambda done, total, preview: self._check(name)

    def _check(self, name: str) -> None:
        if name == self._stage:
            self._left -= 1
            if self._left < 0:
                raise Stopped


@pytest.fixture(scope="module")
def anchor() -> Anchor:
    return scenes.tiny_anchor()


@pytest.fixture(scope="module")
def motion(anchor: Anchor) -> Motion:
    return scenes.turning(scenes.demo_motion(anchor, N_FRAMES), away=7)


@pytest.fixture(scope="module")
def shoot(anchor: Anchor, motion: Motion) -> Any:
    """shoot(out, **options): the whole scene."""
    scene = scenes.scene_of(anchor, motion)
    return lambda out, **options: scenes.shot(out, anchor, options.pop("scene", scene), **options)


@pytest.fixture(scope="module")
def whole(shoot: Any, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Video and sheet of a render that nobody stopped."""
    return contents(shoot(tmp_path_factory.mktemp("whole") / "a.mp4").video)


@pytest.fixture
def begun(shoot: Any, tmp_path: Path) -> Path:
    """Where a render was stopped right before it decoded."""
    return stop(shoot, tmp_path / "a.mp4", Stops("decoding"))


def contents(video: Path) -> list[bytes]:
    return [video.read_bytes(), video.with_suffix(".png").read_bytes()]


def stop(shoot: Any, out: Path, step: Stops) -> Path:
    with pytest.raises(Stopped):
        shoot(out, step=step)
    return out


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes that are killed are forks")
def test_killed_renders_end_in_the_same_bytes(tmp_path: Path) -> None:
    program = Path(__file__).with_name("kill_film.py")
    command = [sys.executable, str(program), str(tmp_path), "4", "5"]
    ended = subprocess.run(command, env=processes.environment(), capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result["same"] == [True, True]
    assert len(result["kills"]) == 4
    assert any("begin.json" in there for there in result["kills"])
    assert result["left"] == ["killed.mp4", "killed.png", "whole.mp4", "whole.png"]


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_finished_is_not_done_again(
    stage: str, shoot: Any, whole: list[bytes], tmp_path: Path
) -> None:
    out = stop(shoot, tmp_path / "a.mp4", Stops(stage, report=1))
    # Nothing has its name before it is whole; a folder in which there is no frame yet goes at once.
    assert os.listdir(tmp_path) == (["a.render"] if stage != STAGES[0] else [])
    step = Stops()
    shoot(out, step=step)
    assert set(STAGES[STAGES.index(stage) + 1 :]) <= set(step.names)
    assert not set(STAGES[: STAGES.index(stage)]) & set(step.names)
    assert contents(out) == whole
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", "a.png"]


def test_a_render_may_be_stopped_many_times(shoot: Any, whole: list[bytes], tmp_path: Path) -> None:
    for stage in STAGES:
        for report in (0, 1):
            stop(shoot, tmp_path / "a.mp4", Stops(stage, report))
    assert contents(shoot(tmp_path / "a.mp4").video) == whole


def test_a_stop_before_the_names_are_given(
    shoot: Any, whole: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Video and sheet are made, and the process ends between the two names."""
    from anchor_core.filming import film

    given: list[Path] = []

    def deliver(made: Path, final: Path) -> None:
        if given:
            raise Stopped
        given.append(final)
        os.replace(made, final)

    with monkeypatch.context() as patch:
        patch.setattr(film, "deliver", deliver)
        stop(shoot, tmp_path / "a.mp4", Stops())
    assert sorted(os.listdir(tmp_path)) == ["a.png", "a.render"]
    assert contents(shoot(tmp_path / "a.mp4").video) == whole


def _onto_another_disk(made: Path, final: Path, move: Any = os.replace) -> None:
    """A video or a sheet cannot be moved there; anything else is not moved that far."""
    if Path(made).name in ("video.mp4", "sheet.png"):
        raise OSError(errno.EXDEV, "Invalid cross-device link")
    move(made, final)


class FullDisk:
    """Each file, of any name, finds the disk full when it is written for the first time."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.refused: list[str] = []
        append, put, text = FrameFile._write, files._replace, Path.write_text
        patch.setattr(FrameFile, "_write", lambda file, data: self._once(file.path) or append(file, data))
        patch.setattr(files, "_replace", lambda partial, final: self._once(final) or put(partial, final))
        patch.setattr(os, "replace", _onto_another_disk)
        patch.setattr(Path, "write_text", lambda path, *a, **k: self._once(path) or text(path, *a, **k))

    def _once(self, path: Path) -> None:
        if path.name not in self.refused and not path.name.startswith("."):
            self.refused.append(path.name)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_full_disk_is_one_sentence_and_costs_nothing(
    shoot: Any, whole: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, said = FullDisk(monkeypatch), []
    while not (tmp_path / "a.mp4").exists():
        try:
            shoot(tmp_path / "a.mp4")
        except AnchorError as error:
            said.append(str(error))
    sentence = f"the disk is full (the render is kept in {tmp_path / 'a.render'}): free space, then run the"
    assert {words[: len(sentence)] for words in said} == {sentence}
    assert contents(tmp_path / "a.mp4") == whole
    wanted = {"begin.json", "mesh.frames", "body_latents.safetensors", "body.frames", "finished.frames"}
    wanted |= {"face_extra", "face_latents.safetensors", "video.mp4", "a.mp4", "a.png"}
    assert wanted <= {*disk.refused}
    assert len(said) == len(disk.refused)


def test_a_render_that_will_not_fit_is_not_begun(
    shoot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 10_000

    monkeypatch.setattr("shutil.disk_usage", lambda _path: Usage)
    with pytest.raises(AnchorError, match=r"the render takes .* MB in .*a\.render until it is finished"):
        shoot(tmp_path / "a.mp4")
    assert os.listdir(tmp_path) == []


CHANGED: list[tuple[dict[str, Any], str]] = [
    ({"seed": 4}, "was begun with seed = 3 and now it is 4; go on with the same, choose another output, or"),
    ({"steps": 3}, "was begun with steps = 2 and now it is 3"),
    ({"facts": {"preset": "fast"}}, "was begun with preset = null and now it is fast"),
]


@pytest.mark.parametrize(("change", "words"), CHANGED, ids=[words[15:30] for _, words in CHANGED])
def test_a_changed_setting_is_refused_by_name(
    change: dict[str, Any], words: str, begun: Path, shoot: Any
) -> None:
    with pytest.raises(AnchorError, match=words) as refused:
        shoot(begun, **change)
    assert "a.render" in str(refused.value)
    shoot(begun)  # nothing was lost by that


def test_a_changed_setting_of_the_face_pass_is_refused_by_name(
    begun: Path, shoot: Any, anchor: Anchor, motion: Motion
) -> None:
    scene = scenes.scene_of(anchor, motion)
    assert scene.face is not None
    other = replace(scene, face=replace(scene.face, track=replace(scene.face.track, smoothing=0.0)))
    with pytest.raises(AnchorError, match=r"was begun with face track smoothing = 1\.5 and now it is 0\.0"):
        shoot(begun, scene=other)
    with pytest.raises(AnchorError, match="holds a render of another face network"):
        shoot(begun, scene=replace(scene, face=None))


def test_other_contents_are_refused_by_name(begun: Path, shoot: Any, anchor: Anchor, motion: Motion) -> None:
    moved = replace(motion, translation=motion.translation + np.float32(0.01))
    with pytest.raises(AnchorError, match="holds a render of another motion; go on with the same"):
        shoot(begun, scene=scenes.scene_of(anchor, moved))
    grey = np.full((16, 16, 3), 200, np.uint8)
    with pytest.raises(AnchorError, match="holds a render of another reference picture;"):
        shoot(begun, crew=AnchorCrew(anchor, CPU, appearance=grey))
    trained = scenes.tiny_anchor()
    with torch.no_grad():
        next(trained.body.parameters()).mul_(1.01)  # type: ignore[union-attr]
    with pytest.raises(AnchorError, match="holds a render of another anchor;"):
        shoot(begun, crew=AnchorCrew(trained, CPU))


VERSIONS = [
    (("made_with", "package"), "0.0.9", r"was begun with package 0\.0\.9 and this is \d"),
    (("made_with", "torch"), "2.0", r"was begun with torch 2\.0 and this is"),
    (("made_with", "device"), "H200", "was begun with device H200 and this is cpu"),
    (("format",), 0, r"was written by another version of this package \(format 0, this is 1\)"),
]


@pytest.mark.parametrize(("place", "value", "words"), VERSIONS, ids=[place[-1] for place, _, _ in VERSIONS])
def test_another_version_is_refused_by_name(
    place: tuple[str, ...], value: object, words: str, begun: Path, shoot: Any
) -> None:
    path = begun.with_suffix(".render") / "begin.json"
    begin = json.loads(path.read_text())
    (begin if len(place) == 1 else begin[place[0]])[place[-1]] = value
    path.write_text(json.dumps(begin))
    with pytest.raises(AnchorError, match=words):
        shoot(begun)


@pytest.mark.parametrize("name", ["begin.json", "body_latents.safetensors"])
def test_damage_is_said_and_starting_over_mends_it(
    name: str, begun: Path, shoot: Any, whole: list[bytes]
) -> None:
    path = begun.with_suffix(".render") / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(AnchorError, match=f"{name} cannot be read, it is damaged.*; begin again with --"):
        shoot(begun)
    shoot(begun, start_over=True)
    assert contents(begun) == whole


def test_starting_over_may_change_settings(begun: Path, shoot: Any) -> None:
    step = Stops()
    shoot(begun, start_over=True, seed=4, step=step)
    assert step.names[0] == "rendering the mesh"


def test_two_processes_are_refused_one_folder(begun: Path, shoot: Any) -> None:
    folder = begun.with_suffix(".render")
    begin = json.loads((folder / "begin.json").read_text())
    with opened_folder(folder, {name: begin[name] for name in ("made_with", "contents", "settings")}):
        with pytest.raises(AnchorError, match=rf"another process \(pid {os.getpid()} on .*\) renders into"):
            shoot(begun)
        with pytest.raises(AnchorError, match="another process"):
            shoot(begun, start_over=True)
    shoot(begun)


def test_the_folder_says_what_it_is(begun: Path) -> None:
    text = (begun.with_suffix(".render") / "README.txt").read_text()
    assert "The same command goes on with it" in text
    assert "delete it, and the render begins again" in text


def test_folders_of_others_are_left_alone(shoot: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for start_over in (False, True):
        with pytest.raises(AnchorError, match=r"mine holds files that are no render \(letter\.txt, \.\.\.\)"):
            shoot(tmp_path / "a.mp4", folder=tmp_path / "mine", start_over=start_over)
    assert os.listdir(tmp_path / "mine") == ["letter.txt"]
    (tmp_path / "file").touch()
    with pytest.raises(AnchorError, match="file is a file and a render is kept in a folder; choose another"):
        shoot(tmp_path / "a.mp4", folder=tmp_path / "file")


def test_hidden_files_of_others_are_left_alone(shoot: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".env").write_text("key")
    with pytest.raises(AnchorError, match=r"mine holds files that are no render \(\.env, \.\.\.\)"):
        shoot(tmp_path / "a.mp4", folder=tmp_path / "mine")
    assert (tmp_path / "mine" / ".env").read_text() == "key"


@pytest.mark.parametrize("folder", [".", "a.mp4", "a.png", "x"])
def test_nothing_is_delivered_into_the_folder_that_is_removed(
    folder: str, shoot: Any, tmp_path: Path
) -> None:
    out = tmp_path / ("x/deep/a.mp4" if folder == "x" else "a.mp4")
    with pytest.raises(AnchorError, match=r"would lie in .*, which is removed .* with --state"):
        shoot(out, folder=tmp_path / folder)
    assert os.listdir(tmp_path) == []


def test_a_kill_while_the_folder_is_removed(shoot: Any, whole: list[bytes], tmp_path: Path) -> None:
    """What is gone is made again, in whatever order files went; what says whose folder it is goes last."""
    folder = shoot(tmp_path / "a.mp4", folder=tmp_path / "state", keep_folder=True).folder
    for gone in (("faces", "finished.frames"), ("mesh.frames", "body.frames", "body_latents.safetensors")):
        for path in (folder / name for name in gone):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert contents(shoot(tmp_path / "b.mp4", folder=folder, keep_folder=True).video) == whole


def test_a_folder_that_cannot_be_removed_is_a_warning(
    shoot: Any, whole: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def held(_path: Path) -> None:
        raise PermissionError(errno.EACCES, "held by another program")

    monkeypatch.setattr(shutil, "rmtree", held)
    assert contents(shoot(tmp_path / "a.mp4").video) == whole
    assert "a.render could not be removed" in caplog.text


def test_another_process_never_cuts_what_is_being_written(
    anchor: Anchor, motion: Motion, tmp_path: Path
) -> None:
    file = FrameFile(tmp_path / "body.frames", (2, 2))
    file.append(torch.zeros(5, 2, 2, dtype=torch.uint8))
    scene, crew = scenes.scene_of(anchor, motion), AnchorCrew(anchor, CPU)
    for main, left in ((False, 5), (True, 4)):
        ranks: Any = SimpleNamespace(main=main)
        stages = Stages(RenderFolder(tmp_path), scene, crew, {}, {}, Stops(), ranks)
        assert stages._begin_of_group(file, 4) == left


def test_a_folder_elsewhere(shoot: Any, whole: list[bytes], tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    film = shoot(tmp_path / "a.mp4", folder=folder, keep_folder=True)
    assert film.folder == folder
    assert {"begin.json", "mesh.frames", "body.frames"} <= set(os.listdir(folder))
    step = Stops()
    shoot(tmp_path / "b.mp4", folder=folder, step=step)
    assert not {"denoising", "decoding", "blending faces"} & set(step.names)
    assert contents(tmp_path / "b.mp4") == whole == contents(tmp_path / "a.mp4")
    assert not folder.exists()
