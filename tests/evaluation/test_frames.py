"""Clips of every kind, read side by side."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anchor_core.errors import AnchorError
from anchor_core.evaluation.frames import Clip, open_clip, pairs, picture_clip, tensor_clip
from anchor_core.video.write import write_video

_spec = importlib.util.spec_from_file_location(
    "odd_videos", Path(__file__).parents[1] / "video" / "odd_videos.py"
)
odd = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(odd)


def clip(frames=4, size=(24, 16), seed=0):
    width, height = size
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def folder(path, frames):
    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{index + 1:06d}.png")
    return path


def lengths_unknown(frames):
    return Clip("stream", 0.0, 0, lambda: iter(frames))


def test_a_folder_of_pictures_and_a_tensor_hold_the_same_frames(tmp_path):
    frames = clip()
    read = list(open_clip(folder(tmp_path / "a", frames), start=1).read())
    assert np.array_equal(read, frames[1:])
    assert np.array_equal(list(tensor_clip(torch.from_numpy(frames), "t").read()), frames)
    assert np.array_equal(list(tensor_clip(torch.from_numpy(frames) / 255, "t").read()), frames)


def test_a_video_is_read_from_a_frame_on(tmp_path):
    write_video(tmp_path / "a.mp4", list(clip(frames=6, size=(64, 48))), 25)
    whole, end = open_clip(tmp_path / "a.mp4"), open_clip(tmp_path / "a.mp4", start=4)
    assert (whole.n_frames, whole.fps, end.n_frames) == (6, 25, 2)
    assert np.array_equal(list(end.read()), list(whole.read())[4:])


def test_pictures_are_ordered_by_their_numbers(tmp_path):
    made, frames = folder(tmp_path / "a", clip(frames=3)), clip(frames=3)
    for name, place in (("000001", 2), ("000002", 9), ("000003", 10)):
        (made / f"{name}.png").rename(made / f"frame_{place}.png")
    assert np.array_equal(list(open_clip(made).read()), frames)


def test_a_truth_of_variable_rate_is_read_at_that_of_the_result(tmp_path):
    times_ms = [0, 33, 67, 100, 400, 433, 467, 500, 533, 567, 600, 633]
    phone = odd.write_odd(tmp_path / "phone.mp4", times_ms=times_ms)
    for n_frames in (20, 12):  # frames of 30 fps; frames as they are stored
        truth = open_clip(phone, like=Clip("r", 30.0, n_frames, lambda: iter(())))
        assert (truth.fps == 30, truth.n_frames) == (n_frames == 20, n_frames)
        assert len(list(truth.read())) == n_frames


def test_wrong_clips_get_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnchorError, match="holds no pictures"):
        open_clip(tmp_path / "empty")
    with pytest.raises(AnchorError, match="is to be 9 and a has 4 frames"):
        open_clip(folder(tmp_path / "a", clip()), start=9)
    with pytest.raises(AnchorError, match=r"has the shape \(4, 16, 24\)"):
        tensor_clip(torch.zeros(4, 16, 24), "truth")


@pytest.mark.parametrize("known", [True, False])
def test_other_lengths_are_named_or_cut(known):
    frames = clip()
    make = (lambda part: tensor_clip(torch.from_numpy(part), "r")) if known else lengths_unknown
    with pytest.raises(AnchorError, match=r"has 4.* frames and the truth .* has 3: .*--trim"):
        list(pairs(make(frames), make(frames[:3])))
    with pytest.raises(AnchorError, match=r"has 3.* frames and the truth .* has 4"):
        list(pairs(make(frames[:3]), make(frames)))
    assert len(list(pairs(make(frames), make(frames[:3]), trim=True))) == 3
    assert len(list(pairs(make(frames[:2]), make(frames), trim=True))) == 2
    assert len(list(pairs(make(frames), make(frames)))) == 4


def test_nothing_to_compare():
    with pytest.raises(AnchorError, match="holds no frames"):
        list(pairs(lengths_unknown([]), lengths_unknown([])))


def test_a_truth_of_another_size_is_scaled_and_of_another_shape_refused():
    ours, theirs = clip(size=(24, 16)), clip(size=(48, 32))
    both = list(pairs(lengths_unknown(ours), lengths_unknown(theirs)))
    assert all(one.shape == two.shape == (16, 24, 3) for one, two in both)
    with pytest.raises(AnchorError, match="truth is 32 x 32 pixels and that of the result 24 x 16"):
        list(pairs(lengths_unknown(ours), lengths_unknown(clip(size=(32, 32)))))


def test_pictures_are_read_only_when_it_is_their_turn(tmp_path):
    files = sorted(folder(tmp_path / "a", clip()).iterdir())
    frames = picture_clip(files, "a").read()
    next(frames)
    files[1].unlink()
    with pytest.raises(AnchorError, match="There is no file"):
        next(frames)
