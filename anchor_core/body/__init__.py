"""SMPL-X bodies: files, skinning, and a motion turned into posed meshes."""

from __future__ import annotations

from .find import STANDIN, body_for, find_bodies
from .model import BodyModel, load_body, standin_body
from .pose import PosedBody, PosedJoints, missing_from, pose_joints, pose_motion

__all__ = [
    "STANDIN",
    "BodyModel",
    "PosedBody",
    "PosedJoints",
    "body_for",
    "find_bodies",
    "load_body",
    "missing_from",
    "pose_joints",
    "pose_motion",
    "standin_body",
]
