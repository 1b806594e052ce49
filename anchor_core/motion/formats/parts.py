"""What a motion file says before anything is checked: the common ground of all readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import AnchorError
from ..camera import Camera
from ..motion import HANDS, N_JOINTS, WORLDS, Validity

ANGLES = ("radians", "degrees")
JOINTS = {
    "root": (0, 1),
    "body": (1, 21),
    "jaw": (22, 1),
    "left_eye": (23, 1),
    "right_eye": (24, 1),
    "left_hand": (25, 15),
    "right_hand": (40, 15),
}
"""First joint and number of joints of each part of a pose."""


@dataclass(frozen=True)
class ReadOptions:
    """What a file does not say, or says wrongly. None: as the file and its kind say.

    sample: which variant of a file that holds several, from 0. person: which person, as the file names them.
    fps: frames per second. world, hands: see `Motion`. angles: "radians" or "degrees". skeleton: a JSON file
    {joint of the BVH: joint of SMPL-X}. max_gap_s: seconds without a pose that are interpolated; longer ones
    are refused.
    """

    sample: int | None = None
    person: str | None = None
    fps: float | None = None
    world: str | None = None
    hands: str | None = None
    angles: str | None = None
    skeleton: Path | None = None
    max_gap_s: float = 0.5

    def __post_init__(self) -> None:
        for name, words in (("world", WORLDS), ("hands", HANDS), ("angles", ANGLES)):
            value = getattr(self, name)
            if value is not None and value not in words:
                raise AnchorError(f"{name} is {value!r}: use one of {', '.join(words)}, or leave it out.")
        if self.fps is not None and not 0 < self.fps < 1000:
            raise AnchorError(
                f"fps is {self.fps}: give the frames per second, more than 0 and less than 1000."
            )
        if not 0 <= self.max_gap_s <= 60:
            raise AnchorError(f"max_gap_s is {self.max_gap_s}: give seconds, from 0 to 60.")


@dataclass
class Parts:
    """A motion as a file says it; numbers may be missing (NaN), angles may be in degrees.

    Arrays as in `Motion`. fps: None where the file does not say it. world, hands: what this kind of file is
    documented to hold. A frame without a person is a row of NaN in `pose`.
    """

    source: str
    pose: np.ndarray
    translation: np.ndarray
    expression: np.ndarray
    fps: float | None
    world: str
    hands: str
    betas: np.ndarray | None = None
    hands_pca: tuple[np.ndarray, np.ndarray] | None = None
    expression_space: str = "smplx"
    camera: Camera | None = None
    gender: str = "neutral"
    valid: Validity = field(default_factory=Validity)


def assemble(n_frames: int, parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """A pose (F, 55, 3) float32 of the named parts (keys of `JOINTS`); what is not named is 0.

    parts: (F, 3 * joints) each, in any shape. AnchorError names one with other numbers of frames or angles.
    """
    pose = np.zeros((n_frames, N_JOINTS, 3), np.float32)
    for name, values in parts.items():
        first, count = JOINTS[name]
        pose[:, first : first + count] = rows(name, values, n_frames, 3 * count).reshape(n_frames, count, 3)
    return pose


def rows(name: str, values: Any, n_frames: int, width: int | None = None) -> np.ndarray:
    """An array of numbers as (n_frames, width) float32, or of any width; AnchorError names what differs."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise AnchorError(f"'{name}' is not an array of numbers: it holds {array.dtype}.")
    found = len(array) if array.ndim else 0
    if found != n_frames:
        raise AnchorError(f"'{name}' has {found} frames and the others have {n_frames}: they need the same.")
    with np.errstate(over="ignore"):
        flat = array.reshape(n_frames, int(np.prod(array.shape[1:]))).astype(np.float32)
    if width is not None and flat.shape[1] != width:
        raise AnchorError(f"'{name}' has {flat.shape[1]} numbers per frame: it needs {width}.")
    return flat


def first_number(value: Any, name: str) -> float:
    """A number that a file holds as a scalar or as an array of one; an AnchorError if it is none."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise AnchorError(f"'{name}' is not one finite number: save the file again.")
    return float(array.reshape(()))


def choose_person(names: Sequence[str], asked: str | None) -> int:
    """Number of the person to read; an AnchorError that lists the people where there is a choice to make."""
    if asked is not None and asked not in names:
        raise AnchorError(f"There is no person {asked!r}: the file holds {', '.join(names) or 'nobody'}.")
    if asked is None and len(names) != 1:
        listed = ", ".join(names[:20]) or "nobody"
        raise AnchorError(f"The file holds {len(names)} people ({listed}): choose one with person=...")
    return 0 if asked is None else list(names).index(asked)
