"""Files of joblib for the tests, written without joblib."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


class NumpyArrayWrapper:
    """What joblib's files hold in place of an array; the name is part of the files."""


NumpyArrayWrapper.__module__ = "joblib.numpy_pickle"


class _Writer(pickle._Pickler):
    """Writes arrays as joblib >= 1.2 does: the wrapper, one byte with the length of the filling, the filling
    up to a multiple of 16, the numbers."""

    def __init__(self, stream: io.BytesIO, protocol: int) -> None:
        super().__init__(stream, protocol)
        self.stream = stream

    def save(self, obj: Any, *rest: Any) -> None:
        if type(obj) is not np.ndarray:
            super().save(obj, *rest)
            return
        order = "F" if obj.flags.f_contiguous and not obj.flags.c_contiguous else "C"
        wrapper = NumpyArrayWrapper()
        wrapper.__dict__ |= {"subclass": np.ndarray, "shape": obj.shape, "order": order, "dtype": obj.dtype}
        wrapper.__dict__ |= {"allow_mmap": True, "numpy_array_alignment_bytes": 16}
        super().save(wrapper)
        if self.proto >= 4:
            self.framer.commit_frame(force=True)
        filling = 16 - (self.stream.tell() + 1) % 16
        self.stream.write(bytes([filling]) + b"\xff" * filling + obj.tobytes(order))


@pytest.fixture
def as_joblib(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """The bytes of joblib.dump(content), protocol 4 unless another is asked for."""
    module = types.ModuleType("joblib.numpy_pickle")
    module.NumpyArrayWrapper = NumpyArrayWrapper  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "joblib.numpy_pickle", module)
    monkeypatch.setitem(sys.modules, "joblib", types.ModuleType("joblib"))

    def write(content: Any, protocol: int = 4) -> bytes:
        stream = io.BytesIO()
        _Writer(stream, protocol).dump(content)
        return stream.getvalue()

    return write
