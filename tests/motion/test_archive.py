"""Archives of strangers: limits, damage, objects."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion.archive import archive_keys, read_archive


def test_reads_named_members_only(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.arange(3), bad=np.array([{}], dtype=object))
    assert archive_keys(tmp_path / "a.npz") == ["a", "bad"]
    found = read_archive(tmp_path / "a.npz", ["a", "absent"])
    assert list(found) == ["a"]


def test_limit_counts_decompressed_bytes(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(3_000_000))
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    with pytest.raises(AnchorError, match=r"bomb\.npz would take 0\.0 GB of memory .* the limit is 0\.0 GB"):
        read_archive(tmp_path / "bomb.npz", ["a"], max_bytes=1_000_000)


def test_header_that_lies_about_its_size(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }"
        text += b" " * (117 - len(text)) + b"\n"
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(AnchorError, match=r"lie\.npz is damaged at 'a'"):
        read_archive(tmp_path / "lie.npz", ["a"])


def test_flipped_bytes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(1000))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[2000:2010] = b"x" * 10
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(AnchorError, match=r"a\.npz is damaged at 'a' .*: copy or download it again"):
        read_archive(tmp_path / "a.npz", ["a"])
