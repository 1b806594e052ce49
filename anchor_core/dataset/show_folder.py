"""Finished output folders of SHOW (arXiv 2212.04420): `image/`, `ours_exp/mica_org/`, and the parameters.

The published preparation runs SHOW on pieces of ten seconds and trains on its pictures. SHOW as it is public
draws the mesh over the photo, which the published weights have never seen: theirs lie on black.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import AnchorError
from ..video.read import read_picture
from .footage import natural_order, pictures_in
from .recording import Recording

_IMAGES, _MESHES = Path("image"), Path("ours_exp/mica_org")
_PARAMETERS = (
    "ours_exp/final_all.pkl",
    "ours_exp/all.pkl",
    "ours/final_all.pkl",
    "ours/all.pkl",
    "final_all.pkl",
    "all.pkl",
)
_DARK = 8  # levels of 255 that JPEG may leave of black
_BLACK_BORDER = 0.9  # of the pixels along the two upper borders, where a person hardly reaches


def expand(recordings: list[Recording]) -> list[Recording]:
    """The recordings, with each folder of split_1, split_2, ... replaced by its parts.

    Raises AnchorError where such a folder comes with a motion or matte, which cannot be that of each part.
    """
    found: list[Recording] = []
    for one in recordings:
        parts = _parts(one.video) if one.video.is_dir() and not is_show_folder(one.video) else []
        extra = one.motion or one.matte
        if parts and extra:
            raise AnchorError(
                f"{one.video.name} holds {len(parts)} SHOW folders, and {extra.name} is given for all of "
                "them: give each folder on its own, with its motion and matte."
            )
        found += [Recording(part, person=one.person) for part in parts] or [one]
    return found


def is_show_folder(path: Path) -> bool:
    """Whether SHOW wrote this folder."""
    return (path / _IMAGES).is_dir() and (path / "ours_exp").is_dir()


def parameters_of(folder: Path) -> Path:
    """The motion file of a SHOW folder; AnchorError where there is none."""
    found = [folder / name for name in _PARAMETERS if (folder / name).is_file()]
    if not found:
        raise AnchorError(
            f"{folder} holds no parameters of SHOW ({' or '.join(_PARAMETERS[:4:3])}): run SHOW to its end, "
            "or give the motion."
        )
    return found[0]


def images_of(folder: Path) -> Path:
    """Folder of the frames."""
    return folder / _IMAGES


def meshes_of(folder: Path) -> Path | None:
    """Folder of SHOW's mesh renders, None where there is none."""
    return folder / _MESHES if (folder / _MESHES).is_dir() and any((folder / _MESHES).iterdir()) else None


def on_black(meshes: Path) -> bool:
    """Whether mesh renders lie on black, and not on the photo."""
    return _black_above(read_picture(pictures_in(meshes)[0]))


def _black_above(picture: np.ndarray) -> bool:
    half = len(picture) // 2
    border = np.concatenate([picture[:half, 0], picture[:half, -1]])
    return float((border.max(axis=1) <= _DARK).mean()) >= _BLACK_BORDER


def _parts(folder: Path) -> list[Path]:
    """SHOW folders in a folder or in its `splits`, by number."""
    for root in (folder / "splits", folder):
        if root.is_dir():
            parts = [part for part in root.iterdir() if part.is_dir() and is_show_folder(part)]
            if parts:
                return sorted(parts, key=natural_order)
    return []
