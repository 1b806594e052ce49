"""A video and its motion become a dataset: pictures that belong together, honest lists, runs that go on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anchor_core.body.model import standin_body
from anchor_core.dataset import clip as clip_module
from anchor_core.dataset.card import dataset_hash, read_dataset_card
from anchor_core.dataset.footage import Footage
from anchor_core.dataset.prepare import prepare_dataset
from anchor_core.dataset.recording import PrepareOptions, Recording
from anchor_core.errors import AnchorError
from anchor_core.motion.file import load_motion, save_motion
from anchor_core.render.mesh import to_bytes
from anchor_core.render.motion import render_motion
from anchor_core.training.manifest import read_manifest
from anchor_core.video.read import read_picture

OPTIONS = PrepareOptions(size=128, head_size=64, perturbed=1, accept_misfit=True)
MORE = PrepareOptions(size=64, head_size=64, accept_misfit=True)


def recording(film) -> Recording:
    return Recording(film.video, film.motion_file, "ada")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("0*.png"))}


@pytest.fixture(scope="module")
def prepared(ada, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("data") / "ada"
    card = prepare_dataset([recording(ada)], folder, OPTIONS)
    return folder, card


def test_lists_name_files_that_exist_and_split_in_time(prepared) -> None:
    folder, card = prepared
    assert (card.frames, card.held_out_frames, card.faces, card.held_out_faces) == (18, 2, 18, 2)
    for name, count in (("manifest", 18), ("held_out", 2), ("face", 18), ("face_held_out", 2)):
        assert len(read_manifest(folder / f"{name}.jsonl")) == count
    trained, kept = lines(folder / "manifest.jsonl"), lines(folder / "held_out.jsonl")
    assert [entry["target"] for entry in trained + kept] == [f"image/{n:06d}.png" for n in range(1, 21)]
    assert {entry["person"] for entry in trained} == {"ada"}
    assert all((folder / entry["perturbed"][0]).is_file() for entry in trained + kept)


def test_references_are_other_frames_that_are_trained_on(prepared) -> None:
    folder, _ = prepared
    for names in (("manifest", "held_out"), ("face", "face_held_out")):
        trained, kept = (lines(folder / f"{name}.jsonl") for name in names)
        allowed = {entry["target"] for entry in trained}
        assert {entry["reference"] for entry in trained + kept} <= allowed
        assert all(entry["reference"] != entry["target"] for entry in trained)
        assert len({entry["reference"] for entry in trained}) > 5


def test_mesh_is_drawn_by_the_camera_of_the_crop(prepared, ada) -> None:
    folder, card = prepared
    left, top, width, height = card.clips[0].crop
    assert width == height == 128
    motion = load_motion(folder / "motion" / "ada.npz")
    assert motion.camera.size == (128, 128)
    whole = to_bytes(render_motion(ada.motion.sliced(7, 8), standin_body(), ada.camera).image)[0]
    mesh = read_picture(folder / "mesh/000008.png").astype(int)
    cut = whole[int(top) : int(top + height), int(left) : int(left + width)].astype(int)
    assert np.abs(mesh - cut).mean() < 0.5
    again = to_bytes(render_motion(motion.sliced(7, 8), standin_body()).image)[0].astype(int)
    assert np.abs(mesh - again).max() <= 1


def test_images_are_the_frames_of_the_video(prepared, ada) -> None:
    folder, card = prepared
    left, top, width, height = (int(side) for side in card.clips[0].crop)
    image = read_picture(folder / "image/000008.png").astype(float)
    truth = ada.frames[7, top : top + height, left : left + width].astype(float)
    assert np.abs(image - truth).mean() < 4  # what the codec loses


def test_masks_keep_the_surroundings_and_paint_the_face(prepared) -> None:
    folder, _ = prepared
    mask = read_picture(folder / "head/mask/000008.png")[..., 0]
    assert mask.shape == (64, 64)
    assert mask[0, 0] == 255
    assert mask[34, 32] == 0
    skin = read_picture(folder / "head/image/000008.png")[40, 26:38].mean(axis=0)
    assert skin[0] > skin[2] + 10


def test_perturbed_meshes_are_others_but_near(prepared) -> None:
    folder, _ = prepared
    mesh, other = (read_picture(folder / name / "000008.png").astype(int) for name in ("mesh", "mesh_1"))
    assert 0 < np.abs(mesh - other).mean() < 6


def test_card_tells_what_is_in_the_folder(prepared) -> None:
    folder, card = prepared
    found = read_dataset_card(folder / "manifest.jsonl")
    assert found == card
    assert found.hash == dataset_hash(folder)
    assert found.ranges.n_frames == 18
    assert found.clips[0].faces == 20
    assert found.clips[0].alignment["frames"] == 20
    assert (folder / "alignment.png").is_file()
    assert json.loads((folder / "alignment.json").read_text())["clips"]["ada"]["person_found"] in (
        True,
        False,
    )


def test_hash_knows_pictures_and_lists(prepared, tmp_path: Path) -> None:
    import shutil

    folder, card = prepared
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert dataset_hash(copy) == card.hash
    (copy / "held_out.jsonl").write_text((copy / "held_out.jsonl").read_text().replace("000019", "000018"))
    assert dataset_hash(copy) != card.hash
    shutil.copy(copy / "image/000001.png", copy / "image/000002.png")
    shutil.copy(folder / "held_out.jsonl", copy / "held_out.jsonl")
    assert dataset_hash(copy) != card.hash


class _Stop(Exception):
    pass


def stopping_step(after: int):
    from contextlib import contextmanager

    @contextmanager
    def step(_name, _unit):
        def progress(done, _total, _preview):
            if done >= after:
                raise _Stop

        yield progress

    return step


def test_a_stopped_run_goes_on_and_decodes_the_rest_alone(prepared, ada, tmp_path: Path, monkeypatch) -> None:
    folder, card = prepared
    decoded = []
    frames = Footage.frames

    def counted(self, start=0, stop=None):
        for frame in frames(self, start, stop):
            decoded.append(start)
            yield frame

    monkeypatch.setattr(Footage, "frames", counted)
    out = tmp_path / "ada"
    with pytest.raises(_Stop):
        prepare_dataset([recording(ada)], out, OPTIONS, stopping_step(clip_module.CHUNK))
    assert not (out / "manifest.jsonl").exists()
    assert not (out / "card.json").exists()
    with (out / ".prepare.jsonl").open("a") as handle:
        handle.write('{"clip": "ada", "fra')  # the line that was being written
    (out / "image/000017.png").write_bytes(b"half a picture")
    again = prepare_dataset([recording(ada)], out, OPTIONS)
    assert decoded == [0] * 16 + [16] * 4
    assert pictures(out) == pictures(folder)
    assert again == card
    decoded.clear()
    assert prepare_dataset([recording(ada)], out, OPTIONS) == card
    assert not decoded


def test_pictures_that_a_power_cut_left_empty_are_made_again(
    bob, tmp_path: Path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(clip_module, "CHUNK", 4)
    card = prepare_dataset([recording(bob)], tmp_path / "whole", MORE)
    with pytest.raises(_Stop):
        prepare_dataset([recording(bob)], tmp_path / "cut", MORE, stopping_step(8))
    (tmp_path / "cut/mesh/000007.png").write_bytes(b"")
    assert prepare_dataset([recording(bob)], tmp_path / "cut", MORE) == card
    assert "bob: pictures from frame 4 on are lost and are made again" in caplog.text
    assert pictures(tmp_path / "cut") == pictures(tmp_path / "whole")


def test_a_folder_goes_on_with_the_same_settings_alone(prepared, ada, bob, tmp_path: Path) -> None:
    folder, _ = prepared
    with pytest.raises(
        AnchorError, match=r"was begun with size 128 and this run has 64: go on with the same"
    ):
        prepare_dataset([recording(ada)], folder, replace(OPTIONS, size=64))
    with pytest.raises(AnchorError, match="was begun with the recording 'ada', which this run does not give"):
        prepare_dataset([recording(bob)], folder, OPTIONS)
    (tmp_path / "image").mkdir()
    with pytest.raises(AnchorError, match="holds files that prepare did not write: choose another folder"):
        prepare_dataset([recording(ada)], tmp_path, OPTIONS)


def test_recordings_of_other_people_are_added(ada, bob, tmp_path: Path) -> None:
    prepare_dataset([recording(bob)], tmp_path, MORE)
    card = prepare_dataset([recording(bob), Recording(ada.video, ada.motion_file, "eve")], tmp_path, MORE)
    assert [(clip.name, clip.first, clip.frames) for clip in card.clips] == [("bob", 1, 12), ("ada", 13, 20)]
    assert card.people == ("ada", "eve")
    entries = lines(tmp_path / "manifest.jsonl")
    assert len(entries) == card.frames == 29
    for entry in entries:
        reference = int(entry["reference"][6:12])
        assert (reference > 12) == (entry["person"] == "eve")


def test_a_longer_motion_is_an_error_unless_trimmed(ada, bob, tmp_path: Path) -> None:
    wrong = Recording(bob.video, ada.motion_file)
    message = (
        r"bob\.mp4 has 12 frames \(0\.48 s at 25 fps\) and the motion ada\.npz has 20 \(0\.80 s at 25 fps\)"
    )
    with pytest.raises(AnchorError, match=message):
        prepare_dataset([wrong], tmp_path / "a", MORE)
    assert not (tmp_path / "a").exists()
    card = prepare_dataset([wrong], tmp_path / "b", replace(MORE, trim=True))
    assert card.frames + card.held_out_frames == 12


def test_a_motion_at_another_rate_is_brought_to_the_frames(ada, tmp_path: Path) -> None:
    from anchor_core.motion.edits.time import resample

    faster = tmp_path / "fast.npz"
    save_motion(resample(ada.motion, 50.0), faster)
    prepare_dataset([Recording(ada.video, faster)], tmp_path / "out", MORE)
    motion = load_motion(tmp_path / "out/motion/ada.npz")
    assert (len(motion), motion.fps) == (20, 25.0)
    np.testing.assert_allclose(motion.pose, ada.motion.pose, atol=1e-3)


def test_without_a_person_there_is_a_sentence_and_a_picture(ada, tmp_path: Path) -> None:
    """A still backdrop that flickers in one corner, and a motion that waves."""
    from anchor_core.video.write import write_video

    rng = np.random.default_rng(0)
    empty = np.repeat(ada.frames[:1, :, :60], 20, axis=0).copy()
    empty = np.concatenate([empty, empty, empty, empty], axis=2)[:, :, :224]
    empty[:, :30, :30] = rng.integers(0, 255, (20, 30, 30, 3))
    write_video(tmp_path / "room.mp4", empty, 25.0)
    nobody = Recording(tmp_path / "room.mp4", ada.motion_file)
    with pytest.raises(AnchorError, match=r"room\.mp4: .*alignment/room\.png"):
        prepare_dataset([nobody], tmp_path / "out", replace(MORE, accept_misfit=False))
    assert (tmp_path / "out/alignment/room.png").is_file()
    assert not (tmp_path / "out/card.json").exists()
    assert prepare_dataset([nobody], tmp_path / "out", MORE).frames == 18


def test_a_matte_takes_the_surroundings_away(ada, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "matte").mkdir()
    matte = np.zeros((128, 224), np.uint8)
    matte[:, 80:144] = 255
    for number in range(20):
        Image.fromarray(matte).save(tmp_path / f"matte/{number}.png")
    green = replace(MORE, background=(0, 255, 0), crop=(48, 0, 128, 128))
    shown = Recording(ada.video, ada.motion_file, "ada", tmp_path / "matte")
    card = prepare_dataset([shown], tmp_path / "out", green)
    image = read_picture(tmp_path / "out/image/000005.png")
    assert (image[:, :14] == (0, 255, 0)).all()
    assert not (image[:, 18:46] == (0, 255, 0)).all(axis=2).any()
    assert card.clips[0].alignment["iou"] > 0.1
    (tmp_path / "matte/19.png").unlink()
    with pytest.raises(AnchorError, match=r"the matte .*matte ends before ada\.mp4, which goes on"):
        prepare_dataset([shown], tmp_path / "again", green)


def test_a_full_disk_loses_nothing(bob, tmp_path: Path, monkeypatch) -> None:
    from PIL import Image

    save, left = Image.Image.save, [20]

    def until_full(self, *args, **names):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        save(self, *args, **names)

    with (
        monkeypatch.context() as disk,
        pytest.raises(AnchorError, match=r"\(No space left on device\): free"),
    ):
        disk.setattr(Image.Image, "save", until_full)
        prepare_dataset([recording(bob)], tmp_path, MORE)
    assert len(pictures(tmp_path)) == 20
    assert not [file for file in tmp_path.rglob(".0*")]
    assert prepare_dataset([recording(bob)], tmp_path, MORE).frames == 11


def test_a_video_that_breaks_off(ada, bob, tmp_path: Path, monkeypatch) -> None:
    """Its header promises as many frames as the motion has."""
    from anchor_core.dataset import plan

    opened = plan.open_footage
    monkeypatch.setattr(plan, "open_footage", lambda *args: replace(opened(*args), n_frames=20))
    broken = Recording(bob.video, ada.motion_file)
    with pytest.raises(
        AnchorError, match=r"bob\.mp4 ends after 12 of 20 frames, it is cut off: give the whole"
    ):
        prepare_dataset([broken], tmp_path, MORE)
    card = prepare_dataset([broken], tmp_path, replace(MORE, trim=True))
    assert card.frames + card.held_out_frames == 12
    assert len(load_motion(tmp_path / "motion/bob.npz")) == 12
