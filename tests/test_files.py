"""Files are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anchor_core.files import atomic_path


def test_file_appears_only_when_whole(tmp_path: Path) -> None:
    final = tmp_path / "new" / "take.mp4"
    with atomic_path(final) as partial:
        partial.write_bytes(b"whole")
        assert partial.suffix == ".mp4"
        assert not final.exists()
    assert final.read_bytes() == b"whole"
    assert os.listdir(final.parent) == ["take.mp4"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_an_older_file_survives_an_error(tmp_path: Path, stop: type[BaseException]) -> None:
    final = tmp_path / "take.mp4"
    final.write_bytes(b"older")
    with pytest.raises(stop), atomic_path(final) as partial:
        partial.write_bytes(b"ha")
        raise stop
    assert final.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["take.mp4"]


def test_the_mode_is_the_users_own(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "card.json") as partial:
        partial.write_text("{}")
    (tmp_path / "plain.json").write_text("{}")
    assert (tmp_path / "card.json").stat().st_mode == (tmp_path / "plain.json").stat().st_mode
