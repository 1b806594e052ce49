"""Where the face of every frame is, and what steers the face pass there: crops of the mesh, masks.

The published stage runs a face detector on the mesh render and a parser on the generated frame, one frame at
a time, and breaks where it finds no face. The mesh tells both exactly. Each frame gets the five points of
FFHQ, the similarity to the template, how much of the face can be seen (z-buffer, turn of the head, border of
the frame) and the mask of the face, rasterised in the crop itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ..body.model import BodyModel
from ..body.pose import pose_motion
from ..errors import AnchorError
from ..frames import Frames
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
from .visibility import (
    COVERED,
    NO_FACE,
    OUTSIDE,
    SMALL,
    TURNED,
    facing,
    fade_weights,
    inside_frame,
    judge,
    large_enough,
)
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
    (F, S, S) uint8, 255 where the face is to be painted; both may lie in files. frame_size: width, height of
    the frames. min_visibility: where a face began to count as hidden; from there on it fades in.
    """

    points: Tensor
    matrices: Tensor
    visibility: Tensor
    hidden: tuple[str, ...]
    mesh: Frames
    mask: Frames
    frame_size: tuple[int, int]
    min_visibility: float = TrackOptions.min_visibility

    def __len__(self) -> int:
        return len(self.matrices)

    @property
    def crop_size(self) -> int:
        """Side S of the crops in pixels."""
        return int(self.mask.shape[-1])

    @cached_property
    def visible(self) -> Tensor:
        """Numbers of the frames whose face is painted, (N,) int64."""
        return torch.tensor([frame for frame, why in enumerate(self.hidden) if not why], dtype=torch.int64)

    @cached_property
    def crop_matrices(self) -> Tensor:
        """(F, 2, 3) float64, frame to crops of side S."""
        return crop_matrices(self.matrices, self.crop_size)

    @cached_property
    def weights(self) -> Tensor:
        """How much of its new face each frame shows, (F,) float32, 0 where it is hidden."""
        shown = torch.zeros(len(self))
        shown[self.visible] = fade_weights(self.visibility, self.min_visibility)[self.visible]
        return shown

    def painted(self, part: slice | Tensor = slice(None)) -> Tensor:
        """Masks of some frames, (n, S, S) float32: 1 where the face is to be painted."""
        return (self.mask[part] > 127).float()


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
    camera = fit_camera(camera or motion.camera, size)
    faces = MeshFaces(motion, body, camera, crop_size, options or TrackOptions())
    return faces.in_memory(0, motion.n_frames, chunk, progress)


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
    check_chunk(chunk)
    faces = MeshFaces(motion, body, camera, crop_size, options or TrackOptions())
    for first in range(start, motion.n_frames, chunk):
        yield faces.in_memory(first, min(first + chunk, motion.n_frames), chunk)


class DrawnFaces(NamedTuple):
    """Crops of the frames from number `first` on: mesh (n, S, S, 3), mask (n, S, S), uint8, empty where the
    face is hidden; seen (n,) float32, share of each face that nothing is in front of."""

    first: int
    mesh: Tensor
    mask: Tensor
    seen: Tensor


class MeshFaces:
    """The faces of a motion: numbers of all frames at once, for they are smoothed over time; crops when asked
    for, a few at a time.

    rendered: the mesh frames of the motion where they are at hand: crops "warped" are cut out of them.
    Raises AnchorError.
    """

    def __init__(
        self,
        motion: Motion,
        body: BodyModel,
        camera: Camera,
        crop_size: int,
        options: TrackOptions,
        rendered: Frames | None = None,
    ) -> None:
        check_crop_size(crop_size)
        self._motion, self._body, self._camera = motion, body, camera
        self._crop_size, self._options, self._rendered = crop_size, options, rendered
        points, turned = _mesh_points(motion, body, camera)
        self._points, found = _smoothed(points, options)
        self._matrices = similarity(self._points)
        self._shares = {**_shares(self._matrices, found, camera.size), TURNED: turned}
        self._hidden = judge(self._shares, options.min_visibility)[1]
        self._crops = crop_matrices(self._matrices, crop_size)
        self._renderer = CropRenderer(
            body, camera, crop_size, forehead=options.forehead, fill=options.fill, dilation=options.dilation
        )

    def drawn(
        self, start: int, stop: int, chunk: int, progress: Progress | None = None
    ) -> Iterator[DrawnFaces]:
        """The crops of the frames start to stop - 1, `chunk` at a time, which does not change them."""
        check_chunk(chunk)
        for first in range(start, stop, min(chunk, MAX_CHUNK)):
            yield self._draw(first, min(first + min(chunk, MAX_CHUNK), stop), progress)

    def in_memory(self, start: int, stop: int, chunk: int, progress: Progress | None = None) -> FaceTrack:
        """The track of the frames start to stop - 1."""
        square = (stop - start, self._crop_size, self._crop_size)
        mesh, mask = torch.empty(*square, 3, dtype=torch.uint8), torch.empty(square, dtype=torch.uint8)
        seen = torch.empty(stop - start)
        for part in self.drawn(start, stop, chunk, progress):
            place = slice(part.first - start, part.first - start + len(part.seen))
            mesh[place], mask[place], seen[place] = part.mesh, part.mask, part.seen
        return self.track(slice(start, stop), seen, mesh, mask)

    def track(self, part: slice, seen: Tensor, mesh: Frames, mask: Frames) -> FaceTrack:
        """The track of some frames, once their crops are drawn."""
        shares = {**{name: share[part] for name, share in self._shares.items()}, COVERED: seen}
        visibility, hidden = judge(shares, self._options.min_visibility)
        return FaceTrack(
            points=self._points[part],
            matrices=self._matrices[part],
            visibility=visibility,
            hidden=hidden,
            mesh=mesh,
            mask=mask,
            frame_size=self._camera.size,
            min_visibility=self._options.min_visibility,
        )

    def _draw(self, start: int, stop: int, progress: Progress | None) -> DrawnFaces:
        square = (stop - start, self._crop_size, self._crop_size)
        mesh, mask = torch.zeros(*square, 3, dtype=torch.uint8), torch.zeros(square, dtype=torch.uint8)
        seen, posed = torch.ones(stop - start), self._posed(start, stop)
        for row, frame in enumerate(range(start, stop)):
            if posed is not None and not self._hidden[frame]:
                mesh[row], mask[row], seen[row] = self._crop(frame, posed[row])
            if progress is not None:
                progress(frame + 1, self._motion.n_frames, mesh[row].numpy())
        lost = [bool(why) for why in self.track(slice(start, stop), seen, mesh, mask).hidden]
        mesh[lost], mask[lost] = 0, 0
        return DrawnFaces(start, mesh, mask, seen)

    def _posed(self, start: int, stop: int) -> Tensor | None:
        """Vertices (n, V, 3) of the frames start to stop - 1; None where all their faces are hidden."""
        if all(self._hidden[start:stop]):
            return None
        # A product with one row is rounded otherwise than one with many: a frame alone brings another along.
        last = min(max(stop, start + 2), self._motion.n_frames)
        first = max(0, min(start, last - 2))
        return pose_motion(self._body, self._motion, first, last).vertices[start - first :]

    def _crop(self, frame: int, vertices: Tensor) -> tuple[Tensor, Tensor, float]:
        """Mesh and mask of a frame's crop, and the share of the face that is seen."""
        drawn_there = self._options.mesh == "drawn"
        drawn = self._renderer.draw(vertices, self._crops[frame], shaded=drawn_there)
        image = drawn.image if drawn_there else self._warped(frame, vertices)
        return image.cpu(), drawn.mask.cpu(), drawn.seen

    def _warped(self, frame: int, vertices: Tensor) -> Tensor:
        if self._rendered is None:
            picture = render_mesh(vertices[None], self._body.faces, self._camera).image[0]
            return align_published(to_bytes(picture), self._matrices[frame], self._crop_size)
        return align_published(self._rendered[frame], self._matrices[frame], self._crop_size)


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
    points, found = _smoothed(points, options)
    matrices = similarity(points)
    visibility, hidden = judge(_shares(matrices, found, (width, height)), options.min_visibility)
    square = (len(points), crop_size, crop_size)
    mesh, mask = torch.zeros(*square, 3, dtype=torch.uint8), torch.zeros(square, dtype=torch.uint8)
    track = FaceTrack(
        points, matrices, visibility, hidden, mesh, mask, (width, height), options.min_visibility
    )
    oval = face_oval(crop_size)
    for frame in track.visible.tolist():
        picture = warp_to_crops(pose_frames[frame, None], track.crop_matrices[frame, None], crop_size)[0]
        mesh[frame] = picture.mul(255).round().to(torch.uint8)
        mask[frame] = oval
    return track


def with_mask(track: FaceTrack, mask: Tensor) -> FaceTrack:
    """The track with the user's own mask: (F, H, W) or (1, H, W) in [0, 1] on the frames, 1 = paint.

    Raises AnchorError for another size or number of frames, and for a mask that is empty or covers all.
    """
    _check_mask(track, mask)
    painted = torch.zeros(tuple(track.mask.shape), dtype=torch.uint8)
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


def _shares(matrices: Tensor, found: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """What the points tell of the visibility, reason to (F,)."""
    return {
        NO_FACE: found.double(),
        SMALL: large_enough(matrices),
        OUTSIDE: inside_frame(matrices, size),
    }


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
