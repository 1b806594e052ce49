"""A motion as small pictures within seconds, alone or over the video that it was taken from.

The look is that of the mesh renders, without anti-aliasing. Frames are made a few at a time, in two threads
(torch releases the interpreter's lock, and one frame is too small for its own threads), and handed on in
order: the memory does not grow with the motion.
"""

from __future__ import annotations

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch

from ..body.model import BodyModel
from ..body.pose import pose_motion
from ..errors import AnchorError
from ..motion.camera import Camera, default_camera
from ..motion.motion import Motion
from ..motion.place import place_motion
from ..progress import Progress
from ..video.read import read_frames, read_info
from ..video.write import check_frame, write_video
from .caption import Captions
from .mesh import check_mesh, check_size, draw_fragments, to_bytes
from .motion import fit_camera
from .raster import fragments, project

PREVIEW_SIZE = 256
OPACITY = 0.7
"""Of the mesh over a video: the person stays visible under it."""
_CHUNK = 8  # frames posed at once; with 4 to 16 it is equally fast
_WORKERS = 2
_QUICK_FRAMES, _QUICK_FPS = 600, 2
_SAME_SHAPE = 0.02  # relative difference of width / height that rounding to whole pixels may cause
logger = logging.getLogger("anchor")
_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class Footage:
    """The video that a motion was taken from.

    frames: (H, W, 3) uint8 sRGB each, all of one size; taken once, as they are needed. fps: of the video, may
    differ from the motion's. start_s: second of the video in which the motion begins; where the video has no
    frame the mesh stands on black. opacity: of the mesh, 0 shows only the video, 1 hides what is behind.
    """

    frames: Iterable[np.ndarray]
    fps: float
    start_s: float = 0.0
    opacity: float = OPACITY

    def __post_init__(self) -> None:
        if not 0 < self.fps < 1000:
            raise AnchorError(f"The video has {self.fps:g} frames per second: give a rate above 0, as 25.")
        if not np.isfinite(self.start_s):
            raise AnchorError(f"The video starts at second {self.start_s}: give a finite number.")
        if not 0 <= self.opacity <= 1:
            raise AnchorError(f"The mesh's opacity is {self.opacity:g}: it needs to be from 0 to 1.")


def open_footage(path: str | os.PathLike[str], start_s: float = 0.0, opacity: float = OPACITY) -> Footage:
    """A video file as footage, decoded while it is shown; its frames are taken as evenly spaced.

    Raises AnchorError when the file is no video.
    """
    return Footage(read_frames(path), read_info(path).fps, start_s, opacity)


def footage_of(images: torch.Tensor, fps: float, start_s: float = 0.0) -> Footage:
    """Frames in memory, (F, H, W, 3) in [0, 1], as footage; turned into bytes while they are shown."""
    return Footage((to_bytes(image) for image in images), fps, start_s)


def preview_frames(
    motion: Motion,
    body: BodyModel,
    *,
    size: int | None = PREVIEW_SIZE,
    stride: int = 1,
    background: Footage | None = None,
    captions: bool = True,
    progress: Progress | None = None,
) -> Iterator[np.ndarray]:
    """The frames 0, stride, 2 stride, ... of the motion as pictures (H, W, 3) uint8 sRGB, one at a time.

    size: pixels of the longer side; None for the size of the video, or of the camera. A motion without a
    camera is put in front of the default one. background: drawn under the mesh, each time the frame that is
    nearest in time; the camera is fitted to it. captions: number and second of the frame, and whether it was
    interpolated, in the corner. Raises AnchorError at once for bad arguments, later for frames that cannot be
    read or drawn.
    """
    if stride < 1:
        raise AnchorError(f"The stride is {stride}: it needs 1 (every frame) or more.")
    if background is not None and motion.camera is None:
        logger.warning(
            "The motion has no camera: the mesh stands in front of the default one, not on the person of the "
            "video."
        )
    behind = None if background is None else _Behind(background)
    staged = with_camera(motion)
    camera = _camera(staged, None if behind is None else behind.size, size)
    notes = Captions(motion, camera.size) if captions else None
    thinned = staged if stride == 1 else _thinned(staged, stride)
    return _pictures(_Scene(thinned, body, camera, stride, behind, notes), progress)


def write_preview(
    path: str | os.PathLike[str],
    motion: Motion,
    body: BodyModel,
    *,
    stride: int | None = None,
    **options: Any,
) -> int:
    """Write the preview as an .mp4 that lasts as long as the motion, with its sound; returns its frames.

    stride: draw every n-th frame; None for `quick_stride`. options: as in `preview_frames`.
    Raises AnchorError.
    """
    stride = quick_stride(motion) if stride is None else stride
    if stride > max(1, motion.fps):
        raise AnchorError(
            f"The stride is {stride} at {motion.fps:g} fps: a video needs at least one picture per second, "
            f"choose a stride up to {int(motion.fps)}."
        )
    sound = None if motion.sound is None else motion.sound.pair
    frames = preview_frames(motion, body, stride=stride, **options)
    return write_video(path, frames, motion.fps / stride, audio=sound)


def quick_stride(motion: Motion) -> int:
    """The stride that leaves at most 600 frames to draw, but at least two per second; 1 in a short motion."""
    return max(1, min(math.ceil(motion.n_frames / _QUICK_FRAMES), int(motion.fps / _QUICK_FPS)))


def with_camera(motion: Motion) -> Motion:
    """The motion itself when it has a camera, else in front of the default one, as anchors sit."""
    return motion if motion.camera is not None else place_motion(motion, default_camera(), motion.betas)


@dataclass(frozen=True, eq=False)
class _Scene:
    motion: Motion
    body: BodyModel
    camera: Camera
    stride: int
    behind: _Behind | None
    notes: Captions | None

    def drawn(self, start: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pictures (H, W, 3) uint8 of the mesh on black, and where it is (H, W), of `_CHUNK` frames."""
        stop = min(start + _CHUNK, self.motion.n_frames)
        vertices = pose_motion(self.body, self.motion, start, stop).vertices
        check_mesh(vertices, self.body.faces)
        return [_draw(points, self.body.faces, self.camera) for points in vertices.float()]

    def finished(self, index: int, picture: np.ndarray, hit: np.ndarray) -> np.ndarray:
        """The picture with what is behind the mesh and the caption."""
        if self.behind is not None:
            picture = self.behind.under(picture, hit, index / self.motion.fps)
        return picture if self.notes is None else self.notes.drawn(picture, index * self.stride)


def _pictures(scene: _Scene, progress: Progress | None) -> Iterator[np.ndarray]:
    n_frames = scene.motion.n_frames
    parts = _ahead(scene.drawn, range(0, n_frames, _CHUNK))
    for index, (picture, hit) in enumerate(chain.from_iterable(parts)):
        picture = scene.finished(index, picture, hit)
        if progress is not None:
            progress(index + 1, n_frames, picture)
        yield picture


def _ahead(work: Callable[[_Job], _Result], jobs: Sequence[_Job]) -> Iterator[_Result]:
    """The results in the order of the jobs; at most one more than there are workers is under way."""
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="preview")
    try:
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) > _WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when nobody wants the rest
        pool.shutdown(wait=True, cancel_futures=True)


@torch.no_grad()
def _draw(points: torch.Tensor, faces: torch.Tensor, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    screen_xy, depth = project(points, camera)
    picture = fragments(screen_xy, depth, faces, *camera.size, antialias=False)
    shown = draw_fragments(picture, points, faces, camera, camera.size)
    return to_bytes(shown[..., :3]), (shown[..., 3] > 0).cpu().numpy()


def _thinned(motion: Motion, stride: int) -> Motion:
    return motion.per_frame(lambda rows: rows[::stride], fps=motion.fps / stride, sound=None)


def _camera(motion: Motion, video: tuple[int, int] | None, size: int | None) -> Camera:
    """The motion's camera at the size of the preview, in the shape of the video where there is one."""
    assert motion.camera is not None  # `with_camera` gave it one
    width, height = video or motion.camera.size
    shape = motion.camera.size[0] / motion.camera.size[1]
    if abs(width / height / shape - 1) > _SAME_SHAPE:
        logger.warning(
            "The motion's camera saw %d x %d pixels and the video has %d x %d: taken as a part about the "
            "middle of the same picture.",
            *(*motion.camera.size, width, height),
        )
    if size is not None:
        check_size(size, size)
        scale = size / max(width, height)
        width, height = (max(2, 2 * round(side * scale / 2)) for side in (width, height))  # H.264 needs even
    return fit_camera(motion.camera, (width, height))


class _Behind:
    """The frames of a video by time, in the size of the preview."""

    def __init__(self, footage: Footage) -> None:
        self._footage = footage
        self._frames = iter(footage.frames)
        first = next(self._frames, None)
        if first is None:
            raise AnchorError("The video has no frames: choose another, or none.")
        check_frame(first, None, 0)
        self._shape = first.shape[:2]
        self._frame = first
        self._index = 0
        self._ended = self._said = False
        self._scaled: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) pixels of the video."""
        return self._shape[1], self._shape[0]

    def under(self, picture: np.ndarray, hit: np.ndarray, second: float) -> np.ndarray:
        """The mesh (H, W, 3) uint8, which is where `hit` (H, W), over the video's frame of that second."""
        height, width = picture.shape[:2]
        behind = self._at(self._footage.start_s + second, (width, height))
        if behind is None:
            return picture
        opacity = np.float32(self._footage.opacity)
        behind[hit] = (picture[hit] * opacity + behind[hit] * (1 - opacity) + 0.5).astype(np.uint8)
        return behind

    def _at(self, second: float, size: tuple[int, int]) -> np.ndarray | None:
        """A copy of the frame nearest in time, or None where the video has none; times must not fall."""
        place = second * self._footage.fps + 1e-6
        while self._index < math.floor(place + 0.5) and not self._ended:
            self._advance()
        last_is_over = self._ended and place >= self._index + 1
        if last_is_over and not self._said:
            self._said = True
            logger.warning("The video ends at %.2f s, before the motion: the mesh goes on on black.", second)
        if last_is_over or place < -0.5:
            return None
        if self._scaled is None:
            self._scaled = _resized(self._frame, size)
        return self._scaled.copy()

    def _advance(self) -> None:
        frame = next(self._frames, None)
        if frame is None:
            self._ended = True
            return
        self._index += 1
        check_frame(frame, self._shape, self._index)
        self._frame, self._scaled = frame, None


def _resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    if (frame.shape[1], frame.shape[0]) == size:
        return frame
    return np.array(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
