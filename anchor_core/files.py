"""Files that are either whole or not there."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import AnchorError

ASSETS = Path(__file__).parent / "assets"
"""Folder of the files that ship with the pack (stand-in body, demo anchor, demo motion)."""
_LONGEST_NAME = 255  # bytes, on every common file system
_ON_WINDOWS = os.name == "nt"
_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it gets the final name only when the block ends without an error.

    The temporary name keeps the suffix (writers choose the format by it). On any error, Ctrl-C
    included, the temporary file is removed and a file that already was under the final name stays as it was.
    Raises AnchorError where nothing can be written.
    """
    check_writable(path)
    final = Path(path)
    partial = final.parent / f".{final.stem[:32]}.{secrets.token_hex(4)}{final.suffix}"
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        os.chmod(partial, mode)  # some writers (safetensors) leave files that only their owner may read
        _replace(partial, final)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise AnchorError(
                f"{final} cannot be written ({error.strerror or error}): free space, or choose another."
            ) from error
        raise


def write_png(path: str | os.PathLike[str], pixels: Any, compress_level: int = 6) -> None:
    """Write a picture, (H, W, 3) or (H, W) uint8, whole or not at all; compress_level: 0 to 9, 1 is fast.

    Raises AnchorError where nothing can be written.
    """
    from PIL import Image

    with atomic_path(path) as partial:
        Image.fromarray(pixels).save(partial, compress_level=compress_level)


def _replace(partial: Path, final: Path) -> None:
    """Windows refuses while another program, as a virus scanner or a viewer, has the file open: often for a
    moment only."""
    for wait_s in _WAITS_S if _ON_WINDOWS else ():
        try:
            os.replace(partial, final)
            return
        except PermissionError:
            time.sleep(wait_s)
    os.replace(partial, final)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise AnchorError unless a file can be written here: to be asked before hours of work."""
    final = Path(path).absolute()
    folder = next(parent for parent in final.parents if os.path.exists(parent))
    if os.path.isdir(final):
        why = "a folder has this name"
    elif not os.path.isdir(folder):
        why = f"{folder} is no folder"
    elif not os.access(folder, os.W_OK):
        why = f"{folder} may not be written in"
    elif len(os.fsencode(final.name)) > _LONGEST_NAME:
        why = f"the name is longer than {_LONGEST_NAME} bytes"
    else:
        return
    raise AnchorError(f"{path} cannot be written ({why}): choose another file name.")
