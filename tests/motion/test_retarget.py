"""A motion on the person of an anchor."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anchor_core.anchor.card import AnchorCard
from anchor_core.anchor.use import camera_of
from anchor_core.body import pose_joints, standin_body
from anchor_core.errors import AnchorError
from anchor_core.files import ASSETS
from anchor_core.motion import Motion, default_camera, place_motion, read_motion
from anchor_core.motion.place import LEG_JOINTS, PLACE_ROOT, SEATED_LEGS, TO_CV, Place
from anchor_core.motion.ranges import measure_ranges
from anchor_core.motion.retarget import faces_away, place_of, retarget
from anchor_core.motion.rotations import axis_angle_from_matrix, matrix_from_axis_angle

BETAS = (0.5, -0.25)
PLACE = Place((3.0, 0.1, 0.0), (0.1, -0.05, 0.2), tuple((0.01 * joint, 0.0, 0.0) for joint in LEG_JOINTS))


@pytest.fixture(scope="module")
def card() -> AnchorCard:
    """A person who was trained beside the default place."""
    pose = np.zeros((4, 55, 3))
    pose[:, 0], pose[:, LEG_JOINTS] = PLACE.root, PLACE.legs
    camera = default_camera(256, 256)
    trained = Motion(pose, np.tile(PLACE.translation, (4, 1)), np.zeros((4, 0)), camera=camera)
    ranges = measure_ranges([trained], standin_body())
    return AnchorCard("Ada", betas=BETAS, resolution=(256, 256), camera=camera.to_dict(), ranges=ranges)


def make_motion(world: str = "cv", yaw: float = 0.0, step: float = 0.0) -> Motion:
    """A person who stands upright and walks, `yaw` radians away from facing the camera."""
    rng = np.random.default_rng(5)
    pose = rng.normal(size=(6, 55, 3)) * 0.1
    facing = matrix_from_axis_angle(np.array([0.0, yaw, 0.0])) @ np.diag([1.0, -1.0, -1.0])
    pose[:, 0] = axis_angle_from_matrix(TO_CV[world].T @ facing)
    path = np.arange(6)[:, None] * (TO_CV[world].T @ facing @ [0, 0, step])
    return Motion(pose, path, np.zeros((6, 0)), world=world, expression_space="none", source="test")


def test_shape_camera_place_and_legs_are_the_anchors_and_the_rest_the_sources(card: AnchorCard) -> None:
    motion = make_motion()
    staged = retarget(motion, card)
    np.testing.assert_allclose(staged.betas, BETAS)
    assert staged.camera == camera_of(card)
    np.testing.assert_allclose(staged.pose[:, 0], np.tile(PLACE.root, (6, 1)), atol=1e-5)
    np.testing.assert_allclose(staged.translation, np.tile(PLACE.translation, (6, 1)), atol=1e-5)
    np.testing.assert_allclose(staged.pose[:, LEG_JOINTS], np.tile(PLACE.legs, (6, 1, 1)), atol=1e-5)
    others = [joint for joint in range(1, 55) if joint not in LEG_JOINTS]
    np.testing.assert_array_equal(staged.pose[:, others], motion.pose[:, others])
    assert (staged.world, staged.performer, staged.source) == ("cv", "Ada", "test")


def test_a_retargeted_motion_stays_as_it_is(card: AnchorCard) -> None:
    staged = retarget(make_motion(), card)
    assert retarget(staged, card) is staged
    other = retarget(staged, replace(card, name="Eve", ranges=None))
    assert other.performer == "Eve"
    np.testing.assert_allclose(other.pose[0, 0], PLACE_ROOT, atol=1e-6)


def test_the_switch_leaves_a_motion_with_a_camera_alone(card: AnchorCard) -> None:
    motion = replace(make_motion(), camera=default_camera(64, 64), betas=np.ones(3, np.float32))
    staged = retarget(motion, card, enabled=False)
    assert staged.camera == motion.camera
    for name in ("pose", "translation", "betas"):
        np.testing.assert_array_equal(getattr(staged, name), getattr(motion, name))
    assert retarget(staged, card) is staged  # whoever comes later keeps to it


def test_the_switch_gives_a_motion_without_a_camera_a_place(card: AnchorCard) -> None:
    staged = retarget(make_motion("zup"), card, enabled=False)
    assert staged.camera == camera_of(card)
    assert staged.betas is None
    np.testing.assert_allclose(staged.translation[0], PLACE.translation, atol=1e-5)


@pytest.mark.parametrize(
    ("lower_body", "knee"),
    [("target", PLACE.legs[2]), ("sit", SEATED_LEGS[4]), ("stand", (0, 0, 0)), ("source", None)],
)
@pytest.mark.parametrize("root", ["target", "relative", "source"])
def test_lower_body(
    card: AnchorCard, root: str, lower_body: str, knee: tuple[float, float, float] | None
) -> None:
    motion = make_motion()
    staged = retarget(motion, card, root=root, lower_body=lower_body)
    wanted = motion.pose[:, 4] if knee is None else np.tile(knee, (6, 1))
    np.testing.assert_allclose(staged.pose[:, 4], wanted, atol=1e-5)


@pytest.mark.parametrize("world", ["cv", "yup", "zup"])
def test_every_world_stands_at_the_anchors_place(card: AnchorCard, world: str) -> None:
    staged = retarget(make_motion(world, yaw=2.0, step=0.3), card)
    np.testing.assert_allclose(staged.pose[:, 0], np.tile(PLACE.root, (6, 1)), atol=1e-5)
    np.testing.assert_allclose(staged.translation, np.tile(PLACE.translation, (6, 1)), atol=1e-5)


@pytest.mark.parametrize("world", ["cv", "yup", "zup"])
def test_a_person_who_walks_away_is_turned_to_the_camera(
    card: AnchorCard, world: str, caplog: pytest.LogCaptureFixture
) -> None:
    away = make_motion(world, yaw=np.pi, step=0.2)
    with caplog.at_level(logging.WARNING, "anchor"):
        source = retarget(away, card, root="source")
    assert faces_away(source).all()
    assert source.translation[-1, 2] > source.translation[0, 2] + 0.9
    assert "The back is turned to the camera in frames 0-5: root='relative'" in caplog.text
    caplog.clear()
    relative = retarget(away, card, root="relative")
    assert not faces_away(relative).any()
    assert relative.translation[-1, 2] < relative.translation[0, 2] - 0.9  # now towards it
    assert not caplog.text


def test_a_turn_on_the_way_is_said(card: AnchorCard, caplog: pytest.LogCaptureFixture) -> None:
    there, back = make_motion(), make_motion(yaw=np.pi)
    turning = replace(there, pose=np.concatenate([there.pose[:3], back.pose[3:]]))
    retarget(turning, card, root="relative")
    assert "in frames 3-5: root='target' turns" in caplog.text


def test_unknown_words(card: AnchorCard) -> None:
    with pytest.raises(AnchorError, match="lower_body is 'lotus': use one of target, sit, stand, source"):
        retarget(make_motion(), card, lower_body="lotus")
    with pytest.raises(AnchorError, match="root is 'chair'"):
        retarget(make_motion(), card, root="chair")


def test_an_anchor_without_ranges_has_the_default_place() -> None:
    assert place_of(AnchorCard("old")) == Place()


def test_what_ships_is_placed_to_the_bit_as_before_there_were_ranges() -> None:
    from anchor_core.anchor.file import read_card

    card = read_card(ASSETS / "demo_anchor.safetensors")
    assert place_of(card) == Place()
    motion = read_motion(ASSETS / "demo_motion.npz")
    before = place_motion(motion, camera_of(card), None)
    after = retarget(motion, card)
    np.testing.assert_array_equal(after.pose, before.pose)
    np.testing.assert_array_equal(after.translation, before.translation)
    assert after.camera == before.camera


def test_talkshow_sits_where_show_sat(shared_data: Path) -> None:
    """Head, neck, shoulders and size, in pixels of a picture of 720 lines, against SHOW's own estimate."""
    from anchor_core.anchor.trained import card_of_training

    body = standin_body()
    show = read_motion(shared_data / "show" / "all.pkl")
    card = card_of_training(AnchorCard("seth", resolution=(720, 720)), [show], body)
    camera = camera_of(card)
    before = seen(replace(show, camera=camera, hands_pca=None))
    bare = replace(card, ranges=None)
    for name, limit in (("seth", 15), ("french", 15), ("1st-page-upper", 20)):
        motion = read_motion(shared_data / "talkshow" / f"{name}.npy").sliced(0, 280)
        after = seen(retarget(motion, card))
        for part in ("head", "neck", "shoulders"):
            shift = np.abs(after[part] - before[part])
            assert shift[0] < 25, part
            assert shift[1] < limit * (3 if part == "shoulders" else 1), part  # a raised arm lifts a shoulder
        assert abs(after["scale"] / before["scale"] - 1) < 0.01
        # At the default place the head is too low by more than an eye's width.
        assert abs(seen(retarget(motion, bare))["head"][1] - before["head"][1]) > 20


def seen(motion: Motion) -> dict[str, np.ndarray]:
    """Median places in pixels, and pixels of a metre at the head."""
    places = pose_joints(standin_body(), motion).places.numpy()
    camera = motion.camera
    assert camera is not None
    tx, ty, tz = camera.translation
    depth = places[..., 2] + tz
    x = camera.center_px[0] + camera.focal_px[0] * (places[..., 0] - tx) / depth
    y = camera.center_px[1] + camera.focal_px[1] * (places[..., 1] - ty) / depth
    points = np.median(np.stack([x, y], axis=-1), axis=0)
    scale = np.median(camera.focal_px[1] / depth[:, 15])
    shoulders = points[[16, 17]].mean(axis=0)
    return {"head": points[15], "neck": points[12], "shoulders": shoulders, "scale": scale}


def test_what_was_filmed_for_the_anchor_stays_as_it_is(card: AnchorCard) -> None:
    """Its meshes are the ones that the networks were trained on."""
    footage = replace(make_motion(), camera=camera_of(card))
    kept = retarget(footage, card)
    assert kept.performer == card.name
    assert np.array_equal(kept.pose, footage.pose)
    assert np.array_equal(kept.translation, footage.translation)
    asked = retarget(footage, card, lower_body="sit")
    assert not np.array_equal(asked.pose, footage.pose)
    other = replace(footage, camera=default_camera(512, 512))
    assert not np.array_equal(retarget(other, card).pose, footage.pose)
