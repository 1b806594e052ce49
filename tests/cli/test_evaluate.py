"""The command `evaluate` as a user calls it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from anchor_core.body.model import standin_body
from anchor_core.cli.main import main
from anchor_core.demo.gestures import make_motion
from anchor_core.motion.camera import default_camera
from anchor_core.motion.file import save_motion
from anchor_core.render.mesh import to_bytes
from anchor_core.render.motion import render_motion


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A motion of three frames, its mesh as the truth, and a result that is a little off."""
    root = tmp_path_factory.mktemp("evaluate")
    motion = replace(make_motion(0, 3, 25.0), camera=default_camera(192, 192))
    save_motion(motion, root / "motion.npz")
    frames = to_bytes(render_motion(motion, standin_body(), motion.camera).image)
    for name, part in (("truth", frames), ("result", np.roll(frames, 1, axis=2))):
        (root / name).mkdir()
        for index, frame in enumerate(part):
            Image.fromarray(frame).save(root / name / f"{index:06d}.png")
    return root


def test_it_writes_table_json_and_page(folder, tmp_path, capsys):
    arguments = ["evaluate", str(folder / "result"), "--truth", str(folder / "truth"), "--fps", "25"]
    arguments += ["--motion", str(folder / "motion.npz"), "--windows", "2/1", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "left out: no weights given (--inception FILE)" in shown
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["frames"] == 3
    assert metrics["fps"] == 25
    assert metrics["metrics"]["face_offset"]["value"] == pytest.approx(1, abs=0.15)
    assert metrics["metrics"]["fid"]["value"] is None
    assert metrics["curves"]["flicker"]["marks"] == [0, 1]
    assert (tmp_path / "out" / "page.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--truth", "{truth}", "--truth-start", "1"], "has 3 frames and the truth {truth} has 2"),
        (["--truth", "{truth}", "--windows", "8"], "give SIZE/OVERLAP in frames"),
        (["--truth", "{truth}", "--i3d", "none.pt"], "There is no file none.pt"),
        (["--truth", "nothing"], "There is no file nothing"),
        (["--dataset", "{truth}"], "has no held_out.jsonl"),
        (["--dataset", "{truth}", "--truth-start", "1"], "belong to --truth"),
        (["--truth", "{truth}", "--clip", "talk"], "--clip talk names a clip of a data set"),
        (["--truth", "{truth}", "--anchor", "nobody"], "there is no anchor at nobody"),
    ],
)
def test_bad_input_is_one_sentence(folder, tmp_path, capsys, options, sentence):
    truth = str(folder / "truth")
    filled = [option.format(truth=truth) for option in options]
    assert main(["evaluate", str(folder / "result"), *filled, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence.format(truth=truth) in error
    assert not (tmp_path / "out" / "metrics.json").exists()
