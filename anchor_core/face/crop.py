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
from .region import FaceRegion, face_region

_ARM, _FACE, _BORDER = 1, 2, 3  # what a triangle is; 0 is anything else


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
        region = face_region(body, forehead)
        self.inside, self.kind = region.inside, _kinds(region, body.faces)
        self._corners = body.faces.T.contiguous()

    def draw(self, vertices: Tensor, matrix: Tensor, *, shaded: bool = True) -> MeshCrop:
        """One frame: vertices (V, 3) in the renderer's world, matrix (2, 3) from frame to crop.

        shaded: False leaves the image black; it takes half of the time.
        """
        screen_xy, depth = project(vertices, self.camera)
        matrix = matrix.to(screen_xy)
        # Matrices count the centres of pixels at whole numbers, the renderer at + 0.5.
        crop_xy = (screen_xy - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5
        near = self._near(crop_xy)
        faces, kind = self.faces.index_select(0, near), self.kind.index_select(0, near)
        picture = fragments(crop_xy, depth, faces, self.size, self.size, extrapolate=True)
        image = torch.zeros(self.size, self.size, 3, dtype=torch.uint8)
        if shaded:
            drawn = draw_fragments(picture, vertices, faces, self.camera, (self.size, self.size))
            image = drawn[..., :3].mul(255).round().to(torch.uint8)
        face, arm = self._coverage(picture, faces, kind.index_select(0, picture.face))
        mask = face_mask(face, arm, self.fill, self.dilation)
        seen = self._seen(crop_xy, depth, face) if bool(arm.any()) else 1.0
        return MeshCrop(image, mask, seen)

    def _near(self, crop_xy: Tensor) -> Tensor:
        """Numbers (n,) of the triangles that may reach into the crop, and of those around them.

        Normals are means over all triangles at a corner: what is drawn needs its neighbours.
        """
        x, y = crop_xy.T
        beyond = (x < 0) | (x > self.size) << 1 | (y < 0) << 2 | (y > self.size) << 3
        a, b, c = (beyond.index_select(0, corner) for corner in self._corners)
        reaching = self._corners[:, (a & b & c) == 0]  # the others lie beyond one border as a whole
        touched = torch.zeros(len(crop_xy), dtype=torch.bool, device=crop_xy.device)
        touched[reaching.reshape(-1)] = True
        a, b, c = (touched.index_select(0, corner) for corner in self._corners)
        return (a | b | c).nonzero()[:, 0]

    def _coverage(self, picture: Fragments, faces: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
        """Share of each pixel that shows the face, and that shows arms: (S, S) in [0, 1].

        kind: (n,) of the fragments.
        """
        face = kind == _FACE
        border = (kind == _BORDER).nonzero()[:, 0]
        parts = (picture.pixel, picture.face, picture.barycentric, picture.weight)
        # Not continued beyond the triangle: at a silhouette that would leave single pixels of scalp as face.
        crossed = Fragments(*(part.index_select(0, border) for part in parts)).inside()
        face[border] = interpolate(crossed, faces, self.inside[:, None])[:, 0] > 0
        shares = resolve(picture, torch.stack([face, kind == _ARM]).T.float(), self.size, self.size)
        return shares[..., 0], shares[..., 1]

    def _seen(self, crop_xy: Tensor, depth: Tensor, face: Tensor) -> float:
        """The share of the face that is in front of everything else."""
        alone = rasterize(crop_xy, depth, self.faces[self.kind == _FACE], self.size, self.size)[0] >= 0
        return float((alone & (face >= 0.5)).sum()) / max(1, int(alone.sum()))


def _kinds(region: FaceRegion, faces: Tensor) -> Tensor:
    """What each triangle is, (T,) uint8."""
    corners = (region.inside[faces] > 0).sum(1)
    kind = torch.where(region.arm, _ARM, 0)
    kind[region.head & (corners > 0)] = _BORDER
    kind[region.head & (corners == 3)] = _FACE
    return kind.to(torch.uint8)
