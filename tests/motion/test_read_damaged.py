"""Damaged and made-up files of every container: a motion or one sentence, never another exception."""

from __future__ import annotations

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion import Motion, ReadOptions, read_motion, save_motion

N_FRAMES = 6
_RNG = np.random.default_rng(8)


def _rows(width: int) -> np.ndarray:
    return _RNG.normal(scale=0.2, size=(N_FRAMES, width))


def _emage() -> dict[str, Any]:
    return {
        "poses": _rows(165),
        "expressions": _rows(100),
        "trans": _rows(3),
        "betas": np.zeros(300),
        "gender": "neutral",
        "mocap_frame_rate": 30,
    }


def _smplh() -> dict[str, Any]:
    return {"poses": _rows(156), "trans": _rows(3), "gender": b"male", "mocap_framerate": 60.0}


def _split() -> dict[str, Any]:
    angles = {"root_orient": 3, "pose_body": 63, "pose_hand": 90, "pose_jaw": 3, "pose_eye": 6, "trans": 3}
    return {key: _rows(width) for key, width in angles.items()} | {"mocap_frame_rate": 120.0}


def _show() -> dict[str, Any]:
    widths = {"expression": 100, "transl": 3, "global_orient": 3, "body_pose_axis": 63, "jaw_pose": 3}
    widths |= {"leye_pose": 3, "reye_pose": 3, "left_hand_pose": 12, "right_hand_pose": 12}
    camera = {"camera_transl": np.zeros(3), "center": [640.0, 360.0], "focal_length": np.float32(5000)}
    return {key: _rows(width) for key, width in widths.items()} | camera | {"width": 1280, "height": 720}


def _npz(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _own(folder: Path) -> bytes:
    path = folder / "own.npz"
    save_motion(Motion(np.zeros((6, 55, 3)), np.zeros((6, 3)), np.zeros((6, 4))), path)
    return path.read_bytes()


FILES = {
    "EMAGE": _npz(_emage()),
    "AMASS SMPL+H": _npz(_smplh()),
    "AMASS SMPL-X": _npz(_split()),
    "Motion-X": _npy(_rows(322).astype(np.float32)),
    "TalkSHOW": _npy(_rows(265).astype(np.float32)),
    "SHOW": pickle.dumps(_show(), protocol=2),
}


def read_quietly(path: Path, options: ReadOptions | None = None) -> Motion | None:
    """The motion, or None where an AnchorError says something; warnings of numpy count as failures."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return read_motion(path, options)
        except AnchorError:
            return None


@pytest.mark.parametrize("kind", [*FILES, "our own"])
def test_damaged_bytes(kind: str, tmp_path: Path) -> None:
    whole = _own(tmp_path) if kind == "our own" else FILES[kind]
    path, rng = tmp_path / "damaged", np.random.default_rng(1)
    path.write_bytes(whole)
    motion = read_quietly(path)
    assert motion is not None
    assert len(motion) == N_FRAMES
    for trial in range(60):
        data = bytearray(whole[: rng.integers(len(whole))] if trial % 3 == 0 else whole)
        end = min(len(data), 200) if trial % 3 == 1 else len(data)  # headers are where it hurts
        for place in rng.integers(max(end, 1), size=rng.integers(1, 9)):
            if place < len(data):
                data[place] = rng.integers(256)
        path.write_bytes(data)
        read_quietly(path)


STRANGE: tuple[Any, ...] = (
    np.zeros((N_FRAMES, 3)),
    np.zeros((0, 165)),
    np.zeros(N_FRAMES),
    np.zeros((N_FRAMES, 1, 165)),
    np.full((N_FRAMES, 165), np.nan),
    np.full((N_FRAMES, 165), 1e300),
    np.full((N_FRAMES, 3), -1e9),
    np.zeros((N_FRAMES, 165), np.int8),
    np.zeros((N_FRAMES, 165), bool),
    np.zeros((N_FRAMES, 165), complex),
    np.zeros(N_FRAMES, [("a", "f4")]),
    np.array(["x"] * N_FRAMES),
    np.datetime64("2020-01-01"),
    -1.0,
    np.nan,
    2**63,
    "text",
    b"bytes",
)


@pytest.mark.parametrize("kind", ["emage", "smplh", "split", "show"])
def test_strange_values_under_the_right_names(kind: str, tmp_path: Path) -> None:
    arrays = {"emage": _emage, "smplh": _smplh, "split": _split, "show": _show}[kind]()
    more: tuple[Any, ...] = (None, [], [[1, 2], [3]], {"a": 1}, 10**400) if kind == "show" else ()
    path = tmp_path / "strange"
    for key in arrays:
        for value in (*STRANGE, *more):
            content = arrays | {key: value}
            path.write_bytes(pickle.dumps(content, protocol=2) if kind == "show" else _npz(content))
            read_quietly(path)


@pytest.mark.parametrize(
    "options", [ReadOptions(angles="degrees"), ReadOptions(world="zup", hands="absolute")]
)
@pytest.mark.parametrize("kind", FILES)
def test_options_of_every_kind(kind: str, options: ReadOptions, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(FILES[kind])
    motion, plain = read_quietly(tmp_path / "a", options), read_quietly(tmp_path / "a")
    assert motion is not None
    assert plain is not None
    if options.angles:
        np.testing.assert_allclose(motion.pose, np.radians(plain.pose), rtol=1e-5, atol=1e-7)
    else:
        assert (motion.world, motion.hands, motion.camera) == ("zup", "absolute", None)


@pytest.mark.parametrize("kind", [*FILES, "our own"])
def test_a_sample_or_person_that_is_not_there(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(_own(tmp_path) if kind == "our own" else FILES[kind])
    with pytest.raises(AnchorError, match="sample"):
        read_motion(tmp_path / "a", ReadOptions(sample=3))
    with pytest.raises(AnchorError, match="person"):
        read_motion(tmp_path / "a", ReadOptions(person="Ada"))
