"""The mesh drawn straight into the aligned crop, sharper than a warped frame, and the mask with it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..body.model import BodyModel
from ..motion.camera import Camera
from ..render.mesh import draw_fragments
from ..render.raster import Fragments, fragments, interpolate, project, rasterize, resolve
from .masks import face_mask
from .region import face_region


class MeshCrop(NamedTuple):
    """image: (S, S, 3) uint8, the mesh as the ControlNet sees it. mask: (S, S) uint8, 255 = paint the face.
    seen: the share of the face, 0 to 1, that nothing is in front of."""

    image: Tensor
    mask: Tensor
    seen: float


class CropRenderer:
    """Draws one person's meshes into crops of `size` pixels."""

    def __init__(
        self, body: BodyModel, camera: Camera, size: int, *, forehead: float, fill: bool, dilation: float
    ) -> None:
        self.faces, self.camera, self.size = body.faces, camera, size
        self.fill, self.dilation = fill, dilation
        self.region = face_region(body, forehead)
        # Triangles all of whose corners are in the face: what is in front of them hides it.
        self.face_alone = body.faces[self.region.head & (self.region.inside[body.faces] > 0).all(1)]

    def draw(self, vertices: Tensor, matrix: Tensor) -> MeshCrop:
        """One frame: vertices (V, 3) in the renderer's world, matrix (2, 3) from frame to crop."""
        screen_xy, depth = project(vertices, self.camera)
        matrix = matrix.to(screen_xy)
        # Matrices count the centres of pixels at whole numbers, the renderer at + 0.5.
        crop_xy = (screen_xy - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5
        picture = fragments(crop_xy, depth, self.faces, self.size, self.size, extrapolate=True)
        drawn = draw_fragments(picture, vertices, self.faces, self.camera, (self.size, self.size))
        face, arm = self._coverage(picture)
        mask = face_mask(face, arm, self.fill, self.dilation)
        seen = self._seen(crop_xy, depth, face) if bool(arm.any()) else 1.0
        return MeshCrop(drawn[..., :3].mul(255).round().to(torch.uint8), mask, seen)

    def _coverage(self, picture: Fragments) -> tuple[Tensor, Tensor]:
        """Share of each pixel that shows the face, and that shows arms: (S, S) in [0, 1]."""
        inside = interpolate(picture, self.faces, self.region.inside[:, None])[:, 0] > 0
        face = inside & self.region.head.index_select(0, picture.face)
        arm = self.region.arm.index_select(0, picture.face)
        shares = resolve(picture, torch.stack([face, arm], dim=1).float(), self.size, self.size)
        return shares[..., 0], shares[..., 1]

    def _seen(self, crop_xy: Tensor, depth: Tensor, face: Tensor) -> float:
        """The share of the face that is in front of everything else."""
        alone = rasterize(crop_xy, depth, self.face_alone, self.size, self.size)[0] >= 0
        return float((alone & (face >= 0.5)).sum()) / max(1, int(alone.sum()))
