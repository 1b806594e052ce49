"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from anchor_core import files
from anchor_core.errors import AnchorError
from anchor_core.files import atomic_path, check_writable


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
        partial.chmod(0o600)  # as safetensors leaves its files
    (tmp_path / "plain.json").write_text("{}")
    assert (tmp_path / "card.json").stat().st_mode == (tmp_path / "plain.json").stat().st_mode


def test_what_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, words in (
        (tmp_path, "a folder has this name"),
        (tmp_path / "file" / "new" / "take.mp4", "file is no folder"),
        (tmp_path / ("a" * 300), "the name is longer than 255 bytes"),
    ):
        with pytest.raises(AnchorError, match=rf"cannot be written \(.*{words}\): choose another file name"):
            check_writable(path)
    check_writable(tmp_path / "new" / "folder" / "take.mp4")
    check_writable(tmp_path / "file")


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(AnchorError, match="may not be written in"):
        check_writable(tmp_path / "take.mp4")


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    message = r"take\.mp4 cannot be written \(No space left on device\): free space"
    with pytest.raises(AnchorError, match=message), atomic_path(tmp_path / "take.mp4") as partial:
        partial.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []


def test_a_name_of_the_greatest_length(tmp_path: Path) -> None:
    with atomic_path(tmp_path / ("a" * 251 + ".mp4")) as partial:
        partial.write_bytes(b"whole")
    assert len(os.listdir(tmp_path)) == 1


@pytest.mark.parametrize("times", [2, 99])
def test_a_file_that_windows_holds_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    tries: list[Path] = []
    replace = os.replace

    def held(source: Path, target: Path) -> None:
        tries.append(source)
        if len(tries) <= times:
            raise PermissionError(errno.EACCES, "in use")
        replace(source, target)

    monkeypatch.setattr(files, "_ON_WINDOWS", True)
    monkeypatch.setattr(files, "_WAITS_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(os, "replace", held)
    expected = pytest.raises(AnchorError, match="in use") if times > 3 else nullcontext()
    with expected, atomic_path(tmp_path / "a.png") as partial:
        partial.write_bytes(b"whole")
    assert os.listdir(tmp_path) == ([] if times > 3 else ["a.png"])
