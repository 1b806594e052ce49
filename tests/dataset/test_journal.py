"""The journal says what is on the disk, whatever happened to the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from anchor_core.dataset.journal import NAME, Journal, known_crops
from anchor_core.errors import AnchorError

SETTINGS, CLIPS = {"size": 64}, [{"name": "one"}, {"name": "two"}]


def test_states_survive(tmp_path: Path) -> None:
    journal = Journal(tmp_path, SETTINGS, CLIPS)
    journal.begin("one")
    journal.wrote("one", 16, [3, 4])
    journal.wrote("one", 5, [17])
    journal.finished("one", {"score": 0.5})
    journal.begin("two")
    journal.wrote("two", 16, [])
    again = Journal(tmp_path, SETTINGS, CLIPS).clips
    assert again == journal.clips
    assert again["one"].alignment == {"score": 0.5}
    assert again["two"].first == 22
    assert again["two"].alignment is None


@pytest.mark.parametrize("lost", range(1, 40, 6))
def test_a_line_that_was_cut_off_is_as_if_it_never_was(tmp_path: Path, lost: int) -> None:
    journal = Journal(tmp_path, SETTINGS, CLIPS)
    journal.begin("one")
    journal.wrote("one", 16, [])
    journal.wrote("one", 16, [20, 21])
    text = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(text[:-lost])
    again = Journal(tmp_path, SETTINGS, CLIPS)
    assert again.clips["one"].frames == 16
    again.wrote("one", 16, [20, 21])
    assert (tmp_path / NAME).read_bytes() == text


def test_clips_may_be_added_and_not_changed(tmp_path: Path) -> None:
    Journal(tmp_path, SETTINGS, CLIPS)
    Journal(tmp_path, SETTINGS, [*CLIPS, {"name": "three"}])
    with pytest.raises(AnchorError, match="was begun with the recording 'three'"):
        Journal(tmp_path, SETTINGS, CLIPS)


def test_a_damaged_journal(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("what\n")
    with pytest.raises(AnchorError, match=r"\.prepare\.jsonl is damaged"):
        Journal(tmp_path, SETTINGS, CLIPS)


def test_a_full_disk(tmp_path: Path, monkeypatch) -> None:
    journal = Journal(tmp_path, SETTINGS, CLIPS)
    journal.begin("one")

    def full(*_args, **_names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(AnchorError, match=r"cannot be written \(No space left on device\): free space, then"):
        journal.wrote("one", 16, [])


def test_crops_of_what_is_there(tmp_path: Path) -> None:
    assert known_crops(tmp_path) == {}
    Journal(tmp_path, SETTINGS, [{"name": "one", "crop": [1.0, 2.0, 64.0, 64.0]}])
    assert known_crops(tmp_path) == {"one": (1.0, 2.0, 64.0, 64.0)}
    (tmp_path / NAME).write_text("what")
    assert known_crops(tmp_path) == {}
