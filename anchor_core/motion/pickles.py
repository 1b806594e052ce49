"""Reading of parameter pickles from strangers without running what is in them.

A pickle is a program. This reader lets it build numpy arrays and scalars, plain containers, and torch tensors
(their bytes go through `torch.load(weights_only=True)`, on the CPU); everything else is refused by name.
It builds on Python's reader: the one in C takes memory for any number that a file names, and crashes on
tuples nested deep enough.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import AnchorError

MAX_BYTES = 2 * 1024**3
_MAX_REPEATED = 2**28  # bytes of a tensor that shows its numbers several times
_KEYS = (str, bytes, int, float)
_KINDS = "biufcSU"  # of numpy types: numbers and text


class _NumpyArrayType:
    """Stands for numpy.ndarray: a pickle may name it but not call it, so it cannot ask for a huge array."""

    def __new__(cls, *args: object) -> _NumpyArrayType:
        raise _RefusedError("an array without data")


class _Dictionary(dict):
    """Every dictionary of a pickle, also those of other packages (EasyDict): its keys are text or numbers."""

    def __init__(self, items: Iterable[tuple[Any, Any]] = ()) -> None:
        for key, value in items:
            self[key] = value

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, _KEYS):  # hashing a tuple of a million tuples would crash Python
            raise _RefusedError(f"a {type(key).__name__} as key of a dictionary")
        super().__setitem__(key, value)


def read_pickle(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Any:
    """The object in a pickle of arrays, tensors and containers; an AnchorError names what was refused."""
    name = Path(path).name
    size = os.path.getsize(path)
    if size > max_bytes:
        raise AnchorError(
            f"{name} has {size / 1e9:.1f} GB and the limit is {max_bytes / 1e9:.1f} GB: give one clip."
        )
    try:
        with open(path, "rb") as handle:
            return _AllowListUnpickler(io.BytesIO(handle.read()), encoding="latin1").load()
    except _RefusedError as error:
        raise AnchorError(
            f"{name} was not opened because it asks Python for {error}, which no motion file needs: "
            "get the file from a source that you trust, or convert it to .npz."
        ) from error
    except Exception as error:  # a pickle can fail with any exception: opcodes are arbitrary calls
        reason = str(error) or type(error).__name__
        raise AnchorError(
            f"{name} is not a whole pickle file ({reason}): copy or download it again."
        ) from error


class _RefusedError(pickle.UnpicklingError):
    """The pickle named an object that is not on the list."""


class _AllowListUnpickler(pickle._Unpickler):
    dispatch = dict(pickle._Unpickler.dispatch)  # noqa: RUF012 - a class attribute there, too

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise _RefusedError(f"'{module}.{name}'") from None


def _build(reader: Any) -> None:
    """The step that fills an object; nothing but arrays, their types and dictionaries is filled."""
    state, target = reader.stack.pop(), reader.stack[-1]
    if isinstance(target, _Dictionary) and isinstance(state, dict):
        for key, value in state.items():
            target[key] = value
        return
    if not isinstance(target, (np.ndarray, np.dtype)):
        raise _RefusedError(f"a change of '{type(target).__name__}'")
    # All but the byte order of a type was in its code already.
    if isinstance(target, np.dtype) and state[2:] != target.__reduce__()[2][2:]:
        raise _RefusedError("an array of an unusual type")
    fill: Callable[[Any], None] = getattr(target, "__setstate__")  # noqa: B009 - not in numpy's types
    fill(state)


def _dictionary(reader: Any) -> None:
    reader.append(_Dictionary())


def _bytearray(reader: Any) -> None:
    (length,) = struct.unpack("<Q", reader.read(8))
    reader.append(bytearray(reader.read(length)))  # read first: the original takes any memory asked for


def _refuse(reader: Any) -> None:
    raise _RefusedError("a set, or a dictionary of protocol 0")


_AllowListUnpickler.dispatch[pickle.BUILD[0]] = _build
_AllowListUnpickler.dispatch[pickle.BYTEARRAY8[0]] = _bytearray
_AllowListUnpickler.dispatch[pickle.EMPTY_DICT[0]] = _dictionary
for _code in (pickle.DICT, pickle.EMPTY_SET, pickle.FROZENSET):
    _AllowListUnpickler.dispatch[_code[0]] = _refuse


def _empty_array(kind: object, shape: object, code: object) -> np.ndarray:
    # numpy's own pickles always ask for an empty array here; its size arrives with the data.
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _dtype(code: Any, *flags: Any) -> np.dtype:
    dtype = np.dtype(code, copy=True)  # the byte order follows, and numpy's own type does not take it
    if dtype.hasobject:
        raise _RefusedError("an array of Python objects")
    if dtype.kind not in _KINDS:
        raise _RefusedError(f"an array of {dtype.name}")
    return dtype


def _scalar(dtype: np.dtype, data: Any) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype=dtype, count=1)[0]


def _array_from_buffer(data: Any, dtype: np.dtype, shape: tuple[int, ...], order: Any) -> np.ndarray:
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order).copy()


def _encode_latin1(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")  # how old pickles hold bytes


def _no_bytes() -> bytes:
    return b""  # how protocol 2 holds an empty bytes object


def _load_storage(data: bytes) -> Any:
    """A tensor storage inside a pickle; the original here is an unrestricted torch.load."""
    stream = io.BytesIO(data)
    if zipfile.is_zipfile(stream):
        with zipfile.ZipFile(stream) as archive:
            if sum(item.file_size for item in archive.infolist()) > MAX_BYTES:
                raise _RefusedError("a tensor larger than the limit")
    stream.seek(0)
    try:
        return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text advises to load the file without this protection
        raise _RefusedError("a tensor that is damaged or holds more than numbers") from error


def _tensor(
    storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any
) -> torch.Tensor:
    """A view on the storage; sizes and strides that reach outside raise."""
    flat = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
    # A stride of 0 makes any size out of one number.
    if math.prod(size) * flat.element_size() > max(_MAX_REPEATED, flat.nbytes):
        raise _RefusedError("a tensor larger than the limit")
    return flat.as_strided(tuple(size), tuple(stride), offset)


_ALLOWED: dict[tuple[str, str], type | Callable[..., Any]] = {
    ("numpy", "ndarray"): _NumpyArrayType,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _array_from_buffer,
    ("_codecs", "encode"): _encode_latin1,
    ("__builtin__", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): _Dictionary,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _load_storage,
    ("easydict", "EasyDict"): _Dictionary,
}
