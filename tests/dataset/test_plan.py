"""What does not fit is said before any work is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anchor_core.body.model import standin_body
from anchor_core.dataset.plan import plan_clips
from anchor_core.dataset.recording import PrepareOptions, Recording
from anchor_core.errors import AnchorError
from anchor_core.motion.camera import default_camera
from anchor_core.motion.file import save_motion

OPTIONS = PrepareOptions(size=128, head_size=64)


def plan(film, options: PrepareOptions = OPTIONS, **changes):
    return plan_clips([replace(Recording(film.video, film.motion_file), **changes)], options, standin_body())


def saved(motion, path: Path) -> Path:
    save_motion(motion, path)
    return path


def test_motion_without_camera(ada, tmp_path: Path) -> None:
    bare = saved(replace(ada.motion, camera=None), tmp_path / "bare.npz")
    with pytest.raises(AnchorError, match=r"ada\.mp4: the motion bare\.npz has no camera, so nothing tells"):
        plan(ada, motion=bare)
    (clip,) = plan(ada, replace(OPTIONS, camera=ada.camera), motion=bare)
    assert clip.camera == ada.camera


def test_camera_of_another_shape(ada, tmp_path: Path) -> None:
    square = saved(replace(ada.motion, camera=default_camera(128, 128)), tmp_path / "square.npz")
    with pytest.raises(
        AnchorError, match=r"224 x 128 pixels and the motion's camera 128 x 128, another shape"
    ):
        plan(ada, motion=square)


def test_camera_of_another_size_is_scaled(ada, tmp_path: Path) -> None:
    large = saved(replace(ada.motion, camera=ada.camera.resized(448, 256)), tmp_path / "large.npz")
    assert plan(ada, motion=large)[0].crop == plan(ada)[0].crop


def test_motion_that_is_nowhere_in_the_picture(ada, tmp_path: Path) -> None:
    away = saved(replace(ada.motion, translation=ada.motion.translation + 9), tmp_path / "away.npz")
    with pytest.raises(
        AnchorError, match=r"ada\.mp4: the motion's camera shows nobody in the picture of 224"
    ):
        plan(ada, motion=away)


def test_missing_video_and_motion(ada, tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="there is no video at"):
        plan(ada, video=tmp_path / "none.mp4")
    with pytest.raises(AnchorError, match="this recording has no motion"):
        plan(ada, motion=None)
    with pytest.raises(AnchorError, match=r"there is no matte at .*none\.mp4: check the name"):
        plan(ada, matte=tmp_path / "none.mp4")


def test_shots_of_one_person_share_their_crop(ada, tmp_path: Path) -> None:
    moved = ada.motion.translation + np.array([-0.25, 0, 0], np.float32)
    aside = Recording(ada.video, saved(replace(ada.motion, translation=moved), tmp_path / "aside.npz"))
    here = Recording(ada.video, ada.motion_file)
    first, second = plan_clips([here, aside], OPTIONS, standin_body())
    assert (first.name, second.name) == ("ada", "ada_2")
    assert first.crop == second.crop
    apart = plan_clips([here, replace(aside, person="bob")], OPTIONS, standin_body())
    assert apart[0].crop != apart[1].crop
    later = plan_clips([here, aside], OPTIONS, standin_body(), {"ada": apart[0].crop})
    assert [clip.crop for clip in later] == [apart[0].crop] * 2


def test_own_crop_must_lie_in_the_video(ada) -> None:
    assert plan(ada, replace(OPTIONS, crop=(10, 0, 120, 120)))[0].crop == (10, 0, 120, 120)
    with pytest.raises(AnchorError, match=r"crop is 200 0 120 120 and the video has 224 x 128 pixels"):
        plan(ada, replace(OPTIONS, crop=(200, 0, 120, 120)))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", 100, "size is 100 pixels: give a multiple of 8"),
        ("held_out", 0.7, "held_out is 0.7: give a number from 0 to 0.5"),
        ("perturbed", -1, "perturbed is -1"),
        ("meshes", "no", "meshes is 'no': use one of auto, given, drawn"),
        ("background", (0, 0, 300), r"background is \(0, 0, 300\)"),
        ("head_size", 20, "the crop's side is 20 pixels"),
    ],
)
def test_settings_out_of_range(name: str, value: object, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        PrepareOptions(**{name: value})


def test_names_differ_by_more_than_case(ada, tmp_path: Path) -> None:
    (tmp_path / "ADA.mp4").write_bytes(ada.video.read_bytes())
    shots = [Recording(video, ada.motion_file) for video in (ada.video, tmp_path / "ADA.mp4")]
    assert [clip.name for clip in plan_clips(shots, OPTIONS, standin_body())] == ["ada", "ADA_2"]
