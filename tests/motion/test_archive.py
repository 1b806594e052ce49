"""Archives of strangers: limits, damage, objects."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion.archive import archive_keys, read_archive, read_npy


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


def npy(text: bytes, body: bytes = b"") -> bytes:
    """An .npy file with any header."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


BAD_HEADERS = {
    "cut": b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 265\n",
    "nested": b"[" * 5000 + b"\n",
    "overflow": b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999, 265), }\n",
    "huge": b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000, 265), }\n",
    "long": b" " * 20_000,
    "code": b"__import__('os').system('touch ran')\n",
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_any_header_is_refused_in_one_sentence(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy(header))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", npy(header))
    with pytest.raises(
        AnchorError, match=r"a\.npy is not a whole \.npy file of numbers .*: copy or download"
    ):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(AnchorError, match=r"a\.npz is damaged at 'a' .*: copy or download it again"):
        read_archive(tmp_path / "a.npz", ["a"])


def test_npy_larger_than_the_limit(tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", np.zeros(1000))
    with pytest.raises(AnchorError, match=r"big\.npy has 0\.0 GB and the limit is 0\.0 GB: give one clip"):
        read_npy(tmp_path / "big.npy", max_bytes=1000)


@pytest.mark.parametrize(("local", "central", "bits"), [(6, 8, 1), (8, 10, 97)], ids=["encrypted", "method"])
def test_archive_of_another_kind(local: int, central: int, bits: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[data.index(b"PK\x03\x04") + local] = bits
    data[data.index(b"PK\x01\x02") + central] = bits
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(AnchorError, match=r"a\.npz is damaged at 'a'"):
        read_archive(tmp_path / "a.npz", ["a"])


def test_archive_behind_other_bytes(tmp_path: Path) -> None:
    """zipfile reads it, numpy would take it for a pickle."""
    np.savez(tmp_path / "a.npz", a=np.arange(3))
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(b"PK??" + data[4:])
    with pytest.raises(AnchorError, match=r"a\.npz is damaged at 'a'"):
        read_archive(tmp_path / "a.npz", ["a"])
