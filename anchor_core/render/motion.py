"""A motion on a body as mesh frames, a few frames at a time: working memory does not grow with the motion."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor

from ..ahead import in_order, worker_count
from ..body.model import BodyModel
from ..body.pose import pose_motion
from ..errors import AnchorError
from ..motion.camera import Camera, default_camera
from ..motion.motion import Motion
from ..progress import Progress
from .mesh import Backend, MeshFrames, check_mesh, check_size, render_mesh, to_bytes
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
    workers: int | None = None,
    progress: Progress | None = None,
) -> MotionFrames:
    """Pose the body by the motion and render it; the frames come back on the CPU.

    camera: default is the motion's own, else SHOW's example camera. size: (width, height) pixels instead of
    the camera's, see `fit_camera`. chunk: frames posed at once; it does not change the result but by
    rounding. workers: as of `render_chunks`, which is for a motion whose frames do not fit into memory.
    Raises AnchorError.
    """
    camera = fit_camera(camera or motion.camera, size)
    done = 0
    frames: MotionFrames | None = None
    for part in render_chunks(
        motion,
        body,
        camera,
        antialias=antialias,
        backend=backend,
        chunk=chunk,
        workers=workers,
        progress=progress,
    ):
        if frames is None:
            frames = _empty_like(part, motion.n_frames)
        for field in fields(part):
            getattr(frames, field.name)[done : done + len(part)] = getattr(part, field.name)
        done += len(part)
    assert frames is not None  # a motion has at least one frame
    return frames


def render_chunks(
    motion: Motion,
    body: BodyModel,
    camera: Camera,
    *,
    antialias: bool = True,
    backend: Backend = "torch",
    chunk: int = 16,
    start: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[MotionFrames]:
    """The same as `render_motion`, `chunk` frames at a time, at the camera's size, on the body's device.

    start: the first frame that is wanted; frames have the same bits wherever one starts, and the first part
    is shorter where that is inside of a chunk. workers: threads that render, one frame each at a time; the
    frames are the same bits and come in the same order with any number. By default as many as torch takes
    threads, at most 8; the GPU and pyrender are given one frame after the other.
    """
    if chunk < 1:
        raise AnchorError(f"The chunk is {chunk} frames: it needs at least 1.")
    if not 0 <= start < motion.n_frames:
        raise AnchorError(f"The start is frame {start}: it needs 0 to {motion.n_frames - 1}.")
    if workers is None:
        workers = worker_count() if body.device.type == "cpu" else 1
    at_once = chunk if backend == "pyrender" else 1  # its contexts are made for several frames
    drawn = in_order(
        partial(_draw, faces=body.faces, camera=camera, antialias=antialias, backend=backend),
        _posed(motion, body, chunk, start, at_once),
        1 if backend == "pyrender" else workers,
    )
    return _gathered(drawn, chunk, start, motion.n_frames, progress)


def _posed(
    motion: Motion, body: BodyModel, chunk: int, start: int, at_once: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Vertices and landmarks, `at_once` frames at a time from `start`, posed in the chunks of the motion."""
    for begin in range(start - start % chunk, motion.n_frames, chunk):
        posed = pose_motion(body, motion, begin, min(begin + chunk, motion.n_frames))
        check_mesh(posed.vertices, body.faces, begin)
        skipped = max(0, start - begin)
        parts = (points[skipped:].split(at_once) for points in (posed.vertices, posed.landmarks))
        yield from zip(*parts, strict=True)


def _draw(
    posed: tuple[Tensor, Tensor], faces: Tensor, camera: Camera, antialias: bool, backend: Backend
) -> MotionFrames:
    """Frames of vertices and landmarks."""
    vertices, landmarks = posed
    drawn = render_mesh(vertices, faces, camera, antialias=antialias, backend=backend)
    screen_xy, depth = project(landmarks, camera)
    places = torch.cat([screen_xy, depth[..., None]], dim=-1).float()
    return MotionFrames(drawn.image, drawn.mask, drawn.depth, places)


def _gathered(
    drawn: Generator[MotionFrames, None, None], chunk: int, start: int, stop: int, progress: Progress | None
) -> Iterator[MotionFrames]:
    """Frames start to stop - 1, as they come, in the chunks of the motion; each is reported."""
    with closing(drawn):
        parts, done = [], start
        for part in drawn:
            parts.append(part)
            for image in part.image:
                done += 1
                if progress is not None:
                    progress(done, stop, to_bytes(image))
            if done % chunk == 0 or done == stop:
                yield _joined(parts)
                parts = []


def _joined(parts: list[MotionFrames]) -> MotionFrames:
    return MotionFrames(
        *(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(MotionFrames))
    )


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
