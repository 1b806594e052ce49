"""Which bodies a user has: the stand-in first, then the SMPL-X files in the model folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import AnchorError
from ..files import ASSETS
from .arrays import is_body_file
from .model import BodyModel, load_body, standin_body

STANDIN = "stand-in"
AUTO = "auto"


def find_bodies(folders: Iterable[str | os.PathLike[str]]) -> dict[str, Path]:
    """Names and paths of all bodies: the stand-in, then every SMPL-X .npz below the folders, sorted by name.

    Files are recognised by their arrays, not by their names; folders that do not exist are passed over.
    """
    bodies = {STANDIN: ASSETS / "standin.npz"}
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.npz")):
            if is_body_file(path):
                bodies.setdefault(path.relative_to(folder).as_posix(), path)
    return bodies


def body_for(name: str, bodies: Mapping[str, Path], gender: str = "neutral") -> BodyModel:
    """Load the body called `name`; "auto" takes the file of that gender, else neutral, else the stand-in."""
    if name == AUTO:
        name = _automatic(bodies, gender)
    if name == STANDIN:
        return standin_body()
    if name not in bodies:
        raise AnchorError(f"There is no body '{name}': choose one of {', '.join((AUTO, *bodies))}.")
    return load_body(bodies[name])


def open_body(path: Path | None, gender: str = "neutral") -> BodyModel:
    """The body of a file, the one of a folder that fits the gender, or, for None, the stand-in."""
    if path is None:
        return standin_body()
    if path.is_dir():
        return body_for(AUTO, find_bodies([path]), gender)
    return load_body(path)


def _automatic(bodies: Mapping[str, Path], gender: str) -> str:
    for wanted in (gender, "neutral"):
        for name in bodies:
            if name != STANDIN and _gender_in(name) == wanted:
                return name
    return STANDIN


def _gender_in(name: str) -> str:
    """The gender in the name of an SMPL-X file: its makers write SMPLX_MALE.npz, SMPLX_NEUTRAL_2020.npz."""
    words = Path(name).stem.lower().replace("-", "_").split("_")
    return next((word for word in ("female", "male", "neutral") if word in words), "neutral")
