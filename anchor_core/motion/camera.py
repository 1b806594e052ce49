"""Pinhole camera in the world of SHOW (arXiv 2212.04420): x right, y down, z away from the viewer.

A point (x, y, z) of that world falls on the pixel

    u = center_x + focal_x * (x - T_x) / (z + T_z),    v = center_y + focal_y * (y - T_y) / (z + T_z)

where T is `translation` (the `camera_transl` of SHOW's parameter files). In the world of the renderer
(x right, y up, z to the viewer) the camera stands at (T_x, -T_y, T_z) and looks along -z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ..errors import AnchorError

_SHOW_FOCAL_PX = 5000.0
_SHOW_TRANSLATION = (-0.2726, -0.7142, 6.2228)  # SHOW's published example of the speaker "seth"
_SHOW_HEIGHT = 720  # of the video that the two numbers above belong to


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that does not move.

    focal_px, center_px: pixels. size: (width, height) pixels. translation: metres, see the module text.
    """

    focal_px: tuple[float, float]
    center_px: tuple[float, float]
    size: tuple[int, int]
    translation: tuple[float, float, float]

    def __post_init__(self) -> None:
        _check_camera(self)

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the same picture stretched to width x height pixels."""
        sx, sy = width / self.size[0], height / self.size[1]
        return replace(
            self,
            focal_px=(self.focal_px[0] * sx, self.focal_px[1] * sy),
            center_px=(self.center_px[0] * sx, self.center_px[1] * sy),
            size=(int(width), int(height)),
        )

    def cropped(self, x0: float, y0: float, width: int, height: int) -> Camera:
        """The camera of the part of the picture with its left upper corner at (x0, y0); may reach outside."""
        center = (self.center_px[0] - x0, self.center_px[1] - y0)
        return replace(self, center_px=center, size=(int(width), int(height)))

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists, fit for JSON."""
        return {
            "focal_px": list(self.focal_px),
            "center_px": list(self.center_px),
            "size": list(self.size),
            "translation": list(self.translation),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Camera:
        """The inverse of `to_dict`; an AnchorError names what is missing."""
        missing = sorted({"focal_px", "center_px", "size", "translation"} - set(values))
        if missing:
            raise AnchorError(f"The camera lacks {', '.join(missing)}: save it again with Camera.to_dict().")
        focal, center, place = (values[key] for key in ("focal_px", "center_px", "translation"))
        return cls(
            focal_px=(float(focal[0]), float(focal[1])),
            center_px=(float(center[0]), float(center[1])),
            size=(int(values["size"][0]), int(values["size"][1])),
            translation=(float(place[0]), float(place[1]), float(place[2])),
        )


def default_camera(width: int = 512, height: int = 512) -> Camera:
    """SHOW's example camera on a crop of 720 lines around the person, at width x height pixels.

    The person is in the middle of the picture: x = 0 of the world falls on the column width / 2. The shorter
    side shows what 720 lines of SHOW's video show: 0.9 m at the person.
    """
    focal = _SHOW_FOCAL_PX * min(width, height) / _SHOW_HEIGHT
    tx, _, tz = _SHOW_TRANSLATION
    return Camera(
        focal_px=(focal, focal),
        center_px=(width / 2 + focal * tx / tz, height / 2),
        size=(int(width), int(height)),
        translation=_SHOW_TRANSLATION,
    )


def _check_camera(camera: Camera) -> None:
    numbers = (*camera.focal_px, *camera.center_px, *camera.translation)
    if not all(math.isfinite(number) for number in numbers):
        raise AnchorError(
            f"The camera holds a number that is not finite ({camera}): give finite pixels and metres."
        )
    if min(camera.focal_px) <= 0:
        raise AnchorError(f"The camera's focal length is {camera.focal_px} px: it needs to be more than 0.")
    if min(camera.size) < 1:
        raise AnchorError(f"The camera's picture is {camera.size} px: it needs at least 1 x 1.")
