"""Faces cut out of a filmed folder: a manifest that the trainer reads, masks that keep what is around."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from anchor_core.body import standin_body
from anchor_core.demo import faces as module
from anchor_core.demo.dataset import CARD, MANIFEST, Clip, DatasetSettings, clip_motion, write_dataset
from anchor_core.demo.faces import FOLDER, write_faces
from anchor_core.errors import AnchorError
from anchor_core.face.align import FFHQ
from anchor_core.face.track import FaceTrack, track_motion
from anchor_core.face.warp import warp_to_crops
from anchor_core.motion import Camera
from anchor_core.training.data import Pictures, load_pictures
from anchor_core.training.manifest import Sample, read_manifest
from anchor_core.video.read import read_picture

CROP = 64
SETTINGS = DatasetSettings(size=128, clip_frames=3)


def darker(source: Path) -> Callable[[Tensor], Tensor]:
    """A body pass that gives the filmed frames at half their brightness; checks what it is given."""
    frames, meshes = (
        [read_picture(file) for file in sorted((source / name).iterdir())] for name in ("frame", "mesh")
    )
    done = 0

    def body_pass(mesh: Tensor) -> Tensor:
        nonlocal done
        own = slice(done, done + len(mesh))
        assert mesh.dtype == torch.uint8
        assert np.array_equal(mesh.numpy(), np.stack(meshes[own]))
        done += len(mesh)
        return torch.from_numpy(np.stack(frames[own])).float() / 510

    return body_pass


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, two clips of three frames and of one each."""
    path = tmp_path_factory.mktemp("film")
    write_dataset(path, [0, 3], 8, seed=1, settings=SETTINGS)
    return path


@pytest.fixture
def copy(film: Path, tmp_path: Path) -> Path:
    """The film without faces."""
    return shutil.copytree(film, tmp_path / "film")


@pytest.fixture(scope="module")
def source(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The film with faces."""
    path = shutil.copytree(film, tmp_path_factory.mktemp("faces") / "film")
    write_faces(path, CROP, darker(path))
    return path


@pytest.fixture(scope="module")
def samples(source: Path) -> list[Sample]:
    return read_manifest(source / FOLDER / MANIFEST)


@pytest.fixture(scope="module")
def pictures(source: Path) -> Pictures:
    return load_pictures(source / FOLDER / MANIFEST)


@pytest.fixture(scope="module")
def tracks(source: Path) -> list[FaceTrack]:
    card = json.loads((source / CARD).read_text(encoding="utf-8"))
    camera = Camera.from_dict(card["camera"])
    motions = [clip_motion(Clip(**clip), SETTINGS)[1] for clip in card["clips"]]
    return [track_motion(motion, standin_body(), camera, crop_size=CROP) for motion in motions]


def test_manifest_has_a_line_for_every_frame_with_a_face(samples: list[Sample], source: Path) -> None:
    assert len(samples) == 8
    names = [f"{number:06d}.png" for number in range(8)]
    for part, folder in (("source", "mesh"), ("target", "frame"), ("mask", "mask"), ("context", "body")):
        assert [getattr(sample, part) for sample in samples] == [
            source / FOLDER / folder / name for name in names
        ]
    rows = [json.loads(line) for line in (source / MANIFEST).read_text(encoding="utf-8").splitlines()]
    assert [sample.clip for sample in samples] == [str(row["clip"]) for row in rows]
    assert [sample.reference.name for sample in samples] == [Path(row["reference"]).name for row in rows]
    assert all(sample.reference.parent == source / FOLDER / "frame" for sample in samples)


def test_trainer_reads_the_pictures(pictures: Pictures) -> None:
    assert pictures.target.shape == pictures.source.shape == (8, CROP, CROP, 3)
    assert pictures.reference.shape[1:] == (CROP, CROP, 3)
    assert pictures.mask is not None
    assert pictures.context is not None
    assert pictures.mask.shape == (8, CROP, CROP)
    assert pictures.context.shape == (8, CROP, CROP, 3)


def test_masks_keep_the_surroundings_and_not_the_face(pictures: Pictures) -> None:
    """255 is kept: the corners. The five points of the face are painted: 0."""
    assert pictures.mask is not None
    assert set(np.unique(pictures.mask)) == {0, 255}
    x, y = ((FFHQ + 0.5) * CROP / 512 - 0.5).round().long().T.numpy()
    assert not pictures.mask[:, y, x].any()
    assert (pictures.mask[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert 0.5 < (pictures.mask == 255).mean() < 0.85


def test_crops_are_those_of_the_track(pictures: Pictures, tracks: list[FaceTrack], source: Path) -> None:
    """Mesh, mask and frame of the motion that an estimator reads, at the same place."""
    assert pictures.mask is not None
    number = 0
    for track in tracks:
        assert np.array_equal(pictures.source[number : number + len(track)], track.mesh.numpy())
        assert np.array_equal(pictures.mask[number : number + len(track)], 255 - track.mask.numpy())
        for matrix in track.crop_matrices:
            frame = torch.from_numpy(read_picture(source / "frame" / f"{number:06d}.png"))
            expected = warp_to_crops(frame[None], matrix[None], CROP)[0] * 255
            assert np.abs(pictures.target[number] - expected.numpy()).max() <= 0.51
            number += 1
    assert number == len(pictures)


def test_context_is_what_the_body_pass_makes(pictures: Pictures) -> None:
    assert pictures.context is not None
    difference = pictures.context.astype(float) - pictures.target / 2
    assert np.abs(difference).max() <= 1.01
    assert pictures.context.std() > 5


def test_same_arguments_give_the_same_bytes(source: Path, copy: Path) -> None:
    write_faces(copy, CROP, darker(copy))
    for file in (source / FOLDER).rglob("*.*"):
        assert file.read_bytes() == (copy / FOLDER / file.relative_to(source / FOLDER)).read_bytes()


def test_progress_counts_frames(copy: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_faces(copy, 32, darker(copy), lambda done, total, _: seen.append((done, total)))
    assert seen == [(3, 8), (4, 8), (7, 8), (8, 8)]


def blind(monkeypatch: pytest.MonkeyPatch, frames: slice) -> None:
    """Let the track lose these frames of every clip."""
    true_track = module.track_motion

    def blinded(*args: object, **options: object) -> FaceTrack:
        track = true_track(*args, **options)  # type: ignore[arg-type]
        hidden = list(track.hidden)
        hidden[frames] = ["covered"] * len(hidden[frames])
        return replace(track, hidden=tuple(hidden))

    monkeypatch.setattr(module, "track_motion", blinded)


def test_frames_without_a_face_are_left_out(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their numbers stay free, and who referred to one of them refers to itself."""
    blind(monkeypatch, slice(0, 1))
    samples = read_manifest(write_faces(copy, 32, darker(copy)))
    rows = [json.loads(line) for line in (copy / MANIFEST).read_text(encoding="utf-8").splitlines()]
    shown = [1, 2, 5, 6]
    assert [int(sample.target.stem) for sample in samples] == shown
    for sample, number in zip(samples, shown, strict=True):
        wanted = int(Path(rows[number]["reference"]).stem)
        assert int(sample.reference.stem) == (wanted if wanted in shown else number)


def test_broken_off_it_leaves_no_manifest(copy: Path) -> None:
    """Also none of an earlier call: its crops may have had another size."""
    write_faces(copy, 32, darker(copy))
    work, calls = darker(copy), []

    def fails(mesh: Tensor) -> Tensor:
        calls.append(len(mesh))
        if len(calls) == 3:
            raise RuntimeError("the disk is full")
        return work(mesh)

    with pytest.raises(RuntimeError, match="the disk is full"):
        write_faces(copy, 64, fails)
    assert not (copy / FOLDER / MANIFEST).exists()
    write_faces(copy, 64, darker(copy))
    assert len(load_pictures(copy / FOLDER / MANIFEST)) == 8


def test_a_film_without_any_face_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blind(monkeypatch, slice(None))
    message = "shows a face that is large enough to cut out: film at a larger size"
    with pytest.raises(AnchorError, match=message):
        write_faces(copy, 32, darker(copy))
    assert not (copy / FOLDER / MANIFEST).exists()
