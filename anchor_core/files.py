"""Files that are either whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
"""Folder of the files that ship with the pack (stand-in body, demo anchor, demo motion)."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it gets the final name only when the block ends without an error.

    The temporary name keeps the suffix (writers choose the format by it). On any error, Ctrl-C
    included, the temporary file is removed and a file that already was under the final name stays as it was.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    # A name of our own, not mkstemp's file: its mode 0600 would stay with the final file.
    partial = final.parent / f".{final.stem}.{secrets.token_hex(4)}{final.suffix}"
    try:
        yield partial
        os.replace(partial, final)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
