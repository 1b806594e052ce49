"""Named points of the stand-in in its rest pose: what measured points are compared with."""

from __future__ import annotations

from functools import cache

import numpy as np

Array = np.ndarray

SIDES = ("left", "right")
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
_BODY = (
    "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot "
    "right_foot neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist jaw left_eye right_eye"
)
JOINT_NAMES = (
    *_BODY.split(),
    *(f"{side}_{finger}{k}" for side in SIDES for finger in FINGERS for k in (1, 2, 3)),
)
"""Names of the 55 joints, as the `smplx` package has them."""
_NOSE_TIP = 30  # of the 68 landmarks of the face in iBUG order, the first 17 of which are the contour
_EAR_M = (-0.011, -0.009, 0.016)  # from the outermost point of the stand-in's left ear to the ear's middle
_HEAD_TOP_M = 0.2  # above the joint of the head; only the direction counts


@cache
def rest_points() -> dict[str, Array]:
    """Name -> (3,) metres, y up, facing +z: the 55 joints and points on the skin.

    On the skin: nose, {side}_ear, {side}_heel, {side}_big_toe, {side}_small_toe, {side}_{finger}_tip,
    {side}_elbow_tip (olecranon), {side}_elbow_pit (cubital fossa). head_top is straight above the
    joint of the head.
    """
    from ..body.model import standin_body  # here: the body's own modules import this package

    body = standin_body()
    joints = body.joint_template.double().numpy()
    vertices, weights = body.vertices_template.double().numpy(), body.skin_weights.numpy()
    points = dict(zip(JOINT_NAMES, joints, strict=True))
    corners = vertices[body.faces[body.landmark_faces[_NOSE_TIP - 17]].numpy()]
    points["nose"] = body.landmark_bary[_NOSE_TIP - 17].double().numpy() @ corners
    points["head_top"] = points["head"] + np.array([0, _HEAD_TOP_M, 0])
    seen = np.zeros(len(vertices), bool)
    seen[body.faces.numpy()] = True  # the others only carry joints
    for side in SIDES:
        points |= _skin_points(side, points, vertices[seen], weights[seen])
    return points


def _skin_points(side: str, points: dict[str, Array], vertices: Array, weights: Array) -> dict[str, Array]:
    """Points on the skin of one side: the ends of parts of the body along a direction."""
    sign = 1.0 if side == "left" else -1.0

    def end(direction: tuple[float, float, float] | Array, *names: str) -> Array:
        part = vertices[weights[:, [JOINT_NAMES.index(name) for name in names]].sum(1) > 0.5]
        return part[(part @ np.asarray(direction)).argmax()]

    foot, elbow = (f"{side}_ankle", f"{side}_foot"), points[f"{side}_elbow"]
    bent = _slice(vertices, elbow)
    skin = {
        f"{side}_ear": end((sign, 0, 0), "head") + np.array([sign, 1, 1]) * _EAR_M,
        f"{side}_heel": end((0, 0, -1), *foot),
        f"{side}_big_toe": end((-0.3 * sign, 0, 1), *foot),
        f"{side}_small_toe": end((sign, 0, 1), *foot),
        f"{side}_elbow_tip": bent[bent[:, 2].argmin()],
        f"{side}_elbow_pit": bent[bent[:, 2].argmax()],
    }
    for finger in FINGERS:
        last = f"{side}_{finger}3"
        skin[f"{side}_{finger}_tip"] = end(points[last] - points[f"{side}_{finger}2"], last)
    return skin


def _slice(vertices: Array, place: Array, width_m: float = 0.02) -> Array:
    """The vertices within `width_m` of a place along the arm, which lies along x at rest."""
    return vertices[np.abs(vertices[:, 0] - place[0]) < width_m]
