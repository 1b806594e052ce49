"""A motion on a body as mesh frames, a few frames at a time: working memory does not grow with the motion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from ..body.model import BodyModel
from ..body.pose import pose_motion
from ..errors import AnchorError
from ..motion.camera import Camera, default_camera
from ..motion.motion import Motion
from ..progress import Progress
from .mesh import Backend, MeshFrames, check_size, render_mesh
from .raster import project


@dataclass(frozen=True, eq=False)
class MotionFrames(MeshFrames):
    """Rendered frames of a motion.

    landmarks: (F, 68, 3) of the face in iBUG order: x and y in pixels, depth in metres; a pixel's centre is
    at + 0.5. Hidden points are there too.
    """

    landmarks: Tensor


@torch.no_grad()
def render_motion(
    motion: Motion,
    body: BodyModel,
    camera: Camera | None = None,
    *,
    size: tuple[int, int] | None = None,
    antialias: bool = True,
    backend: Backend = "torch",
    chunk: int = 16,
    progress: Progress | None = None,
) -> MotionFrames:
    """Pose the body by the motion and render it; the frames come back on the CPU.

    camera: default is the motion's own, else SHOW's example camera. size: (width, height) pixels instead of
    the camera's, see `fit_camera`. chunk: frames posed at once; it does not change the result. For a motion
    whose frames do not fit into memory see `render_chunks`. Raises AnchorError.
    """
    camera = fit_camera(camera or motion.camera, size)
    done = 0
    frames: MotionFrames | None = None
    for part in render_chunks(
        motion, body, camera, antialias=antialias, backend=backend, chunk=chunk, progress=progress
    ):
        if frames is None:
            frames = _empty_like(part, motion.n_frames)
        for field in fields(part):
            getattr(frames, field.name)[done : done + len(part)] = getattr(part, field.name)
        done += len(part)
    assert frames is not None  # a motion has at least one frame
    return frames


@torch.no_grad()
def render_chunks(
    motion: Motion,
    body: BodyModel,
    camera: Camera,
    *,
    antialias: bool = True,
    backend: Backend = "torch",
    chunk: int = 16,
    progress: Progress | None = None,
) -> Iterator[MotionFrames]:
    """The same as `render_motion`, `chunk` frames at a time, at the camera's size, on the body's device."""
    if chunk < 1:
        raise AnchorError(f"The chunk is {chunk} frames: it needs at least 1.")
    for start in range(0, motion.n_frames, chunk):
        posed = pose_motion(body, motion, start, min(start + chunk, motion.n_frames))
        rendered = render_mesh(
            posed.vertices,
            body.faces,
            camera,
            antialias=antialias,
            backend=backend,
            progress=_continued(progress, start, motion.n_frames),
        )
        screen_xy, depth = project(posed.landmarks, camera)
        landmarks = torch.cat([screen_xy, depth[..., None]], dim=-1).float()
        yield MotionFrames(rendered.image, rendered.mask, rendered.depth, landmarks)


def fit_camera(camera: Camera | None, size: tuple[int, int] | None) -> Camera:
    """The camera at a size of (width, height) pixels, without stretching the person.

    A size of another shape shows the largest part of the camera's picture that has this shape, about its
    middle. None as camera is SHOW's example camera, None as size leaves it as it is.
    """
    if size is None:
        return camera or default_camera()
    check_size(*size)
    if camera is None:
        return default_camera(*size)
    width, height = camera.size
    scale = max(size[0] / width, size[1] / height)
    kept_width, kept_height = size[0] / scale, size[1] / scale
    x0, y0 = (width - kept_width) / 2, (height - kept_height) / 2
    return replace(
        camera,
        focal_px=(camera.focal_px[0] * scale, camera.focal_px[1] * scale),
        center_px=((camera.center_px[0] - x0) * scale, (camera.center_px[1] - y0) * scale),
        size=size,
    )


def _empty_like(part: MotionFrames, n_frames: int) -> MotionFrames:
    """Room on the CPU for all frames."""
    shapes = (getattr(part, field.name).shape[1:] for field in fields(part))
    return MotionFrames(*(torch.empty(n_frames, *shape) for shape in shapes))


def _continued(progress: Progress | None, start: int, n_frames: int) -> Progress | None:
    """The progress of one chunk as a part of the whole motion's."""
    if progress is None:
        return None
    return lambda done, _total, preview: progress(start + done, n_frames, preview)
