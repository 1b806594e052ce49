"""The host's VIDEO and MASK as files that can be read frame by frame."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..anchor_core.errors import AnchorError
from . import _folders

if TYPE_CHECKING:
    import numpy as np

    from ..anchor_core.motion.motion import Motion

_DIGITS = 16


def video_file(video: Any, name: str = "footage") -> Path:
    """The file of a VIDEO; frames that lie in no file are written without loss into the temp folder.

    The same frames give the same file, so that work on it can go on later.
    """
    source = _source(video)
    if isinstance(source, str):
        return Path(source)
    if source is not None:
        return _written(source.read(), name)
    parts = video.get_components()
    return frames_file(parts.images, Fraction(parts.frame_rate), name)


def frames_file(frames: torch.Tensor, fps: Fraction, name: str) -> Path:
    """Frames (F, H, W, C) in [0, 1], or masks (F, H, W), as a file in the temp folder."""
    from ..anchor_core.video.lossless import write_lossless

    if not len(frames):
        raise AnchorError(f"the {name} holds no frames: connect a video")
    digest = hashlib.sha256(f"{fps} {tuple(frames.shape)}".encode())
    for frame in _bytes_of(frames):
        digest.update(frame.tobytes())
    path = _folders.temp_folder(digest.hexdigest()[:_DIGITS]) / f"{name}.avi"
    if not path.is_file():
        write_lossless(path, _bytes_of(frames), fps)
    return path


def motion_file(motion: Motion) -> Path:
    """A motion, without its sound, as a file in the temp folder."""
    from dataclasses import replace

    from ..anchor_core.motion.file import save_motion

    silent = replace(motion, sound=None)
    digest = hashlib.sha256(repr((silent.fps, silent.camera)).encode())
    for rows in (silent.pose, silent.translation, silent.expression):
        digest.update(rows.tobytes())
    path = _folders.temp_folder(digest.hexdigest()[:_DIGITS]) / "motion.npz"
    save_motion(silent, path)
    return path


def _source(video: Any) -> Any:
    """The file or stream of a VIDEO that is a whole one; None for frames, and for a part of a file."""
    from comfy_api.latest import InputImpl

    if not isinstance(video, InputImpl.VideoFromFile):
        return None
    window = getattr(video, "get_active_trim_window", lambda: (0, 0))()
    return None if any(window) else video.get_stream_source()


def _written(data: bytes, name: str) -> Path:
    from ..anchor_core.files import atomic_path

    path = _folders.temp_folder(hashlib.sha256(data).hexdigest()[:_DIGITS]) / f"{name}.mp4"
    if not path.is_file():
        with atomic_path(path) as partial:
            partial.write_bytes(data)
    return path


def _bytes_of(frames: torch.Tensor) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 each."""
    from ..anchor_core.render.mesh import to_bytes

    for frame in frames:
        colours = frame[..., :3] if frame.ndim == 3 else frame[..., None].expand(*frame.shape, 3)
        yield to_bytes(colours.float().cpu())
