"""Where a body has its face, and where its arms and hands: told by the skeleton and the landmarks.

The published code parses the face in every generated frame with a network. The mesh knows it: the face is
what the head, jaw and eye joints move, in front of the ears, below the hairline, above the jaw. No
index file of a licensed face model is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..body.model import BodyModel

FOREHEAD = 0.45
"""How far the face reaches above the brows, as a share of the way from chin to brows."""

_HEAD = (15, 22, 23, 24)  # head, jaw, eyes
_ARMS = (18, 19, 20, 21, *range(25, 55))  # from the elbows on, with all fingers
_BROWS, _CHIN, _JAW_CORNERS = slice(17, 27), 8, (4, 12)  # iBUG-68
_BEHIND_HEAD_JOINT_M = 0.02  # the ears lie there
_BELOW_JAW_M = 0.012
_CONTOUR_AHEAD = 0  # row of the contour table for a head that looks straight ahead


@dataclass(frozen=True, eq=False)
class FaceRegion:
    """inside: (V,) metres, how far a vertex lies within the face, negative outside: the border between two
    vertices is where it crosses zero. head, arm: (T,) bool, triangles of the head, of forearms and hands.
    """

    inside: Tensor
    head: Tensor
    arm: Tensor


def face_region(body: BodyModel, forehead: float = FOREHEAD) -> FaceRegion:
    """The face of a body, on its device.

    forehead: 0 ends the face at the brows, 1 as far above them as the chin lies below; raise it for a high
    hairline.
    """
    head, arm = (_moved_by(body, joints) for joints in (_HEAD, _ARMS))
    return FaceRegion(_depth_in_face(body, forehead), head, arm)


def landmarks_alone(body: BodyModel) -> BodyModel:
    """The body reduced to the triangles that its 68 landmarks lie on: cheap to pose, with the same points."""
    contour = body.contour_faces.numel()
    numbers = torch.cat([body.contour_faces.reshape(-1), body.landmark_faces])
    kept, corners = body.faces[numbers].unique(return_inverse=True)
    order = torch.arange(len(numbers), device=body.device)

    def rows(directions: Tensor) -> Tensor:
        return directions.unflatten(0, (body.n_vertices, 3))[kept].flatten(0, 1)

    return replace(
        body,
        vertices_template=body.vertices_template[kept],
        faces=corners,
        shape_dirs=rows(body.shape_dirs),
        expression_dirs=rows(body.expression_dirs),
        pose_dirs=None if body.pose_dirs is None else rows(body.pose_dirs),
        skin_weights=body.skin_weights[kept],
        contour_faces=order[:contour].view_as(body.contour_faces),
        landmark_faces=order[contour:],
    )


def _moved_by(body: BodyModel, joints: tuple[int, ...]) -> Tensor:
    """Triangles (T,) with two corners or more that these joints move."""
    vertices = body.skin_weights[:, list(joints)].sum(1) > 0.5
    return vertices[body.faces].sum(1) >= 2


def _depth_in_face(body: BodyModel, forehead: float) -> Tensor:
    """Distance (V,) in the rest pose to the nearest of three planes: ears, hairline, jaw."""
    vertices = body.vertices_template
    landmarks = _rest_landmarks(body)
    brow, chin = landmarks[_BROWS].mean(0), landmarks[_CHIN]
    ears = body.joint_template[_HEAD[0], 2] - _BEHIND_HEAD_JOINT_M
    hairline = brow[1] + forehead * (brow[1] - chin[1])
    left, right = (landmarks[index] for index in _JAW_CORNERS)
    down = torch.linalg.cross(right - left, chin - (left + right) / 2)
    down = down / down.norm()
    down = down * torch.where(down[1] > 0, -1.0, 1.0)
    jaw = _BELOW_JAW_M - (vertices - chin) @ down
    return torch.stack([vertices[:, 2] - ears, hairline - vertices[:, 1], jaw]).amin(0)


def _rest_landmarks(body: BodyModel) -> Tensor:
    """(68, 3) of the unposed, average body."""
    faces = torch.cat([body.contour_faces[_CONTOUR_AHEAD], body.landmark_faces])
    bary = torch.cat([body.contour_bary[_CONTOUR_AHEAD], body.landmark_bary])
    return (body.vertices_template[body.faces[faces]] * bary[..., None]).sum(1)
