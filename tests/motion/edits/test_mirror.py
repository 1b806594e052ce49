"""Mirroring: what the camera sees is the mirror image, and twice is as before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anchor_core.body import pose_motion, standin_body
from anchor_core.motion import Motion, default_camera
from anchor_core.motion.edits.mirror import arkit_names, mirror, mirrored_joints, mirrored_names

from .motions import make_motion, tone


def pixels(motion: Motion) -> np.ndarray:
    """Where the joints (F, 55, 2) fall in the picture of the motion's camera."""
    x, y, z = np.moveaxis(pose_motion(standin_body(), motion).joints.numpy() * (1, -1, -1), -1, 0)
    camera = motion.camera or default_camera(640, 360)
    tx, ty, tz = camera.translation
    u = camera.center_px[0] + camera.focal_px[0] * (x - tx) / (z + tz)
    v = camera.center_px[1] + camera.focal_px[1] * (y - ty) / (z + tz)
    return np.stack([u, v], axis=-1)


@pytest.mark.parametrize("world", ["cv", "yup", "zup"])
@pytest.mark.parametrize("hands", ["relative", "absolute"])
def test_the_mirrored_camera_sees_the_mirrored_picture(world: str, hands: str) -> None:
    motion = make_motion(5, hands=hands, expression=np.zeros((5, 52)))
    turn = {"cv": np.pi, "yup": 0.0, "zup": np.pi / 2}[world]  # upright in each world
    motion.pose[:, 0] = waves_about(turn)
    motion = replace(motion, world=world)
    seen, mirrored = pixels(motion), pixels(mirror(motion))
    seen[..., 0] = 640 - seen[..., 0]
    wrong = np.linalg.norm(mirrored - seen[:, mirrored_joints()], axis=-1)
    assert wrong.max() < 0.01  # pixels
    assert np.linalg.norm(mirrored - seen, axis=-1).max() > 50  # without the swap it is another picture


def waves_about(turn: float) -> np.ndarray:
    """Five root rotations that lean and look a little to one side."""
    return np.array([turn, 0, 0]) + np.linspace(-0.2, 0.3, 15).reshape(5, 3)


def test_twice_is_as_before() -> None:
    pca = (np.ones((60, 12)), np.zeros((60, 12)))
    motion = make_motion(sound=tone(2.0), hands_pca=pca)
    again = mirror(mirror(motion))
    for name in ("pose", "expression"):
        np.testing.assert_array_equal(getattr(again, name), getattr(motion, name))
    np.testing.assert_allclose(again.translation, motion.translation, atol=1e-6)
    assert again.camera == motion.camera
    assert again.hands_pca is not None
    np.testing.assert_array_equal(again.hands_pca[0], pca[0])
    assert mirror(motion).sound is motion.sound


def test_left_and_right_change_places() -> None:
    order = mirrored_joints()
    assert (order[order] == np.arange(55)).all()
    assert [int(order[joint]) for joint in (0, 3, 16, 21, 22, 23, 25, 54)] == [0, 3, 17, 20, 22, 24, 40, 39]
    pca = (np.ones((60, 12)), np.zeros((60, 12)))
    swapped = mirror(make_motion(hands_pca=pca)).hands_pca
    assert swapped is not None
    assert not swapped[0].any()


def test_the_face_changes_sides_by_name() -> None:
    names = arkit_names()
    motion = make_motion(3, expression=np.zeros((3, 52)))
    motion.expression[:, names.index("mouthSmileLeft")] = 1
    motion.expression[:, names.index("jawRight")] = 0.5
    motion.expression[:, names.index("jawOpen")] = 0.25
    row = dict(zip(names, mirror(motion).expression[0], strict=True))
    assert {name: float(value) for name, value in row.items() if value} == {
        "mouthSmileRight": 1.0,
        "jawLeft": 0.5,
        "jawOpen": 0.25,
    }
    assert names == standin_body().expression_names


def test_names_without_another_side_stay() -> None:
    assert mirrored_names(["aLeft", "b", "aRight", "cLeft"]) == [2, 1, 0, 3]


def test_a_face_of_coefficients_stays(caplog: Any) -> None:
    motion = make_motion(3, expression=np.ones((3, 10)), expression_space="smplx")
    np.testing.assert_array_equal(mirror(motion).expression, motion.expression)
    assert caplog.text.count("The face is not mirrored") == 1
    mirror(replace(motion, expression=np.zeros((3, 10))))
    assert caplog.text.count("The face is not mirrored") == 1


def test_it_is_nobodys_performance() -> None:
    assert mirror(make_motion(performer="Ada")).performer == ""
