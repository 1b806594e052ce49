"""Linear blend skinning of SMPL-X in plain torch (SMPL, Loper et al. 2015, eq. 2-7; SMPL-X, eq. 1-3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import linear

from .model import BodyModel


def matrices_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula: (..., 3) radians -> (..., 3, 3); exact at zero in float32: sinc does not divide."""
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    angle = axis_angle.norm(dim=-1)[..., None, None]
    first, second = torch.sinc(angle / math.pi), 0.5 * torch.sinc(angle / (2 * math.pi)) ** 2
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + first * cross + second * (cross @ cross)


def blend(template: Tensor, directions: Tensor, coefficients: Tensor) -> Tensor:
    """Template (N, 3) plus directions (N*3, K) times coefficients (B, K') -> (B, N, 3).

    A missing coefficient counts as zero, a surplus one is dropped.
    """
    count = min(directions.shape[1], coefficients.shape[1])
    offset = linear(coefficients[:, :count], directions[:, :count])
    return template + offset.unflatten(-1, (-1, 3))


def skin(
    body: BodyModel, shaped: Tensor, joints: Tensor, rotations: Tensor, translation: Tensor
) -> tuple[Tensor, Tensor]:
    """Pose shaped vertices (B, V, 3) and joints (B, 55, 3).

    rotations: (B, 55, 3, 3) of each joint against its parent. translation: (B, 3) metres.
    Returns vertices (B, V, 3) and joints (B, 55, 3).
    """
    if body.pose_dirs is not None:
        identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        feature = (rotations[:, 1:] - identity).flatten(1)  # (B, 486)
        shaped = shaped + linear(feature, body.pose_dirs).unflatten(-1, (-1, 3))
    world, posed_joints = chain(body.parents, joints, rotations)
    shift = posed_joints - (world @ joints[..., None])[..., 0]
    transforms = torch.cat([world, shift[..., None]], dim=-1)  # (B, 55, 3, 4)
    per_vertex = (body.skin_weights @ transforms.flatten(2)).unflatten(-1, (3, 4))  # (B, V, 3, 4)
    vertices = (per_vertex[..., :3] * shaped[:, :, None]).sum(-1) + per_vertex[..., 3]
    return vertices + translation[:, None], posed_joints + translation[:, None]


def chain(parents: tuple[int, ...], joints: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
    """World rotations (B, 55, 3, 3) and places (B, 55, 3) of joints (B, 55, 3), from the root outwards."""
    turns, places = [rotations[:, 0]], [joints[:, 0]]
    for joint, parent in enumerate(parents[1:], start=1):
        bone = joints[:, joint] - joints[:, parent]
        places.append(places[parent] + (turns[parent] @ bone[..., None])[..., 0])
        turns.append(turns[parent] @ rotations[:, joint])
    return torch.stack(turns, dim=1), torch.stack(places, dim=1)
