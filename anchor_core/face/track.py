"""Where the face of every frame is, and what steers the face pass there: crops of the mesh, masks.

The published stage runs a face detector on the mesh render and a parser on the generated frame, one frame at
a time, and breaks where it finds no face. The mesh tells both exactly. Each frame gets the five points of
FFHQ, the similarity to the template, how much of the face can be seen (z-buffer, turn of the head, border of
the frame) and the mask of the face, rasterised in the crop itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from ..body.model import BodyModel
from ..body.pose import pose_motion
from ..errors import AnchorError
from ..motion.camera import Camera
from ..motion.motion import Motion
from ..progress import Progress
from ..render.mesh import render_mesh, to_bytes
from ..render.motion import fit_camera
from ..render.raster import NEAR_M, project
from .align import FFHQ, crop_matrices, five_points, similarity
from .crop import CropRenderer
from .masks import face_oval
from .published import align_published
from .region import FOREHEAD, landmarks_alone
from .smoothing import smooth
from .visibility import COVERED, NO_FACE, OUTSIDE, SMALL, TURNED, facing, inside_frame, judge, large_enough
from .warp import warp_to_crops

MIN_CROP, MAX_CROP = 32, 2048
MAX_CHUNK = 32
"""Frames that are posed at once at most: more are no faster."""
_POINTS_CHUNK = 1024  # the same for the few vertices that landmarks lie on
MeshCrops = Literal["drawn", "warped"]


@dataclass(frozen=True)
class TrackOptions:
    """How faces are found and masked. Lengths are shares of the crop's side, so they grow with the face.

    smoothing: standard deviation in frames of the zero-phase filter of the five points; 0 aligns each frame
    on its own, as published. fill: close the holes of the mask (open mouth, eye slits). dilation: how far
    the mask reaches beyond the mesh (hairline, glasses, jaw). forehead: see `region`. min_visibility: frames
    that show a smaller share of their face are left as they are. mesh: "drawn" straight into the crop, or
    "warped" from a render of the frame, as published and softer; as the anchor's card says.
    """

    smoothing: float = 1.5
    fill: bool = True
    dilation: float = 0.03
    forehead: float = FOREHEAD
    min_visibility: float = 0.3
    mesh: MeshCrops = "drawn"

    def __post_init__(self) -> None:
        if self.mesh not in get_args(MeshCrops):
            raise AnchorError(f"mesh of the face track is {self.mesh!r}: choose 'drawn' or 'warped'")
        for name, high in (("smoothing", 100), ("dilation", 0.5), ("forehead", 1), ("min_visibility", 1)):
            value = getattr(self, name)
            if not 0 <= value <= high:
                raise AnchorError(f"{name} of the face track is {value}: need 0 to {high}; change it")


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """The faces of F frames.

    points: (F, 5, 2) float64, the five points in pixels of the frame, centres at whole numbers. matrices:
    (F, 2, 3) float64, frame to crop of 512. visibility: (F,) float32, 0 (hidden) to 1. hidden: why a frame's
    face is not painted, "" where it is. mesh: (F, S, S, 3) uint8, what the ControlNet sees. mask:
    (F, S, S) uint8, 255 where the face is to be painted. frame_size: width, height of the frames.
    min_visibility: where a face began to count as hidden; from there on it fades in.
    """

    points: Tensor
    matrices: Tensor
    visibility: Tensor
    hidden: tuple[str, ...]
    mesh: Tensor
    mask: Tensor
    frame_size: tuple[int, int]
    min_visibility: float = TrackOptions.min_visibility

    def __len__(self) -> int:
        return len(self.matrices)

    @property
    def crop_size(self) -> int:
        """Side S of the crops in pixels."""
        return int(self.mask.shape[-1])

    @property
    def visible(self) -> Tensor:
        """Numbers of the frames whose face is painted, (N,) int64."""
        return torch.tensor([frame for frame, why in enumerate(self.hidden) if not why], dtype=torch.int64)

    @property
    def crop_matrices(self) -> Tensor:
        """(F, 2, 3) float64, frame to crops of side S."""
        return crop_matrices(self.matrices, self.crop_size)


@torch.no_grad()
def track_motion(
    motion: Motion,
    body: BodyModel,
    camera: Camera | None = None,
    *,
    size: tuple[int, int] | None = None,
    crop_size: int = 256,
    options: TrackOptions | None = None,
    chunk: int = 16,
    progress: Progress | None = None,
) -> FaceTrack:
    """The faces of a motion on a body, as `render_motion` shows it with the same camera and size.

    crop_size: side of the crops in pixels. chunk: frames posed at once; it does not change the result.
    Frames whose face is hidden have a black crop and an empty mask. Raises AnchorError.
    """
    options, camera = options or TrackOptions(), fit_camera(camera or motion.camera, size)
    check_crop_size(crop_size)
    check_chunk(chunk)
    faces = _MeshFaces(motion, body, camera, crop_size, options)
    return faces.track(0, motion.n_frames, chunk, progress)


@torch.no_grad()
def track_chunks(
    motion: Motion,
    body: BodyModel,
    camera: Camera,
    *,
    crop_size: int = 256,
    options: TrackOptions | None = None,
    chunk: int = 16,
    start: int = 0,
) -> Iterator[FaceTrack]:
    """The same as `track_motion`, `chunk` frames at a time from frame `start` on: only the points of all
    frames are in memory together."""
    check_crop_size(crop_size)
    check_chunk(chunk)
    faces = _MeshFaces(motion, body, camera, crop_size, options or TrackOptions())
    for first in range(start, motion.n_frames, chunk):
        yield faces.track(first, min(first + chunk, motion.n_frames), chunk)


class _MeshFaces:
    """The faces of a motion: all points at once, for they are smoothed over time; crops when asked for."""

    def __init__(
        self, motion: Motion, body: BodyModel, camera: Camera, crop_size: int, options: TrackOptions
    ) -> None:
        self._motion, self._body, self._camera = motion, body, camera
        self._crop_size, self._options = crop_size, options
        points, self._turned = _mesh_points(motion, body, camera)
        self._points, self._found = _smoothed(points, options)
        self._renderer = CropRenderer(
            body, camera, crop_size, forehead=options.forehead, fill=options.fill, dilation=options.dilation
        )

    def track(self, start: int, stop: int, chunk: int, progress: Progress | None = None) -> FaceTrack:
        """The track of the frames start to stop - 1."""
        part, options = slice(start, stop), self._options
        track, shares = _located(
            self._points[part], self._found[part], self._camera.size, self._crop_size, options
        )
        shares[TURNED] = self._turned[part]
        hidden = judge(shares, options.min_visibility)[1]
        covered, matrices = torch.ones(len(track)), track.crop_matrices
        for frame, vertices in _frames(self._motion, self._body, hidden, start, chunk):
            if vertices is not None:
                drawn = self._renderer.draw(vertices, matrices[frame])
                track.mask[frame], covered[frame] = drawn.mask.cpu(), drawn.seen
                track.mesh[frame] = drawn.image.cpu()
                if options.mesh == "warped":
                    track.mesh[frame] = self._warped(vertices, track.matrices[frame])
            if progress is not None:
                progress(frame + 1, len(track), track.mesh[frame].numpy())
        return _judged(track, {**shares, COVERED: covered})

    def _warped(self, vertices: Tensor, matrix: Tensor) -> Tensor:
        picture = render_mesh(vertices[None], self._body.faces, self._camera).image[0]
        return align_published(to_bytes(picture), matrix, self._crop_size)


@torch.no_grad()
def track_points(
    points: Tensor,
    pose_frames: Tensor,
    *,
    crop_size: int = 256,
    options: TrackOptions | None = None,
) -> FaceTrack:
    """The faces of frames that have no mesh, from five points per frame.

    points: (F, 5, 2) pixels, centres at whole numbers, in the order of `align.FFHQ`; nan where a frame has
    no face. pose_frames: (F, H, W, 3) uint8 or float in [0, 1], the pictures that condition the body pass;
    the ControlNet sees them warped, as published. The mask is the oval of an average face.
    Raises AnchorError.
    """
    options = options or TrackOptions()
    check_crop_size(crop_size)
    _check_points(points, pose_frames)
    height, width = pose_frames.shape[1:3]
    track, shares = _located(*_smoothed(points, options), (width, height), crop_size, options)
    track = _judged(track, shares)
    oval = face_oval(crop_size)
    for frame in track.visible.tolist():
        picture = warp_to_crops(pose_frames[frame, None], track.crop_matrices[frame, None], crop_size)[0]
        track.mesh[frame] = picture.mul(255).round().to(torch.uint8)
        track.mask[frame] = oval
    return track


def with_mask(track: FaceTrack, mask: Tensor) -> FaceTrack:
    """The track with the user's own mask: (F, H, W) or (1, H, W) in [0, 1] on the frames, 1 = paint.

    Raises AnchorError for another size or number of frames, and for a mask that is empty or covers all.
    """
    _check_mask(track, mask)
    painted = torch.zeros_like(track.mask)
    for frame in track.visible.tolist():
        picture = mask[frame % len(mask), :, :, None]
        crop = warp_to_crops(picture[None], track.crop_matrices[frame, None], track.crop_size)[0, ..., 0]
        painted[frame] = (crop >= 0.5).to(torch.uint8) * 255
    return replace(track, mask=painted)


def check_crop_size(crop_size: int) -> None:
    """Raise AnchorError unless crops of this side can be drawn and encoded."""
    if not MIN_CROP <= crop_size <= MAX_CROP or crop_size % 8:
        raise AnchorError(
            f"the crop's side is {crop_size} pixels: need a multiple of 8 from {MIN_CROP} to {MAX_CROP}; "
            "256 is published"
        )


def check_chunk(chunk: int) -> None:
    """Raise AnchorError unless frames can be posed in groups of this size."""
    if chunk < 1:
        raise AnchorError(f"chunk of the face track is {chunk} frames: need 1 or more; usual is 16")


def _smoothed(points: Tensor, options: TrackOptions) -> tuple[Tensor, Tensor]:
    """Points (F, 5, 2) steady over time and without gaps, and (F,) where a frame had its own."""
    known = points.isfinite().flatten(1).all(1)
    if not bool(known.any()):
        return FFHQ.expand(len(points), 5, 2), torch.zeros(len(points))
    return smooth(points.flatten(1), options.smoothing, known).unflatten(1, (5, 2)), known


def _located(
    points: Tensor, found: Tensor, size: tuple[int, int], crop_size: int, options: TrackOptions
) -> tuple[FaceTrack, dict[str, Tensor]]:
    """A track with empty crops, and what the points tell of the visibility."""
    n_frames = len(points)
    matrices = similarity(points)
    shares = {
        NO_FACE: found.double(),
        SMALL: large_enough(matrices),
        OUTSIDE: inside_frame(matrices, size),
    }
    square = (n_frames, crop_size, crop_size)
    mesh, mask = torch.zeros(*square, 3, dtype=torch.uint8), torch.zeros(square, dtype=torch.uint8)
    shown, seen = ("",) * n_frames, torch.ones(n_frames)
    track = FaceTrack(points, matrices, seen, shown, mesh, mask, size, options.min_visibility)
    return track, shares


def _judged(track: FaceTrack, shares: dict[str, Tensor]) -> FaceTrack:
    """The track with visibilities; hidden frames lose their crop and mask."""
    visibility, hidden = judge(shares, track.min_visibility)
    track = replace(track, visibility=visibility, hidden=hidden)
    lost = torch.ones(len(track), dtype=torch.bool)
    lost[track.visible] = False
    track.mask[lost], track.mesh[lost] = 0, 0
    return track


def _mesh_points(motion: Motion, body: BodyModel, camera: Camera) -> tuple[Tensor, Tensor]:
    """The five points (F, 5, 2), nan behind the camera, and the share (F,) of the face turned to it."""
    tx, ty, tz = camera.translation
    bare = landmarks_alone(body)
    landmarks = torch.cat(
        [
            pose_motion(bare, motion, start, min(start + _POINTS_CHUNK, motion.n_frames)).landmarks
            for start in range(0, motion.n_frames, _POINTS_CHUNK)
        ]
    )
    screen_xy, depth = project(landmarks, camera)
    points = five_points(screen_xy).cpu() - 0.5  # the renderer counts centres at + 0.5
    points[(depth <= NEAR_M).any(1).cpu()] = torch.nan
    return points, facing(landmarks, (tx, -ty, tz)).cpu()


def _frames(
    motion: Motion, body: BodyModel, hidden: tuple[str, ...], begin: int, chunk: int
) -> Iterator[tuple[int, Tensor | None]]:
    """Numbers of the frames from `begin` on, counted from there, with vertices (V, 3), or None where the face
    is hidden."""
    end, n_frames = begin + len(hidden), motion.n_frames
    for start in range(begin, end, min(chunk, MAX_CHUNK)):
        stop = min(start + min(chunk, MAX_CHUNK), end)
        # A product with one row is rounded otherwise than one with many: a frame alone brings another along.
        last = min(max(stop, start + 2), n_frames)
        first = max(0, min(start, last - 2))
        shown = not all(hidden[start - begin : stop - begin])
        posed = pose_motion(body, motion, first, last).vertices[start - first :] if shown else None
        for frame in range(start, stop):
            yield frame - begin, None if posed is None or hidden[frame - begin] else posed[frame - start]


def _check_points(points: Tensor, pose_frames: Tensor) -> None:
    if points.ndim != 3 or points.shape[1:] != (5, 2):
        raise AnchorError(
            f"the face points have the shape {tuple(points.shape)}: need (frames, 5, 2), for each frame the "
            "left eye, right eye, nose tip, left and right corner of the mouth as x, y in pixels"
        )
    if pose_frames.ndim != 4 or pose_frames.shape[3] != 3 or not 0 < len(pose_frames) == len(points):
        raise AnchorError(
            f"there are face points for {len(points)} frames and pose frames of shape "
            f"{tuple(pose_frames.shape)}: give one (height, width, 3) pose frame per frame of points"
        )
    brightest = float(pose_frames[0].max())
    if pose_frames.is_floating_point() and brightest > 1 + 1e-3:
        raise AnchorError(
            f"the first pose frame holds values up to {brightest:g}: need 0 to 1, or uint8; divide the "
            "frames by 255"
        )


def _check_mask(track: FaceTrack, mask: Tensor) -> None:
    width, height = track.frame_size
    if mask.ndim != 3 or tuple(mask.shape[1:]) != (height, width) or len(mask) not in (1, len(track)):
        raise AnchorError(
            f"the face mask has the shape {tuple(mask.shape)}: need 1 or {len(track)} masks of "
            f"{width} x {height} pixels, the size of the frames"
        )
    painted = (mask >= 0.5).flatten(1).double().mean(1)
    if not bool((painted > 0).any()):
        raise AnchorError("the face mask is empty: paint the face white (1), or leave the mask away")
    if bool((painted >= 1).any()):
        raise AnchorError(
            "the face mask covers a whole frame: paint only the face white (1), or leave the mask away"
        )
