"""AMASS (arXiv 1904.03278): .npz of fitted motion capture, z up, absolute hand angles.

SMPL-X (*_stageii.npz): poses (F, 165) in the joint order of SMPL-X, or root_orient, pose_body, pose_jaw,
pose_eye and pose_hand. SMPL+H (*_poses.npz): poses (F, 156) of root, body and hands; no face. Both have trans
(F, 3), betas, gender and the frame rate, which is often 120. Where the markers showed no fingers, the hands
stay in the mean pose of MANO; eyes and jaw stay zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import AnchorError
from ..motion import N_JOINTS, Validity
from .parts import JOINTS, Parts, ReadOptions, assemble, first_number, rows

FULL_WIDTH = 3 * N_JOINTS
_SMPLH_WIDTH = 156
_RATES = ("mocap_frame_rate", "mocap_framerate", "fps")
_GENDERS = ("neutral", "female", "male")
_SPLIT = {"root": "root_orient", "body": "pose_body", "jaw": "pose_jaw"}
_PAIRS = {"pose_eye": ("left_eye", "right_eye"), "pose_hand": ("left_hand", "right_hand")}


def matches(content: Any) -> bool:
    """Whether an archive has the names of AMASS."""
    return has_keys(content, "trans", "poses") or has_keys(content, "trans", "root_orient", "pose_body")


def read(content: Any, options: ReadOptions) -> Parts:
    """content: the arrays of the .npz by name. The betas of SMPL+H are another body's and left out."""
    name = "poses" if has_keys(content, "poses") else "pose_body"
    n_frames = n_frames_of(content, name)
    pose, is_smplx = _whole(content["poses"], n_frames) if name == "poses" else _split(content, n_frames)
    return Parts(
        source="AMASS SMPL-X" if is_smplx else "AMASS SMPL+H",
        pose=pose,
        translation=rows("trans", content["trans"], n_frames, 3),
        expression=np.zeros((n_frames, 0), np.float32),
        expression_space="none",
        betas=betas_of(content) if is_smplx else None,
        fps=frame_rate(content, options),
        world="zup",
        hands="absolute",
        gender=gender_of(content),
        valid=Validity(
            jaw=bool(pose[:, 22].any()),
            eyes=bool(pose[:, 23:25].any()),
            hands=bool((pose[:, 25:] != pose[:1, 25:]).any()),
            expression=False,
        ),
    )


def has_keys(content: Any, *names: str) -> bool:
    """Whether the content is a mapping with all these names; nothing is read."""
    return isinstance(content, Mapping) and set(names) <= set(content)


def n_frames_of(content: Mapping[str, Any], name: str) -> int:
    """Number of rows of an array of the file."""
    shape = np.shape(content[name])
    if len(shape) < 2:
        raise AnchorError(f"'{name}' has shape {shape}: it needs one row of angles for each frame.")
    return int(shape[0])


def frame_rate(content: Mapping[str, Any], options: ReadOptions) -> float | None:
    """Frames per second as the file says them, or None where it does not, or where the user does."""
    name = next((key for key in _RATES if has_keys(content, key)), None)
    return None if name is None or options.fps is not None else first_number(content[name], name)


def gender_of(content: Mapping[str, Any]) -> str:
    """Gender of the body as text, from an array of text or bytes; "neutral" where it is neither."""
    if not has_keys(content, "gender"):
        return "neutral"
    value = np.asarray(content["gender"])
    word = value.reshape(-1)[0] if value.size == 1 and value.dtype.kind in "SU" else ""
    text = (word.decode("latin1") if isinstance(word, bytes) else str(word)).lower()
    return text if text in _GENDERS else "neutral"


def betas_of(content: Mapping[str, Any]) -> np.ndarray | None:
    """The shape of the person, of the first frame where each frame has one; None where there is none."""
    if not has_keys(content, "betas"):
        return None
    betas = np.asarray(content["betas"])
    return rows("betas", betas.reshape(-1, betas.shape[-1])[:1], 1)[0] if betas.size and betas.ndim else None


def _whole(poses: Any, n_frames: int) -> tuple[np.ndarray, bool]:
    """The pose out of one array, and whether it is that of SMPL-X."""
    angles = rows("poses", poses, n_frames)
    if angles.shape[1] == FULL_WIDTH:
        return angles.reshape(n_frames, N_JOINTS, 3), True
    if angles.shape[1] != _SMPLH_WIDTH:
        raise AnchorError(
            f"'poses' has {angles.shape[1]} numbers per frame: AMASS has {FULL_WIDTH} (SMPL-X) or "
            f"{_SMPLH_WIDTH} (SMPL+H); download the motion for one of these bodies."
        )
    columns = np.split(angles, (3, 66, 111), axis=1)
    return assemble(
        n_frames, dict(zip(("root", "body", "left_hand", "right_hand"), columns, strict=True))
    ), False


def _split(content: Mapping[str, Any], n_frames: int) -> tuple[np.ndarray, bool]:
    """The pose out of one array for each part, and whether it is that of SMPL-X, which has a jaw."""
    parts = {
        part: rows(key, content[key], n_frames, 3 * JOINTS[part][1])
        for part, key in _SPLIT.items()
        if has_keys(content, key)
    }
    for key, sides in _PAIRS.items():
        if has_keys(content, key):
            both = rows(key, content[key], n_frames, 6 * JOINTS[sides[0]][1])
            parts |= dict(zip(sides, np.split(both, 2, axis=1), strict=True))
    return assemble(n_frames, parts), has_keys(content, "pose_jaw")
