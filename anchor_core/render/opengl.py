"""The same picture through OpenGL and pyrender, the renderer of the published frames.

Every call makes its own context in its own thread and deletes it: a context made in one thread does not work
in another. Off-screen contexts need EGL (Linux); the torch backend needs none of this.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import AnchorError
from ..motion.camera import Camera
from ..progress import Progress
from .mesh import MeshFrames
from .raster import NEAR_M
from .shading import SHOW_LOOK, Look, vertex_normals

_FAR_M = 100.0
_MISSING = (
    "The renderer 'pyrender' is not available ({reason}): install it with `pip install pyrender` and OpenGL "
    "with `apt install libegl1 libgl1-mesa-dri`, or use the renderer 'torch', which needs neither."
)


def render_opengl(
    vertices: Tensor,
    faces: Tensor,
    camera: Camera,
    *,
    antialias: bool = True,
    progress: Progress | None = None,
) -> MeshFrames:
    """`render_mesh` through pyrender, on checked arguments; without pyrender or OpenGL an AnchorError.

    antialias: must be True, this renderer always takes 4 samples. The depth is that of one sample per pixel.
    """
    if not antialias:
        raise AnchorError(
            "The renderer 'pyrender' always smooths edges: use antialias, or the renderer 'torch'."
        )
    pyrender = _load_pyrender()
    renderer = _new_renderer(pyrender, camera.size)
    frames = []
    try:
        scene = _scene(pyrender, camera, SHOW_LOOK)
        flags = pyrender.RenderFlags.RGBA
        for points in vertices.float().cpu().numpy():
            node = scene.add(_mesh(pyrender, points, faces.cpu().numpy(), SHOW_LOOK))
            color, depth = renderer.render(scene, flags=flags)
            scene.remove_node(node)
            frames.append((color, depth))
            if progress is not None:
                progress(len(frames), len(vertices), color[..., :3].copy())
    finally:
        renderer.delete()
    colors = torch.from_numpy(np.stack([color for color, _ in frames])).to(vertices.device).float() / 255
    depths = torch.from_numpy(np.stack([depth for _, depth in frames])).to(vertices.device).float()
    return MeshFrames(colors[..., :3].contiguous(), colors[..., 3].contiguous(), depths)


def _load_pyrender() -> Any:
    if sys.platform == "darwin":
        # A context off the main thread ends the whole process there, and hosts render in worker threads.
        raise AnchorError("The renderer 'pyrender' does not work on macOS: use the renderer 'torch'.")
    if sys.platform == "linux":
        # Read by the first import of OpenGL in the process; a user's own choice stands.
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    try:
        import pyrender
    except Exception as error:  # a missing system library shows up as any of several types
        raise AnchorError(_MISSING.format(reason=repr(error))) from error
    return pyrender


def _new_renderer(pyrender: Any, size: tuple[int, int]) -> Any:
    try:
        return pyrender.OffscreenRenderer(*size)
    except Exception as error:  # the driver's errors have no common type
        raise AnchorError(_MISSING.format(reason=f"no OpenGL context, {error!r}")) from error


def _scene(pyrender: Any, camera: Camera, look: Look) -> Any:
    """Camera and lights; the mesh comes and goes."""
    scene = pyrender.Scene(bg_color=[0, 0, 0, 0], ambient_light=[look.ambient] * 3)
    tx, ty, tz = camera.translation
    view = pyrender.IntrinsicsCamera(*camera.focal_px, *camera.center_px, znear=NEAR_M, zfar=_FAR_M)
    scene.add(view, pose=_at((tx, -ty, tz)))
    for light in look.lights:
        if light.spot:
            source = pyrender.SpotLight(
                color=np.ones(3),
                intensity=light.intensity,
                innerConeAngle=light.inner_rad,
                outerConeAngle=light.outer_rad,
            )
        else:
            source = pyrender.PointLight(color=np.ones(3), intensity=light.intensity)
        scene.add(source, pose=_at(light.position))
    return scene


def _mesh(pyrender: Any, points: np.ndarray, faces: np.ndarray, look: Look) -> Any:
    material = pyrender.MetallicRoughnessMaterial(
        baseColorFactor=(*look.base_color, 1.0),
        metallicFactor=look.metallic,
        roughnessFactor=look.roughness,
        alphaMode="OPAQUE",
    )
    normals = vertex_normals(torch.from_numpy(points), torch.from_numpy(faces)).numpy()
    return pyrender.Mesh([pyrender.Primitive(points, normals=normals, indices=faces, material=material)])


def _at(position: tuple[float, float, float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = position
    return pose
