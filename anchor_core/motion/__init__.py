"""SMPL-X motion: the common type, cameras, and readers of the files that people have."""

from __future__ import annotations

from .camera import Camera, default_camera
from .file import load_motion, save_motion
from .formats.parts import ReadOptions
from .motion import Motion, Validity
from .place import place_motion
from .read import read_motion
from .soundtrack import Soundtrack

__all__ = [
    "Camera",
    "Motion",
    "ReadOptions",
    "Soundtrack",
    "Validity",
    "default_camera",
    "load_motion",
    "place_motion",
    "read_motion",
    "save_motion",
]
