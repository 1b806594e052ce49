"""Data sets on disk: a valid manifest, files that exist, the same bytes by seed, clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anchor_core.demo.dataset import CARD, MANIFEST, DatasetSettings, plan_clips, write_dataset
from anchor_core.errors import AnchorError
from anchor_core.motion.camera import Camera

SETTINGS = DatasetSettings(size=64, clip_frames=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("demo")
    write_dataset(path, [0, 3], 12, seed=1, settings=SETTINGS)
    return path


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / MANIFEST).read_text(encoding="utf-8").splitlines()]


def test_manifest_names_files_of_the_right_person(folder: Path) -> None:
    lines = rows(folder)
    assert len(lines) == 12
    person_of = {row["target"]: row["person"] for row in lines}
    for row in lines:
        for key in ("source", "target", "reference"):
            with Image.open(folder / row[key]) as picture:
                assert picture.size == (64, 64)
        assert person_of[row["reference"]] == row["person"]
        assert row["reference"] != row["target"]
    assert {row["person"] for row in lines} == {0, 3}


def test_condition_is_on_black_and_frames_are_not(folder: Path) -> None:
    row = rows(folder)[0]
    mesh, frame = (np.asarray(Image.open(folder / row[key])) for key in ("source", "target"))
    assert mesh[0, 0].sum() == 0
    assert mesh.max() > 150
    assert frame[0, 0].sum() > 0


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path, [0, 3], 12, seed=1, settings=SETTINGS)
    for row in [*rows(folder)[:2], rows(folder)[-1]]:
        for key in ("source", "target"):
            assert (folder / row[key]).read_bytes() == (tmp_path / row[key]).read_bytes()
    assert (folder / MANIFEST).read_bytes() == (tmp_path / MANIFEST).read_bytes()


def test_card_tells_how_it_was_made(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    assert card["n_frames"] == 12
    assert not card["held_out"]
    assert Camera.from_dict(card["camera"]).size == (64, 64)
    assert [person["seed"] for person in card["identities"]] == [0, 3]


def test_clips_share_frames_and_never_a_motion() -> None:
    clips = plan_clips([0, 1, 2], 100, 12, 0)
    assert sum(clip.n_frames for clip in clips) == 100
    assert len({clip.motion_seed for clip in clips}) == len(clips)
    ends = np.cumsum([clip.n_frames for clip in clips])
    assert [clip.first for clip in clips] == [0, *ends[:-1]]


@pytest.mark.parametrize(
    ("people", "n_frames", "size", "message"),
    [([], 10, 64, "no identity"), ([0, 1], 3, 64, "two per person"), ([0], 10, 60, "multiple of 8")],
)
def test_bad_requests_are_named(tmp_path: Path, people, n_frames, size, message) -> None:
    with pytest.raises(AnchorError, match=message):
        write_dataset(tmp_path, people, n_frames, settings=DatasetSettings(size=size))
