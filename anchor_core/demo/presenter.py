"""Renders a dressed person in the studio: the pictures that the demo anchor is trained on.

The same z-buffer as for the mesh condition decides what is visible; materials are painted and lit once per
(pixel, face) and resolved with the coverage of the samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..body.model import BodyModel, standin_body
from ..body.skinning import blend, matrices_from_axis_angle, skin
from ..errors import AnchorError
from ..motion.camera import Camera, default_camera
from ..motion.motion import Motion
from ..render.raster import fragments, interpolate, project, resolve
from . import parts, wardrobe
from .backdrop import backdrop
from .identity import Identity
from .lighting import Surface, depth_shadow, shade, to_display
from .materials import ClothState, paint
from .nuisance import Nuisance
from .talking import N_EXPRESSIONS

_CHUNK = 16
_TO_GL = torch.tensor([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class _Pose:
    """Posed chunk: vertices and normals (B, N, 3) in the world of the renderer."""

    vertices: Tensor
    normals: Tensor


class Presenter:
    """A dressed person that can be rendered from any motion with ARKit expressions."""

    def __init__(self, identity: Identity, body: BodyModel | None = None) -> None:
        self.identity = identity
        self.body = body or standin_body()
        betas = torch.tensor([identity.betas], dtype=self.body.dtype)
        shaped = blend(self.body.vertices_template, self.body.shape_dirs, betas)[0]
        self.joints = blend(self.body.joint_template, self.body.joint_shape_dirs, betas)[0]
        dressed = wardrobe.dress(self.body, identity, shaped.double().numpy())
        self._fill(dressed)

    def _fill(self, dressed: wardrobe.Dressed) -> None:
        desk, desk_faces = parts.desk()
        n_body = len(dressed.rest)
        self.rest, self.normals = _float(dressed.rest), _float(dressed.normals)
        self.canonical = torch.cat([_float(dressed.canonical), _float(desk)])
        self.desk = _float(desk)
        self.desk_normals = _float(wardrobe.vertex_normals(desk, desk_faces))
        self.loose = _float(dressed.loose)
        self.faces = torch.as_tensor(np.concatenate([dressed.faces, desk_faces + n_body]))
        desk_material = np.full(len(desk_faces), wardrobe.DESK)
        self.material = torch.as_tensor(np.concatenate([dressed.material, desk_material]))
        self.skinned = replace(self.body, skin_weights=_float(dressed.weights), pose_dirs=None)
        follows = np.flatnonzero(dressed.source >= 0)
        self.follows = torch.as_tensor(follows)
        unit = torch.eye(N_EXPRESSIONS, dtype=self.body.dtype)
        directions = blend(torch.zeros_like(self.body.vertices_template), self.body.expression_dirs, unit)
        self.face_dirs = directions[:, torch.as_tensor(dressed.source[follows])].flatten(1).contiguous()

    @torch.no_grad()
    def render(self, motion: Motion, nuisance: Nuisance, camera: Camera | None = None) -> Tensor:
        """Frames (F, H, W, 3) float in [0, 1], sRGB, seen by the camera (the motion's, or the default)."""
        if motion.world != "cv" or motion.expression_space != "arkit52" or len(nuisance) != motion.n_frames:
            raise AnchorError(
                f"The presenter got a motion of world '{motion.world}' with expressions of "
                f"'{motion.expression_space}' and {len(nuisance)} states for {motion.n_frames} frames: "
                "give a motion of make_motion and its own states."
            )
        camera = camera or motion.camera or default_camera()
        wall = backdrop(self.identity, *camera.size)
        frames = torch.empty(motion.n_frames, camera.size[1], camera.size[0], 3)
        for start in range(0, motion.n_frames, _CHUNK):
            posed = self._posed(motion, nuisance, start, min(start + _CHUNK, motion.n_frames))
            for i in range(len(posed.vertices)):
                frame = self._frame(
                    posed.vertices[i], posed.normals[i], _cloth(nuisance, start + i), camera, wall
                )
                light = torch.as_tensor(nuisance.light[start + i], dtype=torch.float32)
                frames[start + i] = (frame * light).clamp(0, 1)
        return frames

    def _posed(self, motion: Motion, nuisance: Nuisance, start: int, stop: int) -> _Pose:
        """Skin one chunk: rest shape, expression and the swing of the hair; normals turn with the joints."""
        count = stop - start
        rest = self.rest.repeat(count, 1, 1)
        expression = torch.as_tensor(motion.expression[start:stop])
        offset = (expression @ self.face_dirs).unflatten(-1, (-1, 3))
        rest[:, self.follows] += offset
        swing = torch.as_tensor(nuisance.hair_swing[start:stop], dtype=rest.dtype)
        rest[..., 0] += self.loose * swing[:, :1]
        rest[..., 2] += self.loose * swing[:, 1:]
        rotations = matrices_from_axis_angle(torch.as_tensor(motion.pose[start:stop]))
        joints = self.joints.repeat(count, 1, 1)
        translation = torch.as_tensor(motion.translation[start:stop])
        vertices, _ = skin(self.skinned, rest, joints, rotations, translation)
        # The same blend without its translations turns normals: skin two points and take the difference.
        tips, _ = skin(self.skinned, rest + 0.01 * self.normals, joints, rotations, translation)
        normals = torch.nn.functional.normalize(tips - vertices, dim=-1)
        return _Pose(vertices * _TO_GL, normals * _TO_GL)

    def _frame(
        self, vertices: Tensor, normals: Tensor, cloth: ClothState, camera: Camera, wall: Tensor
    ) -> Tensor:
        """One picture (H, W, 3), sRGB, before the light's drift."""
        width, height = camera.size
        vertices = torch.cat([vertices, self.desk])
        normals = torch.cat([normals, self.desk_normals])
        xy, depth = project(vertices, camera)
        found = fragments(xy, depth, self.faces, width, height)
        picked = interpolate(found, self.faces, torch.cat([self.canonical, normals, depth[:, None]], dim=1))
        place, normal, near = (
            picked[:, :3],
            torch.nn.functional.normalize(picked[:, 3:6], dim=1),
            picked[:, 6],
        )
        cover = torch.zeros(height * width).index_add_(0, found.pixel, found.weight)
        plane = torch.zeros(height * width).index_add_(0, found.pixel, found.weight * near)
        plane = torch.where(cover > 0, plane / cover.clamp_min(1e-6), torch.zeros(())).view(height, width)
        radius = 2.6 * height / 192
        shadow = depth_shadow(plane, cover.view(height, width) == 0, radius).view(-1)[found.pixel]
        colour = to_display(self._lit(place, normal, found.face, cloth, shadow))
        return resolve(found, colour, width, height) + wall * (1 - cover.view(height, width, 1)).clamp_min(0)

    def _lit(self, place: Tensor, normal: Tensor, face: Tensor, cloth: ClothState, shadow: Tensor) -> Tensor:
        """Linear colour (n, 3) of fragments: painted per material, lit all at once."""
        material = self.material[face]
        albedo = torch.empty_like(place)
        gloss, soft = torch.empty(len(place)), torch.empty(len(place))
        for index in material.unique().tolist():
            mine = (material == index).nonzero()[:, 0]
            albedo[mine], gloss[mine], soft[mine] = (
                value if torch.is_tensor(value) else torch.tensor(value)
                for value in paint(index, place[mine], self.identity, cloth)
            )
        return shade(Surface(albedo, normal, gloss, soft), shadow)


def _cloth(nuisance: Nuisance, frame: int) -> ClothState:
    return ClothState(
        float(nuisance.tie_swing[frame]),
        _float(nuisance.fold_phase[frame]),
        _float(nuisance.fold_depth[frame]),
    )


def _float(array: np.ndarray) -> Tensor:
    return torch.as_tensor(array, dtype=torch.float32)
