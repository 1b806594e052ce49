"""Units, worlds and hands that contradict how people move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.files import ASSETS
from anchor_core.motion import Motion, Validity, load_motion, read_motion
from anchor_core.motion.conventions import (
    check_hands,
    finger_bends,
    in_radians,
    spine_direction,
    upright_world,
)
from anchor_core.motion.formats.parts import Parts
from anchor_core.motion.place import TO_CV
from anchor_core.motion.rotations import axis_angle_from_matrix, matrix_from_axis_angle

MANO_CURL = 0.48


def parts(world: str = "yup", hands: str = "relative", curl: float = 0.0, scale: float = 0.1) -> Parts:
    """A person who stands upright with y up, and has fingers bent by `curl`."""
    pose = np.random.default_rng(1).normal(scale=scale, size=(40, 55, 3)).astype(np.float32)
    pose[:, 25:37, 2] -= curl
    pose[:, 40:52, 2] += curl
    return Parts("a test", pose, np.zeros((40, 3)), np.zeros((40, 0)), 30.0, world, hands)


def turned(motion: Parts, world: str, yaw: float = 0.0) -> Parts:
    """The person upright in another world, turned about up."""
    root = matrix_from_axis_angle(motion.pose[:, 0])
    turn = TO_CV[world].T @ TO_CV["yup"] @ matrix_from_axis_angle(np.array([0.0, yaw, 0.0]))
    motion.pose[:, 0] = axis_angle_from_matrix(turn @ root)
    return motion


@pytest.mark.parametrize("declared", ["cv", "yup", "zup"])
@pytest.mark.parametrize("actual", ["cv", "yup", "zup"])
@pytest.mark.parametrize("yaw", [0.0, 2.0])
def test_worlds(declared: str, actual: str, yaw: float, caplog: pytest.LogCaptureFixture) -> None:
    assert upright_world(turned(parts(world=declared), actual, yaw)) == actual
    assert len(caplog.records) == int(declared != actual)
    if declared != actual:
        assert f'read as world="{actual}"; give world="{declared}" to keep' in caplog.text


def test_a_bow_and_a_roll_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bow, roll = parts(), parts()
    bow.pose[:, 0] = [1.0, 0, 0]  # 57 degrees
    roll.pose[:, 0] = np.linspace([0, 0, 0], [2 * np.pi, 0, 0], 40)
    lying = parts()
    lying.pose[:, 0] = axis_angle_from_matrix(matrix_from_axis_angle(np.array([0, 0, np.pi / 2])))  # along x
    assert {upright_world(motion) for motion in (bow, roll, lying)} == {"yup"}
    assert not caplog.records


def test_the_spine_counts_more_than_the_pelvis() -> None:
    sitting = parts(scale=0.0)
    sitting.pose[:, 0, 0] = -0.6  # a slumped pelvis, and a spine that bends back up
    sitting.pose[:, [3, 6], 0] = 0.4
    assert spine_direction(sitting.pose)[1] > 0.95


def test_degrees_are_refused_and_converted() -> None:
    motion = parts(scale=0.3)
    degrees = parts(scale=0.3)
    degrees.pose = np.degrees(degrees.pose)
    with pytest.raises(
        AnchorError, match=r'full turn has 6\.28 radians: give angles="degrees" .* angles="radians"'
    ):
        in_radians(degrees, None)
    np.testing.assert_allclose(in_radians(degrees, "degrees").pose, motion.pose, rtol=1e-5)
    assert in_radians(degrees, "radians") is degrees
    assert in_radians(motion, None) is motion


def test_small_movements_in_degrees_are_known_by_their_largest_joint() -> None:
    calm = parts()
    calm.pose = np.random.default_rng(2).normal(size=calm.pose.shape).astype(np.float32) * 3
    assert np.median(np.linalg.norm(calm.pose[:, 1:], axis=2)) < 6
    with pytest.raises(AnchorError, match='angles="degrees"'):
        in_radians(calm, None)


def test_a_turning_root_and_a_broken_frame_are_not_degrees() -> None:
    motion = parts()
    motion.pose[:, 0, 1] = np.linspace(0, 40, 40)  # a dancer who turns six times, unwrapped
    motion.pose[3, 5] = 1000.0
    motion.pose[4] = np.nan
    assert in_radians(motion, None) is motion


@pytest.mark.parametrize(
    ("hands", "curl", "looks"),
    [
        ("relative", 0.0, None),
        ("relative", -0.25, None),
        ("relative", 0.1, None),
        ("relative", MANO_CURL, "absolute"),
        ("absolute", MANO_CURL, None),
        ("absolute", 0.3, None),
        ("absolute", 1.2, None),
        ("relative", 0.25, "absolute"),
        ("absolute", 0.0, "relative"),
        ("absolute", -0.2, "relative"),
    ],
)
def test_hands(hands: str, curl: float, looks: str | None, caplog: pytest.LogCaptureFixture) -> None:
    check_hands(parts(hands=hands, curl=curl))
    assert len(caplog.records) == int(looks is not None)
    if looks:
        assert f"which looks like {looks} hand angles, and a test has {hands} ones" in caplog.text
        assert f'give hands="{looks}"' in caplog.text


def test_fingers_cannot_bend_far_backwards(caplog: pytest.LogCaptureFixture) -> None:
    opening = parts(hands="absolute", curl=MANO_CURL)
    opening.pose[:10, 25:37, 2] += 1.2
    opening.pose[:10, 40:52, 2] -= 1.2
    check_hands(opening)
    assert 'give hands="relative"' in caplog.text


def test_hands_that_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    unmeasured = parts(hands="absolute")
    unmeasured.valid = Validity(hands=False)
    coefficients = parts(curl=MANO_CURL)
    coefficients.hands_pca = (np.zeros((40, 12)), np.zeros((40, 12)))
    zero = parts(hands="absolute")
    zero.pose[:, 25:] = 0
    for motion in (unmeasured, coefficients, zero):
        check_hands(motion)
    assert not caplog.records


def declared(motion: Motion, hands: str) -> Parts:
    return Parts("a test", motion.pose, motion.translation, motion.expression, 30.0, motion.world, hands)


@pytest.mark.parametrize("name", ["1st-page-upper", "french", "rich", "seth"])
def test_real_speech(name: str, shared_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    motion = read_motion(shared_data / "talkshow" / f"{name}.npy")
    assert not caplog.records
    check_hands(declared(motion, "absolute"))
    assert 'give hands="relative"' in caplog.text


def test_real_show(shared_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_motion(shared_data / "show" / "all.pkl")
    assert not caplog.records


def test_demo_motion(caplog: pytest.LogCaptureFixture) -> None:
    motion = load_motion(ASSETS / "demo_motion.npz")
    assert 0.15 < finger_bends(motion.pose).mean() < 0.5
    check_hands(declared(motion, motion.hands))
    assert upright_world(declared(motion, motion.hands)) == motion.world
    assert not caplog.records
