"""Opening of a motion file by what is in it; the name of the file does not matter.

The container (archive, pickle, text, ...) is told by the first bytes, the kind of motion by its content.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import AnchorError
from .archive import archive_keys, open_archive, read_npy
from .file import load_motion
from .finish import finish
from .formats import (
    amass,
    bvh,
    emage,
    gvhmr,
    hand4whole,
    motionx,
    multihmr,
    show,
    smplerx,
    talkshow,
    wham,
)
from .formats.folder import open_folder
from .formats.parts import ReadOptions, choose_person
from .motion import Motion
from .pickles import is_packed, read_pickle, read_torch

logger = logging.getLogger("anchor")

KINDS = (
    "our own .npz, SHOW, TalkSHOW, EMAGE and BEAT2, AMASS (SMPL-X, SMPL+H), Motion-X, SMPLer-X, OSX and "
    "Hand4Whole, Multi-HMR, GVHMR, WHAM, BVH"
)
"""What can be read, for people."""
_MAX_TEXT_BYTES = 512 * 1024**2
_ARRAYS = (motionx, talkshow)
_ARCHIVES = (emage, amass, smplerx)
_PICKLES = (show, wham, gvhmr, multihmr)
_TEXTS = (hand4whole, multihmr)
_TENSORS = (gvhmr, multihmr)
_OWN_KEYS = {"header", "pose"}
_ONE_PERSON = (*_ARRAYS, emage, amass, bvh)
_LAYOUTS = {talkshow.WIDTH: "TalkSHOW", motionx.WIDTH: "Motion-X"}


def read_motion(path: str | os.PathLike[str], options: ReadOptions | None = None) -> Motion:
    """Read a motion of any known kind (`KINDS`), repaired and checked.

    options: what the file does not say. Every problem with the file is an AnchorError of one sentence; what
    was guessed or repaired is logged.
    """
    options = options or ReadOptions()
    name = Path(path).name
    if os.path.isdir(path):
        return _finished(name, open_folder, Path(path), options, (smplerx, *_TEXTS))
    start = _first_bytes(path)
    if not start:
        raise AnchorError(f"{name} is empty: copy or download it again.")
    if start.startswith(b"PK") and set(archive_keys(path)) >= _OWN_KEYS:
        return _own(path, options)
    opened, formats = _container(start, path)
    if opened is None:
        raise AnchorError(f"{name} is not a motion file: give one of {KINDS}.")
    return _finished(name, opened, Path(path), options, formats)


def _container(
    start: bytes, path: str | os.PathLike[str]
) -> tuple[Callable[[Path], Any] | None, tuple[ModuleType, ...]]:
    """How a file that begins with these bytes is opened, and the kinds of motion that it can hold."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"PK"):  # a zip archive: of arrays, or of torch
        return (open_archive, _ARCHIVES) if archive_keys(path) else (read_torch, _TENSORS)
    if start.startswith(b"\x93NUMPY"):
        return read_npy, _ARRAYS
    if start[0] == 0x80 or is_packed(start):  # pickle, protocol 2 or later; joblib packs some
        return read_pickle, _PICKLES
    if text[:1] in (b"{", b"["):
        return _open_json, _TEXTS
    if text.upper().startswith(b"HIERAR"):
        return bvh.open_text, (bvh,)
    return None, ()


def _finished(
    name: str,
    opened: Callable[[Path], Any],
    path: Path,
    options: ReadOptions,
    formats: tuple[ModuleType, ...],
) -> Motion:
    content = opened(path)
    for module in formats:
        if module.matches(content):
            try:
                return _read(module, content, options)
            except AnchorError as error:
                said = str(error).startswith(name)
                raise AnchorError(str(error) if said else f"{name}: {error}") from error
    raise AnchorError(f"{name} holds {_described(content)}, which is no motion: give one of {KINDS}.")


def _read(module: ModuleType, content: Any, options: ReadOptions) -> Motion:
    if options.sample and module is not talkshow:
        raise AnchorError(f"There is no sample {options.sample}: the file holds one motion, number 0.")
    if module in _ONE_PERSON:
        choose_person(("0",), options.person)
    try:
        return finish(module.read(content, options), options)
    except AnchorError:
        raise
    except Exception as error:  # a file of a stranger may hold anything under the right names
        logger.debug("Reading failed.", exc_info=True)
        reason = str(error) or type(error).__name__
        raise AnchorError(
            f"The numbers in the file are not laid out as its kind has them ({reason}): export the motion "
            "again."
        ) from error


def _own(path: str | os.PathLike[str], options: ReadOptions) -> Motion:
    """Our own file says everything; what the user says counts more."""
    motion = load_motion(path)
    if options.sample or options.person is not None:
        raise AnchorError(
            f"{Path(path).name} holds one motion of one person: ask for no sample and no person."
        )
    if options.angles == "degrees":
        raise AnchorError(f"{Path(path).name} is a motion of this pack, which has radians: leave angles out.")
    given = {key: getattr(options, key) for key in ("fps", "world", "hands") if getattr(options, key)}
    if given.get("world", "cv") != "cv":
        given["camera"] = None
    return replace(motion, **given)


def _open_json(path: Path) -> Any:
    name = path.name
    if os.path.getsize(path) > _MAX_TEXT_BYTES:
        raise AnchorError(f"{name} has more than {_MAX_TEXT_BYTES / 1e6:.0f} MB of text: give one clip.")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnchorError(f"{name} is not whole JSON ({error}): copy or download it again.") from error


def _first_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        if stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for, a device has no end
            with open(path, "rb") as handle:
                return handle.read(64)
    except (FileNotFoundError, ValueError) as error:
        raise AnchorError(f"There is no motion file {Path(path)}: check the path.") from error
    except OSError as error:
        raise AnchorError(f"{Path(path)} cannot be read ({error.strerror}): give one of {KINDS}.") from error
    raise AnchorError(f"{Path(path)} cannot be read (it is a device): give one of {KINDS}.")


def _described(content: Any) -> str:
    """What was found, for the person who asked."""
    shape = getattr(content, "shape", None)
    if shape is not None:
        known = " and ".join(f"{kind} has {width}" for width, kind in _LAYOUTS.items())
        hint = ", transposed it would fit" if len(shape) == 2 and shape[0] in _LAYOUTS else ""
        return f"an array of shape {tuple(shape)} (per frame {known} numbers{hint})"
    if hasattr(content, "keys"):
        keys = [str(key) for key in content]
        return f"{', '.join(keys[:6]) or 'nothing'}{' and more' if len(keys) > 6 else ''}"
    size = f" of {len(content)}" if isinstance(content, list) else ""
    return f"a {type(content).__name__}{size}"
