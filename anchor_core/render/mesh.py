"""Posed meshes as pictures: the pose condition of the network (section 3.2: the mesh render of the body).

The published frames are 8-bit pictures of an OpenGL renderer with four samples per pixel; the torch
backend repeats their arithmetic: a surface is shaded once per pixel, rounded to 8 bits, and averaged over
the samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ..errors import AnchorError
from ..motion.camera import Camera
from ..progress import Progress
from .raster import Fragments, fragments, interpolate, project, resolve
from .shading import shade, vertex_normals

Backend = Literal["torch", "pyrender"]

MAX_SIDE = 8192


@dataclass(frozen=True, eq=False)
class MeshFrames:
    """Rendered frames.

    image: (F, H, W, 3) float32 in [0, 1], sRGB order red green blue, whole 8-bit levels, background 0.
    mask: (F, H, W) float32 coverage in [0, 1]. depth: (F, H, W) float32 metres from the camera's plane to
    the nearest surface, 0 where there is none.
    """

    image: Tensor
    mask: Tensor
    depth: Tensor

    def __len__(self) -> int:
        return len(self.image)


@torch.no_grad()
def render_mesh(
    vertices: Tensor,
    faces: Tensor,
    camera: Camera,
    *,
    antialias: bool = True,
    backend: Backend = "torch",
    progress: Progress | None = None,
) -> MeshFrames:
    """Render every frame in SHOW's look, at the size of the camera and on the device of the vertices.

    vertices: (F, V, 3) metres; x right, y up, z to the viewer. faces: (T, 3) int64, counter-clockwise from
    outside; their backs are not drawn. antialias: 4 samples per pixel. backend: "torch" runs everywhere;
    "pyrender" needs OpenGL. A mesh outside the picture gives black frames. Raises AnchorError.
    """
    check_mesh(vertices, faces)
    check_size(*camera.size)
    if backend not in get_args(Backend):
        raise AnchorError(f"The renderer is {backend!r}: use one of {', '.join(get_args(Backend))}.")
    if backend == "pyrender":
        from .opengl import render_opengl

        return render_opengl(vertices, faces, camera, antialias=antialias, progress=progress)
    frames = []
    for points in vertices.float():
        frames.append(_render_frame(points, faces, camera, antialias))
        if progress is not None:
            progress(len(frames), len(vertices), to_bytes(frames[-1][0]))
    image, mask, depth = (torch.stack(parts) for parts in zip(*frames, strict=True))
    return MeshFrames(image, mask, depth)


def check_mesh(vertices: Tensor, faces: Tensor, first: int = 0) -> None:
    """Raise an AnchorError unless vertices are (F, V, 3), finite, and faces (T, 3) point into them.

    first: the number of the first frame, for the message.
    """
    if vertices.ndim != 3 or vertices.shape[-1] != 3 or not len(vertices):
        raise AnchorError(
            f"The vertices have shape {tuple(vertices.shape)}: they need (frames, vertices, 3) with at least "
            "one frame."
        )
    if faces.ndim != 2 or faces.shape[-1] != 3 or faces.dtype != torch.int64:
        raise AnchorError(
            f"The faces have shape {tuple(faces.shape)} and type {faces.dtype}: they need (faces, 3), int64."
        )
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < vertices.shape[1]:
        raise AnchorError(
            f"A face points outside of the {vertices.shape[1]} vertices: use the body's own faces."
        )
    bad = ~vertices.isfinite().flatten(1).all(1)
    if bad.any():
        raise AnchorError(
            f"The body holds a number that is not finite in frame {first + int(bad.nonzero()[0, 0])} "
            f"({int(bad.sum())} bad frames of {len(vertices)}): repair or cut these frames of the motion."
        )


def check_size(width: int, height: int) -> None:
    """Raise an AnchorError unless a picture of width x height pixels can be rendered."""
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in (width, height))
    if not whole or not 1 <= min(width, height) <= max(width, height) <= MAX_SIDE:
        raise AnchorError(
            f"The picture's size is {width} x {height}: both sides need whole pixels from 1 to {MAX_SIDE}."
        )


def to_bytes(images: Tensor) -> np.ndarray:
    """Images in [0, 1] of any shape as uint8, rounded to the nearest level."""
    return images.clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()


def _render_frame(
    points: Tensor, faces: Tensor, camera: Camera, antialias: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Image (H, W, 3), coverage (H, W) and depth (H, W) of points (V, 3)."""
    width, height = camera.size
    screen_xy, depth = project(points, camera)
    picture = fragments(screen_xy, depth, faces, width, height, antialias=antialias, extrapolate=True)
    shown = draw_fragments(picture, points, faces, camera, (width, height))
    distance = interpolate(picture.inside(), faces, depth[:, None])[:, 0]
    return shown[..., :3], shown[..., 3], _nearest(picture, distance, width, height)


def draw_fragments(
    picture: Fragments, points: Tensor, faces: Tensor, camera: Camera, size: tuple[int, int]
) -> Tensor:
    """Shade and resolve fragments of points (V, 3): (H, W, 4), red, green, blue in whole levels and coverage.

    camera: where the light is seen from; the picture's own grid may be another than the camera's.
    """
    surface = interpolate(picture, faces, torch.cat([points, vertex_normals(points, faces)], dim=1)).T
    tx, ty, tz = camera.translation
    # The framebuffer rounds each sample, the resolve rounds their mean.
    colors = shade(surface[:3], surface[3:], (tx, -ty, tz)).mul_(255).round_()
    shown = resolve(picture, torch.cat([colors, torch.ones_like(colors[:1])]).T, *size)
    shown[..., :3] = shown[..., :3].round() / 255
    return shown


def _nearest(picture: Fragments, depth: Tensor, width: int, height: int) -> Tensor:
    """(H, W) depth of the nearest fragment of each pixel, 0 where there is none."""
    nearest = depth.new_full((height * width,), torch.inf)
    nearest.scatter_reduce_(0, picture.pixel, depth, "amin")
    return torch.where(nearest.isinf(), 0.0, nearest).view(height, width)
