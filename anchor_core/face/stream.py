"""The face pass on clips of any length: a few frames at a time, and on from where it was stopped.

Only numbers of each frame and latents are as long as the clip in memory; mesh crops and masks, and as many
generated crops as may be kept, lie in files. All groups of frames are counted from the front of the clip,
so it makes no difference where the work begins: networks round otherwise for other groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..body.model import BodyModel
from ..errors import AnchorError
from ..frames import FrameFile, Frames
from ..motion.camera import Camera
from ..motion.motion import Motion
from ..progress import Progress, StepFactory, silent_step
from ..render.motion import fit_camera
from .blend import BlendOptions, as_floats, blend_faces, color_offsets, steady_offsets
from .checks import check_crops, check_frames, check_latents
from .codec import LatentCodec
from .inpaint import CHUNK, as_picture
from .rows import RowFile, RowList, Rows, append_missing, unfinished
from .track import FaceTrack, MeshFaces, TrackOptions
from .warp import warp_to_crops

KEPT_BYTES = 2**30
"""Of generated crops that a file keeps for the blending; what is above is decoded a second time."""


@dataclass(frozen=True)
class PassOptions:
    """How faces are put back, and how much memory that takes.

    blend: see `BlendOptions`. keep_crops: `paste_faces` hands out the crops; without them less memory is
    taken, and crops are decoded twice where colours are matched. chunk: crops at once; memory only.
    """

    blend: BlendOptions = field(default_factory=BlendOptions)
    keep_crops: bool = True
    chunk: int = CHUNK

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise AnchorError(
                f"chunk of the face pass is {self.chunk}: need 1 or more crops; usual is {CHUNK}"
            )


class FaceFiles:
    """What a face pass keeps in a folder, so that it can go on where it was.

    folder: of one clip and one choice of settings; it has to exist. crop_size: S. channels, stride: of the
    codec. mesh: (F, S, S, 3), mask: (F, S, S), seen: (F,), see `MeshFaces`. extra: (N, 1 + C, h, w), the
    inpainting channels of the N visible frames; offsets: (N, 3), what was measured; crops: (n, S, S, 3),
    generated, at most KEPT_BYTES of them.
    """

    def __init__(self, folder: Path, crop_size: int, channels: int = 4, stride: int = 8) -> None:
        square, side = (crop_size, crop_size), crop_size // stride
        self.mesh = FrameFile(folder / "face_mesh", (*square, 3))
        self.mask = FrameFile(folder / "face_mask", square)
        self.seen = RowFile(folder / "face_seen", ())
        self.extra = RowFile(folder / "face_extra", (1 + channels, side, side))
        self.offsets = RowFile(folder / "face_offsets", (3,))
        most = KEPT_BYTES // (4 * 3 * crop_size**2)
        self.crops = RowFile(folder / "face_crops", (*square, 3), most)


@torch.no_grad()
def track_to_files(
    motion: Motion,
    body: BodyModel,
    files: FaceFiles,
    camera: Camera | None = None,
    *,
    size: tuple[int, int] | None = None,
    options: TrackOptions | None = None,
    chunk: int = 16,
    rendered: Frames | None = None,
    progress: Progress | None = None,
) -> FaceTrack:
    """The same as `track_motion`, with crops and masks in files; those that are there are not drawn again.

    rendered: (F, H, W, 3) uint8, the mesh frames of the motion in the size of the camera, out of which crops
    "warped" are cut; without them the frames are rendered again. Raises AnchorError.
    """
    camera = fit_camera(camera or motion.camera, size)
    faces = MeshFaces(motion, body, camera, files.mask.shape[1], options or TrackOptions(), rendered)
    done = min(len(files.mesh), len(files.mask), len(files.seen))
    start = unfinished(done, motion.n_frames, chunk).start
    for part in faces.drawn(start, motion.n_frames, chunk, progress):
        append_missing(files.mesh, part.first, part.mesh)
        append_missing(files.mask, part.first, part.mask)
        append_missing(files.seen, part.first, part.seen)
    return faces.track(slice(None), files.seen[:], files.mesh, files.mask)


@torch.no_grad()
def measure_offsets(
    codec: LatentCodec,
    latents: Tensor,
    frames: Frames,
    track: FaceTrack,
    options: PassOptions,
    *,
    kept: Rows | None = None,
    crops: Rows | None = None,
    step: StepFactory = silent_step,
) -> Tensor | None:
    """The steady colour offsets of the clip, (F, 3), filled in where faces are hidden; None if not wanted.

    latents: (N, C, h, w) of the visible frames. frames: (F, H, W, 3) float in [0, 1] or uint8. kept: what an
    earlier call with the same arguments has measured, rows (3,); the work goes on at its end. crops: where
    generated crops (S, S, 3) are kept for `pasted_frames`. Raises AnchorError.
    """
    visible, blend = track.visible, options.blend
    if not blend.color_match or blend.mode == "square" or len(visible) == 0:
        return None
    clip = check_frames(frames, track)
    kept = RowList(len(visible)) if kept is None else kept
    for rows, made in decoded_crops(codec, latents, track, options.chunk, len(kept), crops, step):
        numbers = visible[rows]
        # In floats before they are cut, as they are blended.
        seen = warp_to_crops(as_floats(clip[numbers]), track.crop_matrices[numbers], track.crop_size)
        append_missing(kept, rows.start, color_offsets(made, seen, track.painted(numbers), blend))
    offsets = torch.full((len(track), 3), torch.nan)
    offsets[visible] = kept[:]
    return steady_offsets(offsets)


@torch.no_grad()
def decoded_crops(
    codec: LatentCodec,
    latents: Tensor,
    track: FaceTrack,
    chunk: int,
    start: int = 0,
    kept: Rows | None = None,
    step: StepFactory = silent_step,
) -> Iterator[tuple[slice, Tensor]]:
    """Rows of the visible frames, `chunk` at a time, with their crops (n, S, S, 3) float32 in [0, 1].

    start: rows that are done already. kept: where they are put, as far as it has room.
    """
    source, total = _Crops(codec, latents, track, chunk), len(latents)
    with step("decoding faces", " frames") as bar:
        for first in unfinished(start, total, chunk):
            rows, made = slice(first, min(first + chunk, total)), source.group(first // chunk)
            if kept is not None and rows.start <= len(kept) and rows.stop <= (kept.most or total):
                append_missing(kept, rows.start, made)
            yield rows, made
            bar(rows.stop, total, as_picture(made[-1]))


@torch.no_grad()
def pasted_frames(
    codec: LatentCodec,
    latents: Tensor,
    frames: Frames,
    track: FaceTrack,
    options: PassOptions,
    *,
    offsets: Tensor | None,
    crops: Rows | None = None,
    start: int = 0,
) -> Iterator[Tensor]:
    """Finished frames (n, H, W, 3) in order from number `start` on, uint8 or float32 as `frames` are.

    latents: (N, C, h, w) of the visible frames; hidden ones come out as they are. offsets: of
    `measure_offsets`. crops: where generated crops were kept; others are decoded. Raises AnchorError.
    """
    clip = check_frames(frames, track)
    check_latents(latents, track)
    source = _Crops(codec, latents, track, options.chunk, crops)
    # The row of each frame's latents: visible frames before it.
    rows = torch.searchsorted(track.visible, torch.arange(len(track))).tolist()
    for first in range(start, len(track), options.chunk):
        numbers = slice(first, min(first + options.chunk, len(track)))
        shown = [frame for frame in range(first, numbers.stop) if not track.hidden[frame]]
        made = torch.zeros(numbers.stop - first, track.crop_size, track.crop_size, 3)
        for frame in shown:
            made[frame - first] = source.crop(rows[frame])
        yield (
            clip[numbers].clone()
            if not shown
            else blend_faces(
                clip[numbers],
                made,
                None,
                track.painted(numbers),
                track.crop_matrices[numbers],
                weight=track.weights[numbers],
                offsets=None if offsets is None else offsets[numbers],
                options=options.blend,
            )
        )


class _Crops:
    """The generated crops of the visible frames, decoded in the same groups whoever asks for them."""

    def __init__(
        self, codec: LatentCodec, latents: Tensor, track: FaceTrack, chunk: int, kept: Rows | None = None
    ) -> None:
        self._codec, self._latents, self._kept = codec, latents, kept
        self._size, self._chunk = track.crop_size, chunk
        self._last: tuple[int, Tensor] | None = None

    def crop(self, row: int) -> Tensor:
        """(S, S, 3) float32 in [0, 1]."""
        group = row // self._chunk
        if self._last is None or self._last[0] != group:
            self._last = group, self.group(group)
        return self._last[1][row % self._chunk]

    def group(self, number: int) -> Tensor:
        """(n, S, S, 3), the last group may be smaller."""
        rows = slice(number * self._chunk, min((number + 1) * self._chunk, len(self._latents)))
        if self._kept is not None and len(self._kept) >= rows.stop:
            return self._kept[rows]
        crops = self._codec.decode(self._latents[rows]).float().cpu().clamp(0, 1)
        check_crops(crops, (rows.stop - rows.start, self._size))
        return crops
