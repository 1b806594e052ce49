"""The end of a film: video and contact sheet, made in the render's folder and then given their names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..face.inpaint import crops_of
from ..face.track import FaceTrack
from ..files import atomic_path
from ..frames import Frames
from ..motion.motion import Motion
from ..render.mesh import to_bytes
from ..video.sheet import save_sheet
from ..video.write import write_video
from .stages import Clip


def encode(path: Path, clip: Clip, motion: Motion, comment: dict[str, Any]) -> None:
    """Write the video while its frames are made; a file that is there is finished.

    comment: JSON values that travel in the file.
    """
    sound = None if motion.sound is None else motion.sound.pair
    with clip.finished as frames:
        if not path.is_file():
            stream = (frames[number].numpy() for number in range(len(frames)))
            write_video(path, stream, motion.fps, audio=sound, metadata={"comment": json.dumps(comment)})


def deliver(made: Path, final: Path) -> None:
    """Move a file to its final name, also onto another disk: whole or not at all."""
    try:
        os.replace(made, final)
    except OSError:  # another disk, no such folder yet, or a file that Windows holds for a moment
        with atomic_path(final) as partial:
            shutil.copyfile(made, partial)


def draw_sheet(path: Path, clip: Clip) -> None:
    """Write a contact sheet: mesh over result; with a face pass also what it was given, and the faces."""
    save_sheet(path, sheet_rows(clip))


def sheet_rows(clip: Clip) -> dict[str, Sequence[np.ndarray]]:
    """Its rows by their labels."""
    mesh, result = _Pictures(clip.mesh), _Pictures(clip.finished)
    if clip.body is None or clip.track is None:
        return {"mesh": mesh, "result": result}
    return {
        "mesh": mesh,
        "body pass": _Pictures(clip.body),
        "result": result,
        "face: mesh": _Pictures(clip.track.mesh),
        "face: body pass": _FaceCrops(clip.body, clip.track),
        "face: result": _FaceCrops(clip.finished, clip.track),
    }


class _Pictures(Sequence[np.ndarray]):
    """Frames as arrays."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: Any) -> Any:
        return self._frames[index].numpy()


class _FaceCrops(Sequence[np.ndarray]):
    """The aligned faces of a clip, cut out of its frames when they are asked for."""

    def __init__(self, frames: Frames, track: FaceTrack) -> None:
        self._frames, self._track = frames, track

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: Any) -> Any:
        return to_bytes(crops_of(self._frames, self._track, torch.tensor([index]))[0])
