"""Splits and references."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anchor_core.dataset.lists import Shot, write_lists
from anchor_core.errors import AnchorError

ADA = Shot("one", "ada", 1, 20, tuple(range(5, 21)))
BOB = Shot("two", "bob", 21, 10, (25,))


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_clip_gives_its_end(tmp_path: Path) -> None:
    counts = write_lists(tmp_path, [ADA, BOB], 0.1, 0, 2)
    assert counts == {"manifest.jsonl": 27, "held_out.jsonl": 3, "face.jsonl": 14, "face_held_out.jsonl": 2}
    kept = [entry["target"] for entry in read(tmp_path / "held_out.jsonl")]
    assert kept == ["image/000019.png", "image/000020.png", "image/000030.png"]
    first = read(tmp_path / "manifest.jsonl")[0]
    assert first["perturbed"] == ["mesh_1/000001.png", "mesh_2/000001.png"]


def test_a_single_face_has_no_other_as_its_reference(tmp_path: Path) -> None:
    write_lists(tmp_path, [ADA, BOB], 0.1, 0, 0)
    assert {entry["person"] for entry in read(tmp_path / "face.jsonl")} == {"ada"}


def test_lists_without_lines_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "face.jsonl").write_text("of an earlier run")
    write_lists(tmp_path, [BOB], 0.0, 0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]


def test_references_cover_the_training_evenly_and_follow_the_seed(tmp_path: Path) -> None:
    long = Shot("one", "ada", 1, 4000, ())
    pools = []
    for seed in (0, 0, 1):
        write_lists(tmp_path, [long], 0.5, seed, 0)
        entries = read(tmp_path / "manifest.jsonl") + read(tmp_path / "held_out.jsonl")
        pools.append([int(entry["reference"][6:12]) for entry in entries])
    assert pools[0] == pools[1] != pools[2]
    assert max(pools[0]) <= 2000
    assert all(reference != number for number, reference in enumerate(pools[0], start=1))
    halves = [sum(reference <= 1000 for reference in pools[0]), sum(r > 1000 for r in pools[0])]
    assert halves == pytest.approx([2000, 2000], rel=0.1)


def test_somebody_with_one_frame(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="bob has 1 frames to train on: at least 2 are needed"):
        write_lists(tmp_path, [ADA, Shot("two", "bob", 21, 2, ())], 0.5, 0, 0)
