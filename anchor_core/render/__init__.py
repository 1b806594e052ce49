"""Mesh renders: the pose condition of the network."""

from __future__ import annotations

from .mesh import Backend, MeshFrames, render_mesh
from .motion import MotionFrames, fit_camera, render_chunks, render_motion
from .raster import Fragments, fragments, interpolate, project, rasterize, resolve
from .shading import vertex_normals

__all__ = [
    "Backend",
    "Fragments",
    "MeshFrames",
    "MotionFrames",
    "fit_camera",
    "fragments",
    "interpolate",
    "project",
    "rasterize",
    "render_chunks",
    "render_mesh",
    "render_motion",
    "resolve",
    "vertex_normals",
]
