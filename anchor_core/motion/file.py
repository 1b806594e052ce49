"""Our own motion file: an .npz without pickles."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnchorError
from ..files import atomic_path
from .archive import read_archive
from .camera import Camera
from .motion import Motion, Validity
from .soundtrack import Soundtrack

FORMAT = "anchor-motion"
_VERSION = 1
_REQUIRED = ("pose", "translation", "expression")
_HANDS = ("hand_pca_left", "hand_pca_right")
_OPTIONAL = ("betas", "interpolated", "sound", *_HANDS)
_WORDS = ("fps", "world", "hands", "expression_space", "gender", "source")
_INT16 = 32767


def save_motion(motion: Motion, path: str | os.PathLike[str]) -> None:
    """Write the motion as a compressed .npz, the sound in 16 bits; the file is whole or not there."""
    arrays = {name: getattr(motion, name) for name in _REQUIRED}
    if motion.betas is not None:
        arrays["betas"] = motion.betas
    if motion.marks.any():
        arrays["interpolated"] = motion.marks
    if motion.sound is not None:
        arrays["sound"] = np.round(motion.sound.waveform.clip(-1, 1) * _INT16).astype(np.int16)
    if motion.hands_pca is not None:
        arrays |= dict(zip(_HANDS, motion.hands_pca, strict=True))
    header = {name: getattr(motion, name) for name in _WORDS}
    header |= {"format": FORMAT, "version": _VERSION, "valid": asdict(motion.valid)}
    header |= {"performer": motion.performer, "sound_rate": motion.sound and motion.sound.rate}
    header["camera"] = None if motion.camera is None else motion.camera.to_dict()
    with atomic_path(path) as partial, partial.open("wb") as handle:
        np.savez_compressed(handle, header=np.array(json.dumps(header)), **arrays)


def load_motion(path: str | os.PathLike[str]) -> Motion:
    """Read a motion written by `save_motion`; any other file is an AnchorError."""
    name = Path(path).name
    arrays = read_archive(path, ("header", *_REQUIRED, *_OPTIONAL))
    header = _read_header(name, arrays.get("header"))
    missing = [key for key in _REQUIRED if key not in arrays]
    if missing:
        raise AnchorError(f"{name} is a motion file without {', '.join(missing)}: save the motion again.")
    try:
        return _motion(arrays, header)
    except AnchorError as error:
        raise AnchorError(f"{name}: {error}") from error
    except (TypeError, KeyError, IndexError, ValueError, OverflowError) as error:
        raise AnchorError(f"{name} has a damaged header ({error}): save the motion again.") from error


def _motion(arrays: dict[str, np.ndarray], header: dict[str, Any]) -> Motion:
    left, right = (arrays.get(key) for key in _HANDS)
    if (left is None) != (right is None):
        raise AnchorError("The file holds the coefficients of one hand only: save the motion again.")
    return Motion(
        pose=arrays["pose"],
        translation=arrays["translation"],
        expression=arrays["expression"],
        betas=arrays.get("betas"),
        hands_pca=None if left is None or right is None else (left, right),
        camera=None if header["camera"] is None else Camera.from_dict(header["camera"]),
        valid=Validity(**header["valid"]),
        sound=_sound(arrays.get("sound"), header),
        interpolated=arrays.get("interpolated"),
        performer=header.get("performer", ""),
        **{word: header[word] for word in _WORDS},
    )


def _sound(samples: np.ndarray | None, header: dict[str, Any]) -> Soundtrack | None:
    if samples is None:
        return None
    if samples.dtype != np.int16:
        raise AnchorError(f"The sound in the file holds {samples.dtype} and needs int16: save it again.")
    return Soundtrack(samples.astype(np.float32) / _INT16, int(header["sound_rate"]))


def _read_header(name: str, text: np.ndarray | None) -> dict[str, Any]:
    try:
        header = json.loads(str(text))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise AnchorError(f"{name} is not a motion file of this pack: open it with read_motion instead.")
    version = header.get("version")
    if version != _VERSION:
        raise AnchorError(
            f"{name} is a motion file of version {version!r} and this pack reads {_VERSION}: update the pack."
        )
    return header
