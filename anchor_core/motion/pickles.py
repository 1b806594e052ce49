"""Reading of parameter pickles from strangers without running what is in them.

A pickle is a program. This reader lets it build numpy arrays and scalars, plain containers, and torch tensors
(their bytes go through `torch.load(weights_only=True)`, on the CPU); everything else is refused by name.
It builds on Python's reader: the one in C takes memory for any number that a file names, and crashes on
tuples nested deep enough.

Files of joblib are pickles, too: an array is a short description, and its bytes lie in the file right after
the step that fills the description. Those files may be packed by zlib or gzip.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from ..errors import AnchorError

MAX_BYTES = 2 * 1024**3
_MAX_UNPACKED = 1024**3  # bytes of a packed file once unpacked
_CHUNK = 1024**2
_PACKED = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b")  # zlib's levels, gzip
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
        if isinstance(key, np.integer):
            key = int(key)
        if not isinstance(key, _KEYS):  # hashing a tuple of a million tuples would crash Python
            raise _RefusedError(f"a {type(key).__name__} as key of a dictionary")
        super().__setitem__(key, value)


class _JoblibArray:
    """Stands for joblib's description of an array whose bytes follow in the file."""


def is_packed(start: bytes) -> bool:
    """Whether a file that begins with these bytes is packed by zlib or gzip, as joblib does on demand."""
    return start[:2] in _PACKED


def read_pickle(
    path: str | os.PathLike[str], max_bytes: int = MAX_BYTES, max_unpacked: int = _MAX_UNPACKED
) -> Any:
    """The object in a pickle, or in a file of joblib, of arrays, tensors and containers.

    Arrays of joblib stay in the file until they are used. An AnchorError names what was refused, or says that
    a packed file expands to more than `max_unpacked` bytes.
    """
    name = Path(path).name
    size = os.path.getsize(path)
    if size > max_bytes:
        raise AnchorError(
            f"{name} has {size / 1e9:.1f} GB and the limit is {max_bytes / 1e9:.1f} GB: give one clip."
        )
    try:
        with open(path, "rb") as handle:
            return _AllowListUnpickler(_contents(handle, max_unpacked)).load()
    except _TooLargeError as error:
        raise AnchorError(
            f"{name} would take more than {max_unpacked / 1e9:.1f} GB of memory when unpacked: give one "
            "clip, saved without compression."
        ) from error
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


def read_torch(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Any:
    """The object in a file of `torch.save`, tensors and containers only, on the CPU; an AnchorError says what
    else it holds."""
    name = Path(path).name
    with zipfile.ZipFile(path) as archive:
        total = sum(item.file_size for item in archive.infolist())
    if total > max_bytes:
        raise AnchorError(
            f"{name} would take {total / 1e9:.1f} GB and the limit is {max_bytes / 1e9:.1f} GB: give one "
            "clip."
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text advises to load the file without this protection
        raise AnchorError(
            f"{name} was not opened because it holds more than tensors, numbers and text: save it again as a "
            "plain dictionary of tensors."
        ) from error
    except Exception as error:
        raise AnchorError(f"{name} is not a whole file of torch ({error}): copy it again.") from error


class _RefusedError(pickle.UnpicklingError):
    """The pickle named an object that is not on the list."""


class _TooLargeError(ValueError):
    """The file expands beyond the limit."""


def _contents(handle: IO[bytes], max_unpacked: int) -> bytes | mmap.mmap:
    """The bytes of the pickle in a file: mapped into memory, so that what is never used is never read."""
    packed = is_packed(handle.read(2))
    handle.seek(0)
    if packed:
        return _unpacked(handle, max_unpacked)
    return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)


def _unpacked(handle: IO[bytes], max_bytes: int) -> bytes:
    expand = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: the header says whether it is zlib or gzip
    found = io.BytesIO()
    while not expand.eof:
        packed = expand.unconsumed_tail or handle.read(_CHUNK)
        piece = expand.decompress(packed, _CHUNK)
        if not packed and not piece:
            raise EOFError("its end is missing")
        found.write(piece)
        if found.tell() > max_bytes:
            raise _TooLargeError
    return found.getvalue()


class _AllowListUnpickler(pickle._Unpickler):
    dispatch = dict(pickle._Unpickler.dispatch)  # noqa: RUF012 - a class attribute there, too

    def __init__(self, contents: bytes | mmap.mmap) -> None:
        self.contents = contents
        self.stream: Any = io.BytesIO(contents) if isinstance(contents, bytes) else contents
        super().__init__(self.stream, encoding="latin1")

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
    if isinstance(target, _JoblibArray):
        reader.stack[-1] = _array_that_follows(reader, state)
        return
    if not isinstance(target, (np.ndarray, np.dtype)):
        raise _RefusedError(f"a change of '{type(target).__name__}'")
    # All but the byte order of a type was in its code already.
    if isinstance(target, np.dtype) and state[2:] != target.__reduce__()[2][2:]:
        raise _RefusedError("an array of an unusual type")
    fill: Callable[[Any], None] = getattr(target, "__setstate__")  # noqa: B009 - not in numpy's types
    fill(state)


def _array_that_follows(reader: Any, about: Any) -> np.ndarray:
    """The array that joblib describes by `about`, read from where the pickle stands now."""
    dtype, shape = about["dtype"], about["shape"]
    if not isinstance(dtype, np.dtype) or about["subclass"] is not _NumpyArrayType:
        raise _RefusedError("an array of an unusual type")
    if reader._unframer.current_frame is not None and reader._unframer.current_frame.read(1):
        raise ValueError("an array begins inside of a step")
    if about.get("numpy_array_alignment_bytes") is not None:  # one byte says how many bytes of filling follow
        reader.stream.read(reader.stream.read(1)[0])
    shape = tuple(int(size) for size in (shape if isinstance(shape, tuple) else (shape,)))
    count = math.prod(shape)
    if min(shape, default=0) < 0 or dtype.itemsize == 0:
        raise ValueError(f"an array of shape {shape}")
    start = reader.stream.tell()
    # Raises where the file is shorter than the array says; an empty array has no bytes to look at.
    flat = np.frombuffer(reader.contents, dtype, count, start) if count else np.empty(0, dtype)
    reader.stream.seek(start + flat.nbytes)
    return flat.reshape(shape, order="F" if about["order"] == "F" else "C")


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


def _default_dictionary(*kind: object) -> _Dictionary:
    return _Dictionary()


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
    ("collections", "defaultdict"): _default_dictionary,
    ("builtins", "dict"): _Dictionary,
    ("__builtin__", "dict"): _Dictionary,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _JoblibArray,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _load_storage,
    ("easydict", "EasyDict"): _Dictionary,
}
