"""The face pass on the command line: when it runs, what it says, and crops for the reference."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anchor_core.anchor.file import load_anchor, save_anchor
from anchor_core.anchor.use import camera_of
from anchor_core.body.model import standin_body
from anchor_core.cli.main import main
from anchor_core.cli.options import DEMO_MOTION
from anchor_core.face.align import FFHQ
from anchor_core.face.track import TrackOptions, track_motion
from anchor_core.motion.file import save_motion
from anchor_core.motion.place import place_motion
from anchor_core.motion.read import read_motion
from anchor_core.render.motion import render_motion
from anchor_core.video.write import write_video

from ..anchor import models

SHORT = ["--frames", "4", "--steps", "1", "--window-size", "4", "--overlap", "1", "--guidance-scale", "1"]


def generate(anchor: Path, out: Path, *options: object) -> int:
    files = ["--anchor", anchor, "--motion", DEMO_MOTION, "--out", out]
    return main(["generate", *map(str, files), *SHORT, *map(str, options)])


def facts_of(video: Path) -> dict[str, Any]:
    av = pytest.importorskip("av")
    with av.open(str(video)) as container:
        facts: dict[str, Any] = json.loads(container.metadata["comment"])
    return facts


def test_an_anchor_with_a_face_network_paints_faces(
    face_anchor_file: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "ada.mp4"
    assert generate(face_anchor_file, out, "--seed", 5, "--face-steps", 1, "--face-smoothing", 0) == 0
    facts = facts_of(out)
    assert (facts["face"]["settings"]["steps"], facts["face"]["settings"]["seed"]) == (1, 5)
    assert (facts["face"]["painted"], facts["face"]["blend"]["mode"]) == (4, "face")
    assert facts["face"]["track"]["smoothing"] == 0
    assert "4 faces painted\n" in capsys.readouterr().out
    with_face = Image.open(out.with_suffix(".png")).height
    assert generate(face_anchor_file, out, "--face", "off") == 0
    assert facts_of(out)["face"] is None
    assert with_face > 2.5 * Image.open(out.with_suffix(".png")).height


def test_one_by_one_needs_no_other_option(face_anchor_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "ada.mp4"
    options = ["--face-window-size", 1, "--face-blend", "square", "--face-posterior", "sample"]
    assert generate(face_anchor_file, out, *options) == 0
    face = facts_of(out)["face"]
    assert (face["settings"]["window_size"], face["settings"]["overlap"]) == (1, 0)
    assert (face["blend"]["mode"], face["posterior"]) == ("square", "sample")


def test_auto_leaves_faces_alone_where_there_is_no_network(anchor_file: Path, tmp_path: Path) -> None:
    assert generate(anchor_file, tmp_path / "ada.mp4") == 0
    assert facts_of(tmp_path / "ada.mp4")["face"] is None


def test_auto_says_what_is_missing_and_goes_on(tmp_path: Path, caplog: Any) -> None:
    save_anchor(models.tiny_face_anchor(face_reference=None), tmp_path / "bare.safetensors")
    assert generate(tmp_path / "bare.safetensors", tmp_path / "bare.mp4") == 0
    assert facts_of(tmp_path / "bare.mp4")["face"] is None
    assert "'Ada' has a face network and no reference picture of the face" in caplog.text


REFUSED = [
    (["--face", "on"], "the anchor 'Ada' holds no face network and the face pass needs one"),
    (["--face-steps", "3"], "--face-steps is given and there is no face pass, for 'Ada' holds no face"),
    (
        ["--face", "off", "--face-blend", "crop"],
        "--face-blend is given and there is no face pass, for --face",
    ),
]


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=[" ".join(options) for options, _ in REFUSED])
def test_a_pass_that_cannot_run_is_refused(
    options: list[str], words: str, anchor_file: Path, tmp_path: Path, capsys: Any
) -> None:
    assert generate(anchor_file, tmp_path / "ada.mp4", *options) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "rendering" not in said
    assert list(tmp_path.iterdir()) == []


BAD = [
    (["--face-steps", "0"], "steps is 0"),
    (["--face-overlap", "4"], "overlap"),
    (["--face-smoothing", "-1"], "smoothing of the face track is -1"),
    (["--face-appearance", "missing.png"], "missing.png"),
]


@pytest.mark.parametrize(("options", "words"), BAD, ids=[options[0] for options, _ in BAD])
def test_bad_options_are_one_sentence(
    options: list[str], words: str, face_anchor_file: Path, tmp_path: Path, capsys: Any
) -> None:
    assert generate(face_anchor_file, tmp_path / "ada.mp4", *options) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    assert words in message


def test_a_reference_of_the_face_is_square(face_anchor_file: Path, tmp_path: Path, capsys: Any) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "wide.png")
    assert generate(face_anchor_file, tmp_path / "ada.mp4", "--face-appearance", tmp_path / "wide.png") == 1
    assert "has 40 x 30 pixels and a reference of the face is an aligned crop" in capsys.readouterr().err


def test_info_tells_whether_faces_can_be_painted(
    anchor_file: Path, face_anchor_file: Path, tmp_path: Path, capsys: Any
) -> None:
    without = tmp_path / "without.safetensors"
    save_anchor(models.tiny_face_anchor(face_reference=None), without)
    said = {}
    for path in (anchor_file, face_anchor_file, without):
        assert main(["info", str(path)]) == 0
        said[path] = json.loads(capsys.readouterr().out)
    assert said[anchor_file]["face_pass"] == "none: there is no face network"
    assert said[anchor_file]["face"] is None
    assert said[face_anchor_file]["face_pass"] == "ready"
    assert said[face_anchor_file]["face"]["crop_size"] == 32
    assert {"face.unet", "face_reference"} <= set(said[face_anchor_file]["parts"])
    assert said[without]["face_pass"].startswith("not ready: store a crop of the face")


def test_convert_stores_pictures(face_anchor_file: Path, tmp_path: Path) -> None:
    pictures = {name: tmp_path / f"{name}.png" for name in ("reference", "face_reference")}
    for level, path in enumerate(pictures.values()):
        Image.new("RGB", (8, 8), (level, 10, 20)).save(path)
    out = tmp_path / "new.safetensors"
    options = ["--reference", pictures["reference"], "--face-reference", pictures["face_reference"]]
    assert main(["convert", *map(str, [face_anchor_file, *options, "--out", out])]) == 0
    anchor = load_anchor(out)
    assert anchor.reference[0, 0].tolist() == [0, 10, 20]
    assert anchor.face_reference[0, 0].tolist() == [1, 10, 20]


def test_convert_reads_published_heads(goldens: Path, tmp_path: Path, capsys: Any) -> None:
    for stage, source in (("body", "tiny4"), ("head", "face4")):
        (tmp_path / "ada" / stage).mkdir(parents=True)
        for part in ("unet", "controlnet"):
            (tmp_path / "ada" / stage / part).symlink_to(goldens / "models" / source / part)
    Image.new("RGB", (8, 8)).save(tmp_path / "face.png")
    out = tmp_path / "ada.safetensors"
    options = ["--face-reference", tmp_path / "face.png", "--out", out]
    assert main(["convert", *map(str, [tmp_path / "ada", *options])]) == 0
    capsys.readouterr()
    assert main(["info", str(out)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["face_pass"] == "ready"
    assert (facts["face"]["guidance_scale"], facts["face"]["mesh"]) == (3.5, "warped")


# face-crop


def pattern(size: tuple[int, int] = (200, 160)) -> np.ndarray:
    """A smooth picture (H, W, 3) uint8 whose colours tell the place."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x, y, np.full_like(x, 7)], axis=-1).astype(np.uint8)


def face_crop(out: Path, *options: object) -> int:
    return main(["face-crop", *map(str, options), "--out", str(out)])


POINTS = "80,60 110,62 95,80 82,95 108,96"


def test_points_cut_out_what_lies_between_them(tmp_path: Path, capsys: Any) -> None:
    Image.fromarray(pattern()).save(tmp_path / "frame.png")
    shift, scale = np.array([60.0, 40.0]), 80 / 512
    points = FFHQ.numpy() * scale + shift
    text = " ".join(f"{x},{y}" for x, y in points)
    out = tmp_path / "face.png"
    assert face_crop(out, tmp_path / "frame.png", "--points", text, "--size", 64) == 0
    crop = np.asarray(Image.open(out)).astype(float)
    assert crop.shape == (64, 64, 3)
    for column, row in ((10, 20), (32, 32), (60, 50)):  # centres at whole numbers, in both pictures
        place = ((np.array([column, row]) + 0.5) * 8 - 0.5) * scale + shift
        assert np.abs(crop[row, column, :2] - place).max() <= 0.51
    assert "64 x 64 pixels, from a square of 80" in capsys.readouterr().out


def test_a_motion_tells_where_the_face_is(face_anchor_file: Path, motion_file: Path, tmp_path: Path) -> None:
    """Cut from the mesh render itself, with the motion's own camera and as the anchor sits."""
    card = load_anchor(face_anchor_file).card
    motion = place_motion(read_motion(motion_file).sliced(0, 3), camera_of(card), None)
    mesh = render_motion(motion, standin_body(), size=(144, 128)).image.mul(255).byte().numpy()
    Image.fromarray(mesh[2]).save(tmp_path / "frame.png")
    save_motion(motion, tmp_path / "placed.npz")
    crops = []
    for options in (
        ["--motion", tmp_path / "placed.npz"],
        ["--motion", motion_file, "--anchor", face_anchor_file],
    ):
        out = tmp_path / "face.png"
        assert face_crop(out, tmp_path / "frame.png", *options, "--frame", 2, "--size", 64) == 0
        crops.append(np.asarray(Image.open(out)).astype(int))
    assert np.abs(crops[0] - crops[1]).max() <= 1
    drawn = track_motion(
        motion, standin_body(), size=(144, 128), crop_size=64, options=TrackOptions(smoothing=0)
    )
    assert np.abs(crops[0] - drawn.mesh[2].numpy()).mean() < 12  # the same, softer


def test_a_frame_of_a_video(tmp_path: Path) -> None:
    pytest.importorskip("av")
    frames = [np.full((160, 200, 3), level, np.uint8) for level in (40, 120, 200)]
    write_video(tmp_path / "clip.mp4", frames, 25)
    options = ["--video", tmp_path / "clip.mp4", "--points", POINTS]
    assert face_crop(tmp_path / "face.png", *options, "--frame", 1) == 0
    assert abs(int(np.asarray(Image.open(tmp_path / "face.png")).mean()) - 120) <= 2


def test_a_crop_is_a_reference(face_anchor_file: Path, tmp_path: Path) -> None:
    Image.fromarray(pattern()).save(tmp_path / "frame.png")
    crop = tmp_path / "face.png"
    assert face_crop(crop, tmp_path / "frame.png", "--points", POINTS) == 0
    assert generate(face_anchor_file, tmp_path / "ada.mp4", "--face-appearance", crop) == 0


BAD_CROPS = [
    ([], "one picture is needed"),
    (["{picture}"], "the place of the face is needed: give --points (left eye"),
    (["{picture}", "--video", "x.mp4", "--points", POINTS], "one picture is needed"),
    (["{picture}", "--points", POINTS, "--motion", "{motion}"], "the place of the face is needed"),
    (["{picture}", "--points", "1,2 3,4"], "is not five points"),
    (["{picture}", "--points", POINTS.replace("80", "left")], "is not five points"),
    (["{picture}", "--points", "110,62 80,60 95,80 108,96 82,95"], "do not lie as those of a face"),
    (["{picture}", "--points", "5,5 5,5 5,5 5,5 5,5"], "five different points are needed"),
    (["{picture}", "--points", "80,60 110,62 95,80 82,95 108,nan"], "not finite"),
    (
        ["{picture}", "--points", "880,60 910,62 895,80 882,95 908,96"],
        "lies outside the picture of 200 x 160",
    ),
    (["{picture}", "--points", POINTS, "--size", "100"], "need a multiple of 8"),
    (["{picture}", "--points", POINTS, "--frame", "-1"], "--frame is -1"),
    (["{picture}", "--motion", "{motion}", "--frame", "99999"], "--frame 99999 lies outside the motion's"),
    (["missing.png", "--points", POINTS], "missing.png"),
]


@pytest.mark.parametrize(("options", "words"), BAD_CROPS, ids=range(len(BAD_CROPS)))
def test_bad_crops_are_one_sentence(
    options: list[str], words: str, motion_file: Path, tmp_path: Path, capsys: Any
) -> None:
    picture = tmp_path / "frame.png"
    Image.fromarray(pattern()).save(picture)
    filled = [option.format(picture=picture, motion=motion_file) for option in options]
    assert face_crop(tmp_path / "face.png", *filled) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    assert words in message
    assert not (tmp_path / "face.png").exists()


def test_a_motion_without_a_camera_does_not_guess(motion_file: Path, tmp_path: Path, capsys: Any) -> None:
    save_motion(replace(read_motion(motion_file).sliced(0, 2), camera=None), tmp_path / "blind.npz")
    Image.fromarray(pattern()).save(tmp_path / "frame.png")
    options = [tmp_path / "frame.png", "--motion", tmp_path / "blind.npz"]
    assert face_crop(tmp_path / "face.png", *options) == 1
    assert "has no camera, so nothing tells where its face is" in capsys.readouterr().err


def test_the_picture_is_never_written_over(tmp_path: Path, capsys: Any) -> None:
    picture = tmp_path / "face.png"
    Image.fromarray(pattern()).save(picture)
    assert face_crop(picture, picture, "--points", POINTS) == 1
    assert "would be written over" in capsys.readouterr().err
