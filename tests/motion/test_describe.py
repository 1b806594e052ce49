"""A motion in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anchor_core.motion import Motion, Soundtrack, Validity, default_camera
from anchor_core.motion.describe import describe_motion, name_frames, stretches


def motion_of(n_frames: int) -> Motion:
    rows = np.zeros((n_frames, 55, 3), np.float32)
    return Motion(
        rows, rows[:, 0], np.zeros((n_frames, 52)), fps=25, expression_space="arkit52", source="BVH"
    )


def test_runs_are_named_as_people_write_them() -> None:
    marks = np.array([1, 0, 1, 1, 1, 0, 0, 1], bool)
    assert stretches(marks) == [(0, 0), (2, 4), (7, 7)]
    assert name_frames(stretches(marks)) == "0, 2-4, 7"
    assert name_frames([(i, i) for i in range(11)], most=2) == "0, 1 and 9 more"
    assert stretches(np.zeros(3, bool)) == []


def test_a_motion_is_described_with_what_it_lacks() -> None:
    plain = motion_of(50)
    assert describe_motion(plain).splitlines() == [
        "BVH: 50 frames at 25 fps, 2.00 s",
        "world cv, relative hands, 52 arkit52 expression coefficients",
    ]
    marks = np.zeros(50, bool)
    marks[10:13] = True
    full = replace(
        plain,
        valid=Validity(eyes=False, hands=False),
        interpolated=marks,
        camera=default_camera(640, 480),
        sound=Soundtrack(np.zeros((2, 8000), np.float32), 8000),
        hands_pca=(np.zeros((50, 12)), np.zeros((50, 12))),
        performer="Ada",
    )
    words = describe_motion(full)
    for part in (
        "hands as 12 PCA coefficients",
        "not measured by the source: eyes, fingers",
        "interpolated: frames 10-12",
        "camera 640 x 480 px",
        "retargeted to Ada",
        "sound: 8000 Hz, stereo, 2.00 s",
    ):
        assert part in words
