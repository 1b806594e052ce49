"""Motion in front of an anchor's camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anchor_core.body import pose_motion, standin_body
from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, Validity, default_camera, place_motion
from anchor_core.motion.place import LEG_JOINTS, PLACE_ROOT, PLACE_TRANSLATION, SEATED_LEGS, TO_CV
from anchor_core.motion.rotations import axis_angle_from_matrix, matrix_from_axis_angle

CAMERA = default_camera(256, 256)
BETAS = np.array([0.4, -0.2], dtype=np.float32)


def make_motion(world: str = "cv", **changes: object) -> Motion:
    rng = np.random.default_rng(2)
    motion = Motion(
        pose=rng.normal(size=(5, 55, 3)) * 0.2,
        translation=rng.normal(size=(5, 3)),
        expression=np.zeros((5, 0)),
        expression_space="none",
        world=world,
    )
    return replace(motion, **changes)  # type: ignore[arg-type]


def test_target_freezes_the_root_and_keeps_the_rest() -> None:
    motion = make_motion()
    placed = place_motion(motion, CAMERA, BETAS)
    np.testing.assert_allclose(placed.pose[:, 0], np.tile(PLACE_ROOT, (5, 1)), atol=1e-6)
    np.testing.assert_allclose(placed.translation, np.tile(PLACE_TRANSLATION, (5, 1)), atol=1e-6)
    others = [joint for joint in range(1, 55) if joint not in LEG_JOINTS]
    np.testing.assert_array_equal(placed.pose[:, others], motion.pose[:, others])
    np.testing.assert_allclose(placed.pose[:, 4], np.tile(SEATED_LEGS[4], (5, 1)))
    assert not placed.pose[:, 10].any()
    assert placed.camera == CAMERA
    np.testing.assert_array_equal(placed.betas, BETAS)
    assert motion.camera is None


def test_placing_twice_changes_nothing() -> None:
    once = place_motion(make_motion(), CAMERA, BETAS)
    twice = place_motion(once, CAMERA, BETAS)
    np.testing.assert_allclose(twice.pose, once.pose, atol=1e-6)
    np.testing.assert_array_equal(twice.translation, once.translation)


def test_keep_camera_replaces_the_shape_only() -> None:
    motion = make_motion(camera=default_camera(640, 480))
    placed = place_motion(motion, CAMERA, BETAS, keep_camera=True)
    assert placed.camera == motion.camera
    np.testing.assert_array_equal(placed.translation, motion.translation)
    np.testing.assert_array_equal(placed.betas, BETAS)


def test_keep_camera_without_camera_places() -> None:
    assert place_motion(make_motion(), CAMERA, BETAS, keep_camera=True).camera == CAMERA


@pytest.mark.parametrize("world", ["cv", "yup", "zup"])
@pytest.mark.parametrize("root", ["relative", "source"])
def test_the_movement_stays_the_same_up_to_one_turn(world: str, root: str) -> None:
    motion = make_motion(world)
    placed = place_motion(motion, CAMERA, None, root=root)
    before = pose_motion(standin_body(), replace(motion, betas=None)).vertices.double().numpy()
    after = pose_motion(standin_body(), placed).vertices.double().numpy()
    np.testing.assert_allclose(placed.translation[0], PLACE_TRANSLATION, atol=1e-6)
    # Distances between points of different frames do not change by one rigid motion.
    first, last = before[0, ::500], before[-1, ::500]
    expected = np.linalg.norm(first[:, None] - last[None], axis=-1)
    found = np.linalg.norm(after[0, ::500][:, None] - after[-1, ::500][None], axis=-1)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("world", ["cv", "yup", "zup"])
def test_source_keeps_the_direction_of_the_person(world: str) -> None:
    facing = matrix_from_axis_angle(np.array(PLACE_ROOT))
    pose = np.zeros((2, 55, 3))
    pose[:, 0] = axis_angle_from_matrix(TO_CV[world].T @ facing)
    motion = Motion(pose, np.zeros((2, 3)), np.zeros((2, 0)), world=world)
    placed = place_motion(motion, CAMERA, None, root="source")
    np.testing.assert_allclose(placed.pose[:, 0], np.tile(PLACE_ROOT, (2, 1)), atol=1e-6)


def test_motion_without_translation_stays_in_place() -> None:
    motion = make_motion(valid=Validity(translation=False))
    placed = place_motion(motion, CAMERA, None, root="relative")
    np.testing.assert_allclose(placed.translation, np.tile(PLACE_TRANSLATION, (5, 1)), atol=1e-6)


def test_unknown_root() -> None:
    with pytest.raises(AnchorError, match="root is 'chair': use one of target, relative, source"):
        place_motion(make_motion(), CAMERA, None, root="chair")


def test_placed_standin_is_in_the_middle_of_the_picture() -> None:
    placed = place_motion(
        make_motion(pose=np.zeros((1, 55, 3)), translation=np.zeros((1, 3)), expression=np.zeros((1, 0))),
        CAMERA,
        None,
    )
    posed = pose_motion(standin_body(), placed)
    pelvis, head = posed.joints[0, 0].tolist(), posed.joints[0, 15].tolist()
    tx, ty, tz = CAMERA.translation
    column = CAMERA.center_px[0] + CAMERA.focal_px[0] * (pelvis[0] - tx) / (tz - pelvis[2])
    row = CAMERA.center_px[1] - CAMERA.focal_px[1] * (head[1] + ty) / (tz - head[2])
    assert column == pytest.approx(128, abs=2)
    assert 40 < row < 90
