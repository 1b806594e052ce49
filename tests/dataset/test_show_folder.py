"""Finished folders of SHOW: their pictures are used as they are, unless the mesh lies on the photo."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anchor_core.dataset.prepare import prepare_dataset
from anchor_core.dataset.recording import PrepareOptions, Recording
from anchor_core.dataset.show_folder import expand, is_show_folder
from anchor_core.errors import AnchorError
from anchor_core.video.read import read_picture

SIDE, FRAMES = 64, 12
OPTIONS = PrepareOptions(size=SIDE, head_size=32, accept_misfit=True)


def parameters(n_frames: int) -> dict:
    """What SHOW pickles, of a person who faces the camera and moves a little."""
    swing = 0.02 * np.sin(np.arange(n_frames))[:, None]
    zeros = {key: np.zeros((n_frames, 3), np.float32) for key in ("jaw_pose", "leye_pose", "reye_pose")}
    return {
        **zeros,
        "expression": np.zeros((n_frames, 100), np.float32),
        "body_pose_axis": np.tile(np.zeros(63, np.float32), (n_frames, 1)) + swing,
        "left_hand_pose": np.zeros((n_frames, 12), np.float32),
        "right_hand_pose": np.zeros((n_frames, 12), np.float32),
        "global_orient": np.tile(np.array([3.07, 0, 0], np.float32), (n_frames, 1)),
        "transl": np.zeros((n_frames, 3), np.float32),
        "betas": np.zeros((1, 300), np.float32),
        "camera_transl": np.array([0.0, -0.7, 6.2], np.float32),
        "center": np.array([SIDE / 2, SIDE / 2], np.float32),
        "focal_length": np.array([440.0], np.float32),
        "width": np.array([SIDE]),
        "height": np.array([SIDE]),
    }


def show_folder(folder: Path, on_photo: bool = False, meshes: int = FRAMES) -> Path:
    rng = np.random.default_rng(len(folder.name))
    for name in ("image", "ours_exp/mica_org"):
        (folder / name).mkdir(parents=True)
    for number in range(1, FRAMES + 1):
        photo = rng.integers(60, 255, (SIDE, SIDE, 3)).astype(np.uint8)
        Image.fromarray(photo).save(folder / f"image/{number:06d}.png")
        mesh = photo.copy() if on_photo else np.zeros_like(photo)
        mesh[20:60, 20:44] = 100 + number
        if number <= meshes:
            Image.fromarray(mesh).save(folder / f"ours_exp/mica_org/{number:06d}.png")
    with (folder / "ours_exp/final_all.pkl").open("wb") as handle:
        pickle.dump([parameters(FRAMES)], handle)
    return folder


def test_pictures_and_meshes_are_those_of_the_folder(tmp_path: Path) -> None:
    source = show_folder(tmp_path / "split_1")
    card = prepare_dataset([Recording(source)], tmp_path / "out", OPTIONS)
    assert card.clips[0].crop == (0, 0, SIDE, SIDE)
    assert card.frames + card.held_out_frames == FRAMES
    for ours, theirs in (("image", "image"), ("mesh", "ours_exp/mica_org")):
        for name in ("000001.png", "000012.png"):
            np.testing.assert_array_equal(
                read_picture(tmp_path / "out" / ours / name), read_picture(source / theirs / name)
            )


def test_meshes_on_the_photo_are_drawn_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = show_folder(tmp_path / "split_1", on_photo=True)
    with caplog.at_level(logging.WARNING, "anchor"):
        prepare_dataset([Recording(source)], tmp_path / "out", OPTIONS)
    assert "lie on the photo, which no published weights know: they are drawn anew" in caplog.text
    mesh = read_picture(tmp_path / "out/mesh/000003.png")
    assert (mesh[:20, :2] == 0).all()
    assert mesh.any()


def test_splits_become_clips_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        show_folder(tmp_path / f"splits/split_{number}")
    found = expand([Recording(tmp_path, person="ada")])
    assert [one.video.name for one in found] == ["split_1", "split_2", "split_10"]
    assert {one.person for one in found} == {"ada"}
    assert not is_show_folder(tmp_path)
    with pytest.raises(AnchorError, match=r"holds 3 SHOW folders, and matte\.mp4 is given for all of them"):
        expand([Recording(tmp_path, matte=tmp_path / "matte.mp4")])


def test_what_a_folder_may_lack(tmp_path: Path) -> None:
    short = show_folder(tmp_path / "short", meshes=5)
    with pytest.raises(AnchorError, match="has 5 mesh renders for 12 frames: run SHOW again"):
        prepare_dataset([Recording(short)], tmp_path / "out", OPTIONS)
    bare = show_folder(tmp_path / "bare")
    (bare / "ours_exp/final_all.pkl").unlink()
    with pytest.raises(AnchorError, match="holds no parameters of SHOW"):
        prepare_dataset([Recording(bare)], tmp_path / "out", OPTIONS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnchorError, match="holds no pictures: give a video, or a folder"):
        prepare_dataset([Recording(tmp_path / "empty", short / "ours_exp/final_all.pkl")], tmp_path / "out")
