"""Opening of a motion file by what is in it; the name of the file does not matter."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import AnchorError
from .archive import archive_keys
from .motion import Motion, load_motion
from .show import read_show
from .talkshow import read_talkshow

_READABLE = "a motion .npz of this pack, a parameter pickle of SHOW, or an .npy of TalkSHOW"
_NPY = b"\x93NUMPY"


def read_motion(path: str | os.PathLike[str], *, sample: int | None = None) -> Motion:
    """Read a motion from our .npz, a pickle of SHOW or an .npy of TalkSHOW.

    sample: which variant of an .npy with several, from 0. Every problem with the file is an AnchorError of
    one sentence.
    """
    name = Path(path).name
    start = _first_bytes(path)
    if sample and not start.startswith(_NPY):
        raise AnchorError(f"There is no sample {sample}: {name} holds one motion, number 0.")
    if not start:
        raise AnchorError(f"{name} is empty: copy or download it again.")
    if start.startswith(b"PK"):
        return _read_npz(path)
    if start.startswith(_NPY):
        return read_talkshow(path, sample)
    if start[0] == 0x80:  # pickle, protocol 2 or later
        return read_show(path)
    raise AnchorError(f"{name} is not a motion file: give {_READABLE}.")


def _first_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        if stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for, a device has no end
            with open(path, "rb") as handle:
                return handle.read(8)
    except (FileNotFoundError, ValueError) as error:
        raise AnchorError(f"There is no motion file {Path(path)}: check the path.") from error
    except OSError as error:
        raise AnchorError(f"{Path(path)} cannot be read ({error.strerror}): give {_READABLE}.") from error
    raise AnchorError(f"{Path(path)} cannot be read (it is a folder or a device): give {_READABLE}.")


def _read_npz(path: str | os.PathLike[str]) -> Motion:
    keys = archive_keys(path)
    if "header" in keys:
        return load_motion(path)
    found = ", ".join(keys[:6]) or "no arrays"
    raise AnchorError(f"{Path(path).name} is an archive of {found}, not a motion: give {_READABLE}.")
