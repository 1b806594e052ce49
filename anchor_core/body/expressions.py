"""Expressions of one body as those of another: SMPL-X (FLAME) coefficients and the 52 shapes of ARKit.

Both bodies have the same 51 inner points of the face (iBUG order). What a unit of a source's expression does
to them, in shares of the distance of the eyes, is repeated by the target's expression and jaw in least
squares. ARKit's shapes are in the stand-in, which ships; SMPL-X's are in the user's licensed file only, so
without such a file nothing can be mapped from or to SMPL-X coefficients, and only jaw and eyes are shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..errors import AnchorError
from ..motion.motion import Motion
from ..motion.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from .model import BodyModel

JAW = 22
_EYES = (23, 24)
_RIDGE = 2e-3
"""Share of the mean strength of the target's shapes that keeps its coefficients small: a face of 51 points
does not tell every one of them."""
_ITERATIONS = 300


@dataclass(frozen=True, eq=False)
class ExpressionMap:
    """How to repeat a source's expression on a target.

    shapes: (E, 153), where the source's units move the points. basis: (T, 153), the same of the target's
    units: its expression, then the jaw about x, y, z per radian. bounded: the target's expression lies in
    [0, 1], as ARKit's does.
    """

    shapes: np.ndarray
    basis: np.ndarray
    bounded: bool

    def apply(self, expression: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expression (F, E) of the source -> that of the target (F, T - 3), and radians of the jaw (F, 3)."""
        wanted = expression[:, : len(self.shapes)] @ self.shapes[: expression.shape[1]]
        ridge = _RIDGE * float(np.trace(self.basis @ self.basis.T)) / len(self.basis)
        normal = self.basis @ self.basis.T + ridge * np.eye(len(self.basis))
        found = np.linalg.solve(normal, self.basis @ wanted.T).T
        if self.bounded:
            found = _bounded(normal, wanted @ self.basis.T, found)
        return found[:, :-3].astype(np.float32), found[:, -3:].astype(np.float32)


def _bounded(normal: np.ndarray, right: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The least squares with all but the last three unknowns in [0, 1], by accelerated projected gradients
    (Nesterov 1983; Beck and Teboulle 2009)."""
    step = 1 / np.linalg.eigvalsh(normal)[-1]
    low, high = np.full(len(normal), -np.inf), np.full(len(normal), np.inf)
    low[:-3], high[:-3] = 0, 1
    found = ahead = start.clip(low, high)
    momentum = 1.0
    for _ in range(_ITERATIONS):
        moved = (ahead - step * (ahead @ normal - right)).clip(low, high)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / following * (moved - found)
        found, momentum = moved, following
    return found


@lru_cache(maxsize=8)
def expression_map(source: BodyModel, target: BodyModel) -> ExpressionMap:
    """The map from a body's expressions to those of another."""
    basis = np.concatenate([_shapes(target), _jaw_shapes(target)])
    return ExpressionMap(_shapes(source), basis, target.expression_space == "arkit52")


def convert_expression(motion: Motion, source: BodyModel, target: BodyModel) -> Motion:
    """The motion with its expression in the target's space; what the jaw does for it is added to the pose.

    source: a body with the motion's own expression space. Raises AnchorError where it has another.
    """
    if motion.expression_space in (target.expression_space, "none"):
        return motion
    if motion.expression_space != source.expression_space:
        raise AnchorError(
            f"The motion's expression is '{motion.expression_space}' and the body '{source.name}' knows "
            f"'{source.expression_space}': a mapping needs a body of each kind; for SMPL-X coefficients give "
            "your licensed SMPL-X file."
        )
    expression, jaw = expression_map(source, target).apply(motion.expression)
    pose = motion.pose.copy()
    turned = matrix_from_axis_angle(pose[:, JAW]) @ matrix_from_axis_angle(jaw)
    pose[:, JAW] = axis_angle_from_matrix(turned)
    missing = max(0, len(target.expression_names) - expression.shape[1])  # shapes that move nothing
    expression = np.pad(expression, ((0, 0), (0, missing)))
    return replace(motion, pose=pose, expression=expression, expression_space=target.expression_space)


def _shapes(body: BodyModel) -> np.ndarray:
    """Where a unit of each expression moves the points, (E, 153), in distances of the eyes."""
    directions = body.expression_dirs.double().reshape(body.n_vertices, 3, -1)
    corners = directions[body.faces[body.landmark_faces]]  # (51, 3, 3, E)
    moved = (corners * body.landmark_bary.double()[:, :, None, None]).sum(1)  # (51, 3, E)
    return moved.reshape(moved.shape[0] * 3, -1).T.numpy() / _eye_distance(body)


def _jaw_shapes(body: BodyModel) -> np.ndarray:
    """The same of the jaw's turn about x, y and z, per radian, (3, 153)."""
    faces, bary = body.faces[body.landmark_faces], body.landmark_bary.double()
    places = (body.vertices_template.double()[faces] * bary[..., None]).sum(1).numpy()
    weight = (body.skin_weights.double()[:, JAW][faces] * bary).sum(1).numpy()
    arm = places - body.joint_template[JAW].double().numpy()
    moved = np.stack([np.cross(axis, arm) * weight[:, None] for axis in np.eye(3)])
    return moved.reshape(3, -1) / _eye_distance(body)


def _eye_distance(body: BodyModel) -> float:
    left, right = (body.joint_template[joint].double() for joint in _EYES)
    return float((left - right).norm())
