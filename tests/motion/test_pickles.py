"""The pickle reader builds arrays and tensors and runs nothing."""

from __future__ import annotations

import collections
import contextlib
import gzip
import io
import os
import pickle
import subprocess
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.motion.pickles import read_pickle


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def write(path: Path, content: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_arrays_scalars_and_containers(protocol: int, tmp_path: Path) -> None:
    content = [
        collections.OrderedDict(
            a=np.arange(6.0).reshape(2, 3),
            b=np.float32(2.5),
            fortran=np.asfortranarray(np.arange(4).reshape(2, 2)),
            text="x",
            nested={"n": (1, None, True)},
        )
    ]
    (found,) = read_pickle(write(tmp_path / "a.pkl", content, protocol))
    np.testing.assert_array_equal(found["a"], content[0]["a"])
    np.testing.assert_array_equal(found["fortran"], content[0]["fortran"])
    assert found["b"] == 2.5
    assert found["text"] == "x"
    assert found["nested"] == {"n": (1, None, True)}


def test_reads_tensors(tmp_path: Path) -> None:
    tensor = torch.arange(12.0).reshape(3, 4)
    found = read_pickle(write(tmp_path / "t.pkl", {"whole": tensor, "part": tensor[1:, ::2]}, 2))
    assert torch.equal(found["whole"], tensor)
    assert torch.equal(found["part"], tensor[1:, ::2])


@pytest.mark.parametrize("function", [os.system, eval, exec, open, subprocess.Popen, getattr, torch.load])
@pytest.mark.parametrize("protocol", [2, 4])
def test_hostile_pickle_runs_nothing_and_is_named(function: Any, protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = write(tmp_path / "bad.pkl", {"pose": Call(function, f"touch {mark}")}, protocol)
    with pytest.raises(AnchorError, match=rf"bad.pkl was not opened because .*{function.__name__}'"):
        read_pickle(path)
    assert not mark.exists()


def test_pickle_inside_a_tensor_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    inner = pickle.dumps(Call(os.system, f"touch {mark}"), protocol=2)
    path = write(tmp_path / "bad.pkl", Call(torch.storage._load_from_bytes, inner))
    with pytest.raises(AnchorError, match=r"bad\.pkl"):
        read_pickle(path)
    assert not mark.exists()


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "o.pkl", {"a": np.array([{}, None], dtype=object)})
    with pytest.raises(AnchorError, match="an array of Python objects"):
        read_pickle(path)


def test_huge_arrays_cannot_be_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "huge.pkl", Call(np.ndarray, (10**13,)))
    with pytest.raises(AnchorError, match="an array without data"):
        read_pickle(path)


def test_repeated_tensor_of_any_size_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "huge.pkl", torch.zeros(1).expand(10**13), 2)
    with pytest.raises(AnchorError, match="a tensor larger than the limit"):
        read_pickle(path)


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_tensor_outside_of_its_storage_is_refused(tmp_path: Path) -> None:
    rebuild = torch._utils._rebuild_tensor_v2
    bad = Call(rebuild, torch.zeros(4).storage(), 0, (100,), (1,), False, collections.OrderedDict())
    with pytest.raises(AnchorError, match="is not a whole pickle"):
        read_pickle(write(tmp_path / "bad.pkl", bad, 2))


@pytest.mark.parametrize("keep", [1, 20, -1])
def test_truncated_pickle(keep: int, tmp_path: Path) -> None:
    data = pickle.dumps({"a": np.zeros(100)})
    (tmp_path / "cut.pkl").write_bytes(data[:keep])
    with pytest.raises(AnchorError, match=r"cut\.pkl is not a whole pickle .*: copy or download it again"):
        read_pickle(tmp_path / "cut.pkl")


def test_size_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "big.pkl", {"a": np.zeros(1000)})
    with pytest.raises(AnchorError, match="the limit is"):
        read_pickle(path, max_bytes=1000)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_other_byte_order(protocol: int, tmp_path: Path) -> None:
    content = {"a": np.arange(3, dtype=">f4"), "b": np.arange(3, dtype=">i8"), "c": np.arange(3.0)}
    found = read_pickle(write(tmp_path / "big_endian.pkl", content, protocol))
    for key, array in content.items():
        np.testing.assert_array_equal(found[key], array)


def test_a_deep_tuple_as_key_does_not_crash(tmp_path: Path) -> None:
    (tmp_path / "deep.pkl").write_bytes(b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s.")
    with pytest.raises(AnchorError, match="a tuple as key of a dictionary"):
        read_pickle(tmp_path / "deep.pkl")


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02Nr" + (2**32 - 1).to_bytes(4, "little") + b".",
        b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"x.",
        b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"N.",
        b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.",
    ],
    ids=["memo", "bytearray", "frame", "bytes"],
)
def test_a_number_in_the_file_takes_no_memory(program: bytes, tmp_path: Path) -> None:
    (tmp_path / "huge.pkl").write_bytes(program)
    tracemalloc.start()
    with contextlib.suppress(AnchorError):
        read_pickle(tmp_path / "huge.pkl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


class Changed:
    """Pickles as a call whose result is changed afterwards."""

    def __init__(self, call: Any, state: Any) -> None:
        self.call = (*call, state)

    def __reduce__(self) -> Any:
        return self.call


def test_an_array_type_cannot_be_forged(tmp_path: Path) -> None:
    for state in ((3, "<", None, None, None, -1, -1, 63), (3, "|", None, ("a",), {"a": 1}, 8, 1, 0), "abc"):
        path = write(tmp_path / "forged.pkl", Changed((np.dtype, ("f8", False, True)), state))
        with pytest.raises(AnchorError, match="asks Python for an array of an unusual type"):
            read_pickle(path)


def test_only_arrays_and_dictionaries_are_changed(tmp_path: Path) -> None:
    """A global that the reader allows could be given other attributes, for all files that follow."""
    program = b"\x80\x02cnumpy\nndarray\nN}X\x07\x00\x00\x00__new__K\x01s\x86b."
    (tmp_path / "change.pkl").write_bytes(program)
    with pytest.raises(AnchorError, match="asks Python for a change of 'type'"):
        read_pickle(tmp_path / "change.pkl")


def test_structured_arrays_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "s.pkl", {"a": np.zeros(3, dtype=[("x", "f4")])})
    with pytest.raises(AnchorError, match="an array of void32"):
        read_pickle(path)


def test_the_advice_of_torch_is_not_passed_on(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(Call(os.system, "true"), buffer)
    path = write(tmp_path / "t.pkl", Call(torch.storage._load_from_bytes, buffer.getvalue()))
    with pytest.raises(AnchorError, match="a tensor that is damaged or holds more than numbers") as caught:
        read_pickle(path)
    assert "weights_only" not in str(caught.value)


def joblib_content() -> dict[int, Any]:
    people = collections.defaultdict(dict)
    people[np.int64(3)] = {
        "pose": np.arange(12.0).reshape(4, 3),
        "fortran": np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4)),
        "none": np.zeros((0, 4)),
        "one": np.array(2.5),
        "number": np.float32(1.5),
        "other_order": np.arange(3, dtype=">f4"),
        "frame_ids": np.arange(4),
    }
    return people


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("pack", [bytes, zlib.compress, gzip.compress])
def test_reads_files_of_joblib(pack: Any, protocol: int, as_joblib: Any, tmp_path: Path) -> None:
    content = joblib_content()
    (tmp_path / "j.pkl").write_bytes(pack(as_joblib(content, protocol)))
    found = read_pickle(tmp_path / "j.pkl")
    assert list(found) == [3]
    assert list(found[3]) == list(content[3])
    for key, value in content[3].items():
        np.testing.assert_array_equal(found[3][key], value)
        assert np.shape(found[3][key]) == np.shape(value)


def test_an_array_of_joblib_that_is_not_used_takes_no_memory(as_joblib: Any, tmp_path: Path) -> None:
    (tmp_path / "j.pkl").write_bytes(as_joblib({"verts": np.zeros((100, 6890, 3)), "pose": np.ones(3)}))
    tracemalloc.start()
    found = read_pickle(tmp_path / "j.pkl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["verts"].nbytes > 16e6
    assert peak < 1_000_000


@pytest.mark.parametrize("keep", [0.5, 0.97])
@pytest.mark.parametrize("pack", [bytes, zlib.compress])
def test_truncated_joblib(pack: Any, keep: float, as_joblib: Any, tmp_path: Path) -> None:
    data = pack(as_joblib({"pose": np.random.default_rng(0).random((30, 72))}))
    (tmp_path / "cut.pkl").write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(AnchorError, match=r"cut\.pkl is not a whole pickle .*: copy or download it again"):
        read_pickle(tmp_path / "cut.pkl")


def test_an_array_of_joblib_longer_than_the_file(as_joblib: Any, tmp_path: Path) -> None:
    data = as_joblib({"pose": np.zeros((30, 72))})
    (tmp_path / "j.pkl").write_bytes(data.replace(b"K\x1eKH\x86", b"J\xff\xff\xff\x7fKH\x86"))
    with pytest.raises(AnchorError, match=r"j\.pkl is not a whole pickle"):
        read_pickle(tmp_path / "j.pkl")


def test_joblib_cannot_hide_a_call(as_joblib: Any, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "j.pkl").write_bytes(as_joblib({"pose": np.zeros(3), "x": Call(os.system, f"touch {mark}")}))
    with pytest.raises(AnchorError, match=r"j\.pkl was not opened because .*system'"):
        read_pickle(tmp_path / "j.pkl")
    assert not mark.exists()


def test_a_packed_file_that_expands_beyond_the_limit(as_joblib: Any, tmp_path: Path) -> None:
    (tmp_path / "bomb.pkl").write_bytes(zlib.compress(as_joblib({"pose": np.zeros(3_000_000)}), 9))
    tracemalloc.start()
    with pytest.raises(AnchorError, match=r"bomb\.pkl would take more than 0\.0 GB of memory when unpacked"):
        read_pickle(tmp_path / "bomb.pkl", max_unpacked=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
