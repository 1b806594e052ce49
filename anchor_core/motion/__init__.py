"""SMPL-X motion: the common type, cameras, and readers of the files that people have."""

from __future__ import annotations

from .camera import Camera, default_camera
from .motion import Motion, Validity, load_motion, save_motion
from .place import place_motion
from .read import read_motion

__all__ = [
    "Camera",
    "Motion",
    "Validity",
    "default_camera",
    "load_motion",
    "place_motion",
    "read_motion",
    "save_motion",
]
