"""The held-out end of a prepared data set as a truth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from anchor_core.body.model import standin_body
from anchor_core.dataset.card import ClipFacts, DatasetCard, write_dataset_card
from anchor_core.demo.gestures import make_motion
from anchor_core.errors import AnchorError
from anchor_core.evaluation.evaluate import EvaluateOptions, evaluate_clips
from anchor_core.evaluation.frames import tensor_clip
from anchor_core.evaluation.held_out_set import held_out_truth
from anchor_core.evaluation.steadiness import Windows
from anchor_core.motion.camera import default_camera
from anchor_core.motion.file import save_motion

SIDE, FIRST, FRAMES, HELD_OUT = 32, 11, 8, 3


def write_set(folder, clips=("talk",)):
    """8 frames per clip, numbered from 11, of which the last 3 are held out."""
    lines, facts = [], []
    for place, name in enumerate(clips):
        first = FIRST + FRAMES * place
        motion = replace(make_motion(place, FRAMES, 25.0), camera=default_camera(SIDE, SIDE))
        (folder / "motion").mkdir(parents=True, exist_ok=True)
        save_motion(motion, folder / "motion" / f"{name}.npz")
        facts.append(ClipFacts(name, "ada", "a.mp4", "a.pkl", first, FRAMES, (0, 0, SIDE, SIDE)))
        for number in range(first + FRAMES - HELD_OUT, first + FRAMES):
            entry = {"clip": name, "person": "ada"}
            for key, part in (("source", "mesh"), ("target", "image"), ("reference", "image")):
                entry[key] = f"{part}/{number:06d}.png"
                file = folder / entry[key]
                file.parent.mkdir(exist_ok=True)
                level = number * 5 + (part == "mesh")
                Image.fromarray(np.full((SIDE, SIDE, 3), level, np.uint8)).save(file)
            lines.append(json.dumps(entry))
    (folder / "held_out.jsonl").write_text("\n".join(lines))
    card = DatasetCard(
        size=SIDE, head_size=64, fps=25.0, frames=5, held_out_frames=3, camera=default_camera(SIDE, SIDE),
        betas=(0.0,), people=("ada",), clips=tuple(facts), perturbed=0, body="standin", ranges=None, hash="",
        made_with={},
    )  # fmt: skip
    write_dataset_card(card, folder)
    return folder


def test_frames_meshes_and_motion_are_those_of_the_held_out_end(tmp_path):
    folder = write_set(tmp_path)
    found = held_out_truth(folder, standin_body())
    assert [int(frame[0, 0, 0]) for frame in found.truth.read()] == [5 * n for n in (16, 17, 18)]
    assert [int(frame[0, 0, 0]) for frame in found.guide.meshes.read()] == [5 * n + 1 for n in (16, 17, 18)]
    whole = make_motion(0, FRAMES, 25.0)
    assert np.array_equal(found.guide.motion.pose, whole.pose[5:])
    assert found.truth.fps == 25


def test_a_result_of_the_whole_clip_is_compared_at_its_end(tmp_path):
    found = held_out_truth(write_set(tmp_path), standin_body())
    levels = torch.arange(11, 19, dtype=torch.uint8) * 5
    whole = tensor_clip(levels[:, None, None, None].expand(8, SIDE, SIDE, 3).contiguous(), "r")
    end = found.end_of(whole)
    assert [int(frame[0, 0, 0]) for frame in end.read()] == [80, 85, 90]
    evaluation = evaluate_clips(end, found.truth, EvaluateOptions(), guide=found.guide)
    assert evaluation["colour_offset"].value == 0
    assert evaluation.facts["frames"] == 3
    assert found.end_of(end) is end
    planned = evaluate_clips(end, found.truth, EvaluateOptions(windows=Windows(4, 1)))
    assert planned.curves["flicker"].marks == tuple(t - 5 for t in Windows(4, 1).borders(8) if 5 <= t < 7)
    with pytest.raises(AnchorError, match=r"has 5 frames and the truth .* has 3"):
        evaluate_clips(found.end_of(replace(whole, n_frames=5)), found.truth)


def test_one_of_several_clips_is_chosen(tmp_path):
    folder = write_set(tmp_path, ("talk", "wave"))
    with pytest.raises(AnchorError, match=r"2 clips out \(talk, wave\): choose one with --clip"):
        held_out_truth(folder, standin_body())
    with pytest.raises(AnchorError, match="no frames of a clip 'sing' out: there are talk, wave"):
        held_out_truth(folder, standin_body(), "sing")
    found = held_out_truth(folder, standin_body(), "wave")
    assert int(next(found.truth.read())[0, 0, 0]) == 5 * 24
    assert np.array_equal(found.guide.motion.pose, make_motion(1, FRAMES, 25.0).pose[5:])


def test_a_set_without_held_out_frames_is_named(tmp_path):
    with pytest.raises(AnchorError, match=r"has no held_out.jsonl"):
        held_out_truth(tmp_path, standin_body())
