"""The common motion type: what it refuses, and that its file returns every field."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, Validity, default_camera, load_motion, read_motion, save_motion


def make_motion(n_frames: int = 4, **changes: Any) -> Motion:
    rng = np.random.default_rng(7)
    values: dict[str, Any] = {
        "pose": rng.normal(size=(n_frames, 55, 3)),
        "translation": rng.normal(size=(n_frames, 3)),
        "expression": rng.normal(size=(n_frames, 10)),
    }
    return Motion(**(values | changes))


def test_arrays_become_float32() -> None:
    motion = make_motion(betas=[[0.5, 1.0]])
    assert motion.pose.dtype == motion.translation.dtype == motion.expression.dtype == np.float32
    assert motion.betas is not None
    assert motion.betas.shape == (2,)


def test_length_and_duration() -> None:
    motion = make_motion(30, fps=25)
    assert len(motion) == motion.n_frames == 30
    assert motion.duration_s == pytest.approx(1.2)


def test_one_frame_works() -> None:
    assert len(make_motion(1)) == 1


def test_slice_cuts_every_array() -> None:
    motion = make_motion(6, hands_pca=(np.ones((6, 12)), np.zeros((6, 12))))
    part = motion.sliced(2, 5)
    assert len(part) == 3
    np.testing.assert_array_equal(part.pose, motion.pose[2:5])
    assert part.hands_pca is not None
    assert part.hands_pca[0].shape == (3, 12)
    assert len(motion.sliced(-2)) == 2


def test_empty_slice_is_refused() -> None:
    with pytest.raises(AnchorError, match="Frames 9 to 12 of a motion with 4 frames hold no frame"):
        make_motion().sliced(9, 12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pose": np.zeros((0, 55, 3))}, "has no frames: it needs at least one"),
        ({"pose": np.zeros((4, 24, 3))}, r"pose has shape \(4, 24, 3\): it needs \(4, 55, 3\)"),
        ({"translation": np.zeros((3, 3))}, r"translation has shape \(3, 3\): it needs \(4, 3\)"),
        ({"expression": np.zeros(4)}, r"expression has shape \(4,\): it needs \(4, any\)"),
        ({"hands_pca": (np.zeros((4, 12)), np.zeros((2, 12)))}, r"hands_pca has shape \(2, 12\)"),
        ({"betas": [np.nan]}, "betas hold a number that is not finite"),
        ({"pose": np.full((4, 55, 3), 1e30)}, "pose holds an angle of 1e.30: it needs radians"),
        ({"pose": "abc"}, "pose is not an array of numbers"),
        ({"pose": np.ones((4, 55, 3), complex)}, "pose is not an array of numbers: it holds complex128"),
        ({"pose": np.full((4, 55, 3), "1")}, "pose is not an array of numbers: it holds <U1"),
        ({"pose": [[1.0], [1.0, 2.0]]}, "pose is not an array of numbers"),
        ({"source": None}, "source is None: it needs text up to 1000 characters"),
        ({"gender": ["female"]}, "gender is .'female'.: it needs text"),
        ({"fps": 0}, "has 0.0 frames per second"),
        ({"world": "left"}, "world is 'left': use one of cv, yup, zup"),
        ({"hands": "both"}, "hands is 'both'"),
        ({"expression_space": "flame"}, "expression_space is 'flame'"),
    ],
)
def test_bad_motion_is_refused_in_one_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        make_motion(**changes)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("name", ["pose", "translation", "expression"])
def test_first_bad_frame_is_named(name: str, bad: float) -> None:
    values = getattr(make_motion(9), name).astype(np.float64)
    values[6:8] = bad
    with pytest.raises(AnchorError, match=rf"{name} holds .* in frame 6 \(2 bad frames of 9\)"):
        make_motion(9, **{name: values})


def full_motion() -> Motion:
    return make_motion(
        betas=np.arange(10) / 10,
        fps=25,
        world="zup",
        hands="absolute",
        hands_pca=(np.ones((4, 6)), np.full((4, 6), 2)),
        expression_space="arkit52",
        camera=default_camera(640, 480),
        gender="female",
        source="test",
        valid=Validity(eyes=False, translation=False),
    )


@pytest.mark.parametrize("motion", [full_motion(), make_motion(1)], ids=["full", "bare"])
def test_file_returns_every_field(motion: Motion, tmp_path: Path) -> None:
    save_motion(motion, tmp_path / "motion.npz")
    for again in (load_motion(tmp_path / "motion.npz"), read_motion(tmp_path / "motion.npz")):
        for name, value in vars(motion).items():
            if name == "hands_pca" and value is not None:
                np.testing.assert_array_equal(value, again.hands_pca)
            elif isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, getattr(again, name))
            else:
                assert getattr(again, name) == value


def test_file_keeps_the_name_it_is_given(tmp_path: Path) -> None:
    save_motion(make_motion(), tmp_path / "motion.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["motion.bin"]


def write_parts(path: Path, header: object, **arrays: np.ndarray) -> Path:
    np.savez(path, header=np.array(json.dumps(header)), **arrays)
    return path


HEADER: dict[str, Any] = {
    "format": "anchor-motion",
    "version": 1,
    "fps": 30.0,
    "world": "cv",
    "hands": "relative",
    "expression_space": "none",
    "gender": "neutral",
    "source": "",
    "camera": None,
    "valid": {},
}
ARRAYS = {"pose": np.zeros((2, 55, 3)), "translation": np.zeros((2, 3)), "expression": np.zeros((2, 0))}


@pytest.mark.parametrize(
    ("header", "arrays", "message"),
    [
        ({"format": "other"}, ARRAYS, "is not a motion file of this pack"),
        (HEADER | {"version": 9}, ARRAYS, "of version 9 and this pack reads 1: update the pack"),
        (HEADER, {"pose": ARRAYS["pose"]}, "without translation, expression"),
        (HEADER | {"valid": {"toes": True}}, ARRAYS, "damaged header"),
        (HEADER | {"camera": {"size": [1, 1]}}, ARRAYS, "The camera lacks center_px, focal_px, translation"),
        ({k: v for k, v in HEADER.items() if k != "fps"}, ARRAYS, "damaged header"),
        (HEADER | {"fps": "fast"}, ARRAYS, "damaged header"),
        (HEADER | {"fps": 10**400}, ARRAYS, "damaged header"),
        (HEADER | {"world": "cv" * 9000}, ARRAYS, "The motion's world is .*: use one of cv, yup, zup"),
        (HEADER, ARRAYS | {"hand_pca_left": np.zeros((2, 12))}, "of one hand only"),
        (HEADER, ARRAYS | {"pose": np.zeros((2, 54, 3))}, r"m.npz: The motion's pose has shape \(2, 54, 3\)"),
        (HEADER, ARRAYS | {"pose": np.array([{}], dtype=object)}, "Python objects under 'pose'"),
    ],
)
def test_damaged_file_is_refused(header: object, arrays: Any, message: str, tmp_path: Path) -> None:
    path = write_parts(tmp_path / "m.npz", header, **arrays)
    with pytest.raises(AnchorError, match=message):
        read_motion(path)


def test_motion_is_a_value() -> None:
    motion = make_motion()
    with pytest.raises(AttributeError):
        motion.fps = 3  # type: ignore[misc]
    assert replace(motion, fps=50).fps == 50
