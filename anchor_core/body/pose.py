"""A motion on a body: vertices, joints and face landmarks in the world of the renderer.

Deviation from the `smplx` package: the row of contour landmarks is chosen by the turn of the head as the
renderer sees it, so that it is the visible contour in every world; the package takes y as up.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import AnchorError
from ..motion.motion import Motion
from ..motion.place import TO_CV
from .expressions import convert_expression
from .model import BodyModel, standin_body
from .skinning import blend, chain, matrices_from_axis_angle, skin

logger = logging.getLogger("anchor")

_CHUNK = 32  # frames skinned at once: as fast as 300 at once, with a tenth of the memory
_FIRST_HAND_JOINT = 25
_NECK_CHAIN = (12, 9, 6, 3, 0)
_MAX_TURN_DEG = 39
_CV_TO_GL = np.diag([1.0, -1.0, -1.0])  # to the renderer's world: x right, y up, z to the viewer


@dataclass(frozen=True, eq=False)
class PosedBody:
    """A posed motion in metres: x right, y up, z to the viewer.

    vertices: (F, V, 3). joints: (F, 55, 3). landmarks: (F, 68, 3) of the face in iBUG order.
    """

    vertices: Tensor
    joints: Tensor
    landmarks: Tensor


@dataclass(frozen=True, eq=False)
class PosedJoints:
    """The joints of a posed motion in the "cv" world: x right, y down, z away; metres.

    places: (F, 55, 3). turns: (F, 55, 3, 3), rotation of each joint against the rest pose. local: the same
    against the parent; of the root, against the world.
    """

    places: Tensor
    turns: Tensor
    local: Tensor


@torch.no_grad()
def pose_motion(body: BodyModel, motion: Motion, start: int = 0, stop: int | None = None) -> PosedBody:
    """Pose the body by the frames start to stop - 1 of the motion.

    Turns every world into the renderer's, adds hand means, decodes PCA hands, maps ARKit's expressions to
    those of SMPL-X, and pads or cuts betas and expression to what the body has. What the body cannot show
    (`missing_from`) is left out; the call that has frame 0 logs it.
    """
    start, stop, _ = slice(start, stop).indices(motion.n_frames)
    if stop <= start:
        raise AnchorError(
            f"Frames {start} to {stop} of {motion.n_frames} hold no frame: ask for at least one."
        )
    if start == 0:
        for sentence in missing_from(body, motion):
            logger.warning(sentence)
    person = _shaped(body, motion)
    chunks = [_pose_chunk(body, motion, person, i, min(i + _CHUNK, stop)) for i in range(start, stop, _CHUNK)]
    if len(chunks) == 1:
        return PosedBody(*chunks[0])
    return PosedBody(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))


@torch.no_grad()
def pose_joints(body: BodyModel, motion: Motion, start: int = 0, stop: int | None = None) -> PosedJoints:
    """The joints alone of the frames start to stop - 1: as `pose_motion`, without the mesh, so that thousands
    of frames take a second. The expression, which moves joints by less than a millimetre, is left out."""
    start, stop, _ = slice(start, stop).indices(motion.n_frames)
    local = matrices_from_axis_angle(_full_pose(body, motion, start, stop))
    rest = _shaped(body, motion)[1].expand(len(local), -1, -1)
    turns, places = chain(body.parents, rest, local)
    to_cv = _tensor(body, TO_CV[motion.world])
    places = (places + _tensor(body, motion.translation[start:stop])[:, None]) @ to_cv.T
    return PosedJoints(places, to_cv @ turns, torch.cat([to_cv @ local[:, :1], local[:, 1:]], dim=1))


def missing_from(body: BodyModel, motion: Motion) -> list[str]:
    """What the body cannot show of the motion: one sentence each, none when it shows all."""
    sentences = []
    if motion.hands_pca is not None and body.hand_components is None:
        sentences.append(
            "The fingers stay relaxed: the motion's hands are coefficients of a hand PCA and the body "
            f"'{body.name}' has none; a licensed SMPL-X file has it."
        )
    known = motion.expression_space == body.expression_space or _maps(body, motion)
    if _has_expression(motion) and not known:
        sentences.append(
            f"The face shows jaw and eyes only: the motion's expression is '{motion.expression_space}' "
            f"and the body '{body.name}' has '{body.expression_space}'."
        )
    return sentences


def _has_expression(motion: Motion) -> bool:
    return motion.expression_space != "none" and bool(motion.expression.any())


def _maps(body: BodyModel, motion: Motion) -> bool:
    """Whether the expression is mapped to the body's: the stand-in knows one end, ARKit's."""
    return (motion.expression_space, body.expression_space) == ("arkit52", "smplx")


def _shaped(body: BodyModel, motion: Motion) -> tuple[Tensor, Tensor]:
    """Template (V, 3) and joints (55, 3) of this person."""
    betas = motion.betas if motion.betas is not None else np.zeros(0, np.float32)
    row = _tensor(body, betas)[None]
    vertices = blend(body.vertices_template, body.shape_dirs, row)
    return vertices[0], blend(body.joint_template, body.joint_shape_dirs, row)[0]


def _pose_chunk(
    body: BodyModel, motion: Motion, person: tuple[Tensor, Tensor], start: int, stop: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices, joints and landmarks of frames start to stop - 1 on the unposed vertices and joints."""
    if _maps(body, motion):
        motion = convert_expression(motion.sliced(start, stop), standin_body(), body)
        start, stop = 0, stop - start
    rotations = matrices_from_axis_angle(_full_pose(body, motion, start, stop))
    n_expression = motion.expression.shape[1] if motion.expression_space == body.expression_space else 0
    expression = _tensor(body, motion.expression[start:stop, :n_expression])
    shaped = blend(person[0], body.expression_dirs, expression)
    rest = blend(person[1], body.joint_expression_dirs, expression)
    vertices, posed = skin(body, shaped, rest, rotations, _tensor(body, motion.translation[start:stop]))
    to_gl = _tensor(body, _CV_TO_GL @ TO_CV[motion.world])
    vertices, posed = vertices @ to_gl.T, posed @ to_gl.T
    return vertices, posed, _landmarks(body, vertices, _head_turn(rotations, to_gl))


def _full_pose(body: BodyModel, motion: Motion, start: int, stop: int) -> Tensor:
    """Axis-angle (B, 55, 3) with the hands as the body needs them: PCA decoded, mean added."""
    pose = _tensor(body, motion.pose[start:stop]).clone()
    hands = pose[:, _FIRST_HAND_JOINT:]
    if motion.hands_pca is not None and body.hand_components is not None:
        for side, coefficients in enumerate(motion.hands_pca):
            row = _tensor(body, coefficients[start:stop, : len(body.hand_components[side])])
            decoded = row @ body.hand_components[side, : row.shape[1]]
            hands[:, 15 * side : 15 * side + 15] = decoded.unflatten(-1, (15, 3))
    if motion.hands == "relative":
        hands += body.hand_mean
    return pose


def _head_turn(rotations: Tensor, to_gl: Tensor) -> Tensor:
    """Row (B,) of the contour table for the turn of the head: 0-39 degrees one way, then the other way."""
    head = rotations[:, _NECK_CHAIN[0]]
    for joint in _NECK_CHAIN[1:]:
        head = rotations[:, joint] @ head
    head = to_gl @ head
    turn = torch.atan2(-head[:, 2, 0], torch.hypot(head[:, 0, 0], head[:, 1, 0]))
    degrees = torch.round(torch.rad2deg(-turn)).clamp(-_MAX_TURN_DEG, _MAX_TURN_DEG).long()
    return torch.where(degrees < 0, _MAX_TURN_DEG - degrees, degrees)


def _landmarks(body: BodyModel, vertices: Tensor, row: Tensor) -> Tensor:
    """(B, 68, 3) in iBUG order: 17 contour points, then 51 inner points."""
    n_frames = len(vertices)
    faces = torch.cat([body.contour_faces[row], body.landmark_faces.expand(n_frames, -1)], dim=1)
    bary = torch.cat([body.contour_bary[row], body.landmark_bary.expand(n_frames, -1, -1)], dim=1)
    corners = body.faces[faces]  # (B, 68, 3)
    frames = torch.arange(n_frames, device=vertices.device)[:, None, None]
    return (vertices[frames, corners] * bary[..., None]).sum(2)


def _tensor(body: BodyModel, array: np.ndarray) -> Tensor:
    return torch.as_tensor(array, dtype=body.dtype, device=body.device)
