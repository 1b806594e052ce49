"""All metrics in one pass: what comes out, how much is held, what is refused."""

from __future__ import annotations

import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from anchor_core.body.model import standin_body
from anchor_core.demo.gestures import make_motion
from anchor_core.errors import AnchorError
from anchor_core.evaluation.evaluate import EvaluateOptions, MetricWeights, evaluate_clips, evaluate_videos
from anchor_core.evaluation.frames import Clip, tensor_clip
from anchor_core.evaluation.guide import Guide
from anchor_core.evaluation.metric_kinds import METRIC_KINDS
from anchor_core.evaluation.steadiness import Windows
from anchor_core.motion.camera import default_camera
from anchor_core.render.mesh import to_bytes
from anchor_core.render.motion import render_motion
from anchor_core.video.write import write_video


def frames(count=6, side=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side, 3), generator=generator, dtype=torch.uint8)


def blurred(clip):
    return torch.nn.functional.avg_pool2d(clip.permute(0, 3, 1, 2).float(), 9, 1, 4).permute(0, 2, 3, 1)


def sitting(n_frames=4, side=192):
    """A motion of the stand-in that turns its head a little."""
    return replace(make_motion(3, n_frames, 25.0), camera=default_camera(side, side))


def test_every_metric_is_in_the_table_once_and_in_order():
    found = evaluate_clips(tensor_clip(frames(), "r"), tensor_clip(frames(seed=1), "t"))
    assert [one.key for one in found.measurements] == list(METRIC_KINDS)
    for one in found.measurements:
        assert math.isfinite(one.value) != one.note.startswith("left out: ")
    assert found.facts == {"result": "r", "truth": "t", "frames": 6, "size": [48, 48], "fps": 0.0}


def test_equal_clips_are_perfect():
    found = evaluate_clips(tensor_clip(frames(), "r", 25), tensor_clip(frames(), "t", 25))
    values = {one.key: one.value for one in found.measurements}
    assert math.isinf(values["psnr"])
    assert values["ssim"] == pytest.approx(1)
    assert values["flicker"] == values["colour_offset"] == values["colour_drift"] == 0
    assert values["acceleration"] == 1
    assert "psnr" not in found.curves  # infinite everywhere: nothing to draw
    assert not any(example.worst for example in found.examples)


def test_files_are_compared_as_tensors_are(tmp_path):
    one, two = frames(side=64), frames(side=64, seed=1)
    smooth = [blurred(clip) for clip in (one, two)]
    for name, clip in zip(("r", "t"), smooth, strict=True):
        write_video(tmp_path / f"{name}.mp4", list(clip.round().byte().numpy()), 25)
    found = evaluate_videos(tmp_path / "r.mp4", tmp_path / "t.mp4", EvaluateOptions(windows=Windows(4, 1)))
    assert found.facts["fps"] == 25
    assert found["psnr"].value > 20
    assert found["seams"].note.startswith("2 borders")


def test_the_motion_tells_person_and_face():
    motion, body, side = sitting(), standin_body(), 192
    truth = torch.from_numpy(to_bytes(render_motion(motion, body, motion.camera).image))
    moved = torch.roll(truth, 1, dims=2)
    found = evaluate_clips(
        tensor_clip(moved, "r", 25), tensor_clip(truth, "t", 25), guide=Guide(motion, body)
    )
    assert found["face_offset"].value == pytest.approx(1, abs=0.15)
    assert found["face_jitter"].value < 0.1
    assert found["face_jitter"].note == "found in 4 of 4 frames that show it"
    assert found["psnr_person"].value < found["psnr"].value  # what is wrong lies on the person
    assert found.examples[0].mesh.shape == (side, side, 3)
    drawn = Guide(motion, body, meshes=tensor_clip(truth, "m"))
    again = evaluate_clips(tensor_clip(moved, "r", 25), tensor_clip(truth, "t", 25), guide=drawn)
    assert again["psnr_person"].value == pytest.approx(found["psnr_person"].value)


def test_meshes_of_another_size_are_scaled_as_the_truth_is():
    truth = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    meshes = truth.clone()
    meshes[:, 8:16, 8:16] = 120
    result = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    result[:, 4:8, 4:8] = 51  # all of the person, and nothing else
    guide = Guide(meshes=tensor_clip(meshes, "m"))
    found = evaluate_clips(tensor_clip(result, "r"), tensor_clip(truth, "t"), guide=guide)
    assert found["psnr_person"].value == pytest.approx(-20 * math.log10(51 / 255), rel=1e-5)
    assert found.examples[0].mesh.shape == (16, 16, 3)


def test_a_motion_that_does_not_fit_is_refused_before_the_work():
    clips = tensor_clip(frames(), "r"), tensor_clip(frames(), "t")
    with pytest.raises(AnchorError, match="the motion has 4 frames and 6 are compared"):
        evaluate_clips(*clips, guide=Guide(sitting(4), standin_body()))
    with pytest.raises(AnchorError, match="the motion has 4 frames and 6 are compared"):
        evaluate_clips(*clips, EvaluateOptions(trim=True), guide=Guide(sitting(4), standin_body()))
    with pytest.raises(AnchorError, match="the result r has 6 frames and the truth t has 5"):
        evaluate_clips(clips[0], tensor_clip(frames(5), "t"), guide=Guide(sitting(5), standin_body()))
    with pytest.raises(AnchorError, match="the motion has no camera"):
        evaluate_clips(*clips, guide=Guide(replace(sitting(6), camera=None), standin_body()))
    with pytest.raises(AnchorError, match="a motion without a body"):
        evaluate_clips(*clips, guide=Guide(sitting(6)))


def test_a_trimmed_clip_uses_the_first_frames_of_a_longer_motion():
    motion, side = sitting(4, 64), 64
    clips = tensor_clip(frames(2, side), "r"), tensor_clip(frames(4, side, seed=1), "t")
    found = evaluate_clips(*clips, EvaluateOptions(trim=True), guide=Guide(motion, standin_body()))
    assert found.facts["frames"] == 2
    assert math.isfinite(found["psnr_person"].value)


def test_clips_of_two_rates_are_not_compared_unless_the_rate_is_given():
    clips = tensor_clip(frames(), "r", 25), tensor_clip(frames(), "t", 30)
    with pytest.raises(AnchorError, match=r"r has 25 frames per second and the truth t has 30: .*--fps"):
        evaluate_clips(*clips)
    assert evaluate_clips(*clips, EvaluateOptions(fps=30)).facts["fps"] == 30
    alike = tensor_clip(frames(), "r", 30), tensor_clip(frames(), "t", 29.97)
    assert evaluate_clips(*alike).facts["fps"] == 30


def test_options_out_of_range_are_named(tmp_path):
    with pytest.raises(AnchorError, match="fps is 0"):
        EvaluateOptions(fps=0)
    with pytest.raises(AnchorError, match="examples is 65"):
        EvaluateOptions(examples=65)
    missing = EvaluateOptions(weights=MetricWeights(inception=tmp_path / "none.pth"))
    with pytest.raises(AnchorError, match=r"There is no file .*none.pth"):
        evaluate_clips(tensor_clip(frames(), "r"), tensor_clip(frames(), "t"), missing)


def test_frames_are_not_kept_but_for_the_examples():
    alive, most = weakref.WeakSet(), []

    class Frame(np.ndarray):
        """An array that can be watched."""

        __hash__ = object.__hash__
        __eq__ = object.__eq__

    def stream(seed):
        rng = np.random.default_rng(seed)
        for _ in range(120):
            frame = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8).view(Frame)
            alive.add(frame)
            most.append(len(alive))
            yield frame

    options = EvaluateOptions(examples=2, windows=Windows())
    found = evaluate_clips(*(Clip(str(s), 25, 120, lambda s=s: stream(s)) for s in (0, 1)), options)
    assert found.facts["frames"] == 120
    assert max(most) <= 2 * (4 + 1 + 1 + 4)  # both clips: examples to choose from, the worst, those in work
    assert len(found.examples) == 2


def test_the_worst_frames_are_shown_and_evenly_spread_ones():
    truth = frames(40, 16)
    result = truth.clone()
    result[:] = (truth.float() * 0.98).byte()
    result[23] = 255 - truth[23]
    result[24] = 0
    found = evaluate_clips(tensor_clip(result, "r"), tensor_clip(truth, "t"), EvaluateOptions(examples=6))
    chosen = {one.index: one.worst for one in found.examples}
    assert chosen.get(23) or chosen.get(24)
    assert not {23, 24} <= set(chosen)  # neighbours look alike
    assert chosen[0] is False
    assert len(chosen) <= 6
    assert list(chosen) == sorted(chosen)
    assert max(chosen) >= 30


def test_a_progress_is_told_and_may_stop():
    class Stop(Exception):
        pass

    told = []

    class Step:
        def __init__(self, name, unit):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def __call__(self, done, total, preview):
            told.append((done, total))
            if done == 3:
                raise Stop

    with pytest.raises(Stop):
        evaluate_clips(tensor_clip(frames(), "r"), tensor_clip(frames(), "t"), step=Step)
    assert told == [(1, 6), (2, 6), (3, 6)]
