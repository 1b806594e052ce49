"""The pickle reader builds arrays and tensors and runs nothing."""

from __future__ import annotations

import collections
import os
import pickle
import subprocess
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
