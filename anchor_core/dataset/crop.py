"""Which part of a video the pictures show: a square around the person, one for all shots of a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..body.model import BodyModel
from ..body.pose import pose_motion
from ..errors import AnchorError
from ..motion.camera import Camera
from ..motion.motion import Motion
from ..render.raster import NEAR_M, project
from .recording import Crop

_SAMPLED = 48  # frames that are looked at
_MARGIN = 1.15  # of the person's extent: clothes and hair reach beyond the mesh
_ABOVE = 0.08  # of the crop's side, over the head of a person who does not fit in it
_HEAD_JOINTS = (15, 22, 23, 24)


@dataclass(frozen=True)
class Extent:
    """Where a person is in the picture, pixels: left, top, right, bottom, cut at its borders; and the middle
    and top of the head."""

    box: tuple[float, float, float, float]
    head_x: float
    head_top: float

    @classmethod
    def union(cls, extents: Sequence[Extent]) -> Extent:
        """What holds all of them."""
        boxes = np.array([extent.box for extent in extents])
        low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        return cls(
            (float(low[0]), float(low[1]), float(high[0]), float(high[1])),
            float(np.median([extent.head_x for extent in extents])),
            min(extent.head_top for extent in extents),
        )


@torch.no_grad()
def person_extent(motion: Motion, body: BodyModel, camera: Camera) -> Extent:
    """Where the mesh of a motion is in the picture, over the whole motion.

    Raises AnchorError where no frame shows it.
    """
    chosen = np.unique(np.linspace(0, len(motion) - 1, min(_SAMPLED, len(motion))).round().astype(int))
    sample = motion.per_frame(lambda rows: rows[chosen], sound=None)
    head = body.skin_weights[:, list(_HEAD_JOINTS)].sum(1) > 0.5
    boxes, heads = [], []
    for frame in range(len(chosen)):
        vertices = pose_motion(body, sample, frame, frame + 1).vertices[0]
        screen_xy, depth = project(vertices, camera)
        shown = _inside(screen_xy, camera) & (depth > NEAR_M)
        if bool(shown.any()):
            boxes.append(torch.cat([screen_xy[shown].amin(0), screen_xy[shown].amax(0)]))
            heads.append(torch.stack([screen_xy[head].mean(0)[0], screen_xy[head].amin(0)[1]]))
    if not boxes:
        width, height = camera.size
        raise AnchorError(
            f"the motion's camera shows nobody in the picture of {width} x {height} pixels: give the motion "
            "and camera of this video."
        )
    # Quantiles: a single bad frame of an estimator must not widen the crop.
    found, places = torch.stack(boxes).double(), torch.stack(heads).double()
    low = torch.quantile(found[:, :2], 0.03, dim=0).tolist()
    high = torch.quantile(found[:, 2:], 0.97, dim=0).tolist()
    top = torch.quantile(places[:, 1], 0.03).item()
    return Extent((low[0], low[1], high[0], high[1]), places[:, 0].median().item(), max(0.0, top))


def choose_crop(extent: Extent, size: tuple[int, int]) -> Crop:
    """The square of whole pixels around a person in a video of `size` (width, height).

    As small as the person allows, with a margin; where the video has no room for all of the person, the head
    stays in the middle and some picture above it.
    """
    left, top, right, bottom = extent.box
    side = round(min(max(right - left, bottom - top) * _MARGIN, *size))
    middle = extent.head_x if right - left > side else (left + right) / 2
    x = _clamped(middle - side / 2, size[0] - side)
    fits = (bottom - top) * _MARGIN <= side
    y = _clamped((top + bottom - side) / 2 if fits else extent.head_top - _ABOVE * side, size[1] - side)
    return (float(x), float(y), float(side), float(side))


def check_crop(crop: Crop, size: tuple[int, int]) -> None:
    """Raise AnchorError unless the crop lies in a video of `size` (width, height)."""
    left, top, width, height = crop
    inside = min(left, top) >= 0 and left + width <= size[0] and top + height <= size[1]
    if not all(np.isfinite(crop)) or min(width, height) < 16 or not inside:
        raise AnchorError(
            f"crop is {' '.join(f'{value:g}' for value in crop)} and the video has {size[0]} x {size[1]} "
            "pixels: give left, top, width and height of a part of it, 16 pixels or more."
        )


def cut(picture: np.ndarray, crop: Crop, side: int, rings: bool = True) -> np.ndarray:
    """The part of a picture (H, W, 3) or (H, W) uint8 that `crop` shows, `side` x `side` pixels.

    rings: as sharp as can be, which leaves faint lines beside hard edges: not for mattes and meshes.
    """
    from PIL import Image

    left, top, width, height = crop
    if (left, top, width, height) == (0, 0, side, side) and picture.shape[:2] == (side, side):
        return picture
    box = (left, top, left + width, top + height)
    way = Image.Resampling.LANCZOS if rings else Image.Resampling.BILINEAR
    resized = Image.fromarray(picture).resize((side, side), way, box=box)
    pixels: np.ndarray = np.asarray(resized)
    return pixels


def cut_camera(camera: Camera, crop: Crop, side: int) -> Camera:
    """The camera whose pictures `cut` gives."""
    left, top, width, height = crop
    sx, sy = side / width, side / height
    return Camera(
        focal_px=(camera.focal_px[0] * sx, camera.focal_px[1] * sy),
        center_px=((camera.center_px[0] - left) * sx, (camera.center_px[1] - top) * sy),
        size=(side, side),
        translation=camera.translation,
    )


def _inside(screen_xy: torch.Tensor, camera: Camera) -> torch.Tensor:
    x, y = screen_xy.unbind(-1)
    return (x >= 0) & (x <= camera.size[0]) & (y >= 0) & (y <= camera.size[1])


def _clamped(value: float, highest: float) -> int:
    return round(min(max(value, 0.0), highest))
