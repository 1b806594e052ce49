"""What an anchor was trained on, measured from motions, and on its card."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anchor_core.anchor.card import AnchorCard
from anchor_core.body import pose_joints, pose_motion, standin_body
from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, default_camera
from anchor_core.motion.place import LEG_JOINTS, PLACE_ROOT, PLACE_TRANSLATION, TO_CV, Place, seat
from anchor_core.motion.ranges import MotionRanges, measure_ranges
from anchor_core.motion.rotations import axis_angle_from_matrix, matrix_from_axis_angle

BODY = standin_body()
CAMERA = default_camera(256, 256)


def seated(n_frames: int = 40, **changes: Any) -> Motion:
    """A person in the default place whose left elbow bends from 0 to 1 rad."""
    pose = np.zeros((n_frames, 55, 3))
    pose[:, 0] = PLACE_ROOT
    seat(pose)
    pose[:, 18, 1] = -np.linspace(0, 1, n_frames)
    motion = Motion(
        pose=pose,
        translation=np.tile(PLACE_TRANSLATION, (n_frames, 1)),
        expression=np.zeros((n_frames, 0)),
        hands="absolute",
        expression_space="none",
    )
    return replace(motion, **changes)


@pytest.fixture(scope="module")
def ranges() -> MotionRanges:
    """Of `seated`."""
    return measure_ranges([seated()], BODY, CAMERA)


def test_the_place_is_found_to_the_digit(ranges: MotionRanges) -> None:
    assert ranges.place == Place()
    assert (ranges.n_frames, ranges.size) == (40, (256, 256))


@pytest.mark.parametrize("world", ["yup", "zup"])
def test_the_place_is_in_the_cv_world(world: str) -> None:
    here = seated()
    there = TO_CV[world].T
    pose = here.pose.copy()
    pose[:, 0] = axis_angle_from_matrix(there @ matrix_from_axis_angle(here.pose[:, 0]))
    pelvis = BODY.joint_template[0].double().numpy()
    path = (pelvis + here.translation) @ there.T - pelvis
    found = measure_ranges([replace(here, pose=pose, translation=path, world=world)], BODY, CAMERA)
    np.testing.assert_allclose(found.place.root, PLACE_ROOT, atol=2e-6)
    np.testing.assert_allclose(found.place.translation, PLACE_TRANSLATION, atol=2e-6)
    np.testing.assert_allclose(found.reach_high, measure_ranges([here], BODY, CAMERA).reach_high, atol=1e-4)


def test_joint_ranges_are_degrees_about_the_mean(ranges: MotionRanges) -> None:
    half = np.degrees(0.5)
    np.testing.assert_allclose(ranges.mean[18], [0, -0.5, 0], atol=0.01)
    np.testing.assert_allclose([ranges.low[18, 1], ranges.high[18, 1]], [-half, half], atol=0.6)
    assert np.abs(ranges.high[3]).max() < 0.01  # did not move


def test_the_mean_is_a_rotation_where_vectors_jump() -> None:
    """Root vectors of (pi, 0, 0) and (-pi, 0, 0) are one rotation; their mean vector would be none at all."""
    pose = seated().pose.copy()
    pose[:, 0] = 0
    pose[::2, 0, 0], pose[1::2, 0, 0] = np.pi - 0.01, -np.pi + 0.01
    found = measure_ranges([seated(pose=pose)], BODY, CAMERA)
    assert np.linalg.norm(found.place.root) == pytest.approx(np.pi, abs=1e-3)
    assert np.abs([found.low[0], found.high[0]]).max() == pytest.approx(np.degrees(0.01), abs=0.05)


def test_relative_hands_count_with_their_mean() -> None:
    relative = measure_ranges([seated(hands="relative")], BODY, CAMERA)
    mean = BODY.hand_mean.numpy()
    given = matrix_from_axis_angle(mean)
    np.testing.assert_allclose(matrix_from_axis_angle(relative.mean[25:]), given, atol=1e-3)


def test_the_head_is_where_the_mesh_has_it(ranges: MotionRanges) -> None:
    vertices = pose_motion(BODY, seated(1)).vertices[0].numpy()
    tx, ty, tz = CAMERA.translation
    depth = tz - vertices[:, 2]
    rows = (CAMERA.center_px[1] - CAMERA.focal_px[1] * (vertices[:, 1] + ty) / depth) / 256
    columns = (CAMERA.center_px[0] + CAMERA.focal_px[0] * (vertices[:, 0] - tx) / depth) / 256
    head = BODY.skin_weights[:, [15, 22, 23, 24]].sum(1).numpy() > 0.5
    x, y, height = ranges.head_low
    assert height == pytest.approx(rows[head].max() - rows[head].min(), abs=0.02)
    assert y == pytest.approx((rows[head].max() + rows[head].min()) / 2, abs=0.02)
    assert x == pytest.approx((columns[head].max() + columns[head].min()) / 2, abs=0.02)


def test_reach_is_measured_from_the_pelvis(ranges: MotionRanges) -> None:
    joints = pose_joints(BODY, seated()).places.numpy()
    left = joints[:, 20] - joints[:, 0]
    assert (ranges.reach_low[0] >= left.min(axis=0) - 1e-4).all()
    assert (ranges.reach_high[0] <= left.max(axis=0) + 1e-4).all()
    assert ranges.reach_high[0, 2] - ranges.reach_low[0, 2] > 0.1  # the bending elbow


def test_joints_alone_are_those_of_the_whole_body() -> None:
    motion = seated(betas=np.array([1.0, -1.0], np.float32))
    whole = pose_motion(BODY, motion, 3, 9).joints.numpy() * [1, -1, -1]
    np.testing.assert_allclose(pose_joints(BODY, motion, 3, 9).places.numpy(), whole, atol=1e-5)


def test_unknown_numbers_are_null_in_a_file() -> None:
    coefficients = (np.zeros((40, 6), np.float32), np.zeros((40, 6), np.float32))
    found = measure_ranges([seated(hands_pca=coefficients)], BODY)  # no basis for these hands, no camera
    assert np.isnan(found.low[25:]).all()
    assert not np.isnan(found.low[:25]).any()
    assert np.isnan(found.head_low).all()
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert MotionRanges.from_dict(json.loads(text)) == found


def test_known_hands_of_one_clip_count() -> None:
    coefficients = (np.zeros((40, 6), np.float32), np.zeros((40, 6), np.float32))
    both = measure_ranges([seated(hands_pca=coefficients), seated()], BODY, CAMERA)
    assert not np.isnan(both.low).any()


def test_a_card_carries_them(ranges: MotionRanges) -> None:
    card = AnchorCard("Ada", ranges=ranges)
    text = json.dumps(card.to_dict(), allow_nan=False)
    assert len(text) < 20_000
    assert AnchorCard.from_dict(json.loads(text)) == card
    assert AnchorCard.from_dict({"name": "old"}).ranges is None


def test_fields_of_a_newer_version_are_kept(ranges: MotionRanges) -> None:
    data = {**ranges.to_dict(), "weather": "fine"}
    assert MotionRanges.from_dict(data).to_dict()["weather"] == "fine"


def test_one_line_for_people(ranges: MotionRanges) -> None:
    assert ranges.summary() == "measured on 40 frames; head 26% of the picture's height, at 49%, 19%"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [[0, 0, 0]]}, r"mean are no \(55, 3\) finite numbers"),
        ({"low": "much"}, "low are no"),
        ({"mean": [[None] * 3] * 55}, "mean holds an unknown rotation"),
        ({"head_low": [float("inf"), 0, 0]}, "head_low are no"),
        ({"place": {"root": [0, 0, 0]}}, "place needs root, translation, legs"),
        ({"place": 3}, "place needs"),
        ({"place": {"root": [0, 0, None], "translation": [0] * 3, "legs": [[0] * 3] * 8}}, "unknown number"),
        ({"size": [0, 5]}, "give whole numbers"),
        ({"size": 5}, "give whole numbers"),
        ({"n_frames": 2.5}, "give whole numbers"),
    ],
)
def test_damaged_ranges_say_what_is_wrong(ranges: MotionRanges, change: dict[str, Any], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        AnchorCard.from_dict({"name": "Ada", "ranges": {**ranges.to_dict(), **change}})


@pytest.mark.parametrize("data", [3, [], {}, {"place": 1}])
def test_no_ranges(data: Any) -> None:
    with pytest.raises(AnchorError, match=r"ranges of the training lack .*: measure the training again"):
        AnchorCard.from_dict({"name": "Ada", "ranges": data})


def test_a_card_wants_ranges_or_nothing() -> None:
    with pytest.raises(AnchorError, match="ranges = 3; it must be MotionRanges, or nothing"):
        AnchorCard("Ada", ranges=3)  # type: ignore[arg-type]


def test_nothing_to_measure() -> None:
    with pytest.raises(AnchorError, match="There is no motion to measure"):
        measure_ranges([], BODY)


def test_pictures_of_two_sizes() -> None:
    motions = [seated(camera=default_camera(side, side)) for side in (64, 128)]
    with pytest.raises(AnchorError, match=r"pictures of \[\(64, 64\), \(128, 128\)\] pixels"):
        measure_ranges(motions, BODY)


def test_legs_are_part_of_the_place() -> None:
    pose = seated().pose.copy()
    pose[:, LEG_JOINTS] = 0.125
    found = measure_ranges([seated(pose=pose)], BODY, CAMERA)
    np.testing.assert_allclose(found.place.legs, 0.125, atol=1e-6)
