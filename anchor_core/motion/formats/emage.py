"""EMAGE's results and the BEAT2 data set (arXiv 2401.00374): .npz of SMPL-X parameters, y up, facing +z.

poses (F, 165) in the joint order of SMPL-X, expressions (F, 100), trans (F, 3), betas (300), gender and
mocap_frame_rate. Hand angles are relative to the hand mean (the authors build their body with
flat_hand_mean=False).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..motion import N_JOINTS, Validity
from .amass import FULL_WIDTH, betas_of, frame_rate, gender_of, has_keys, n_frames_of
from .parts import Parts, ReadOptions, rows


def matches(content: Any) -> bool:
    """Whether an archive has the names of EMAGE and BEAT2."""
    return has_keys(content, "poses", "expressions")


def read(content: Any, options: ReadOptions) -> Parts:
    """content: the arrays of the .npz by name; one without `trans` stands still."""
    n_frames = n_frames_of(content, "poses")
    pose = rows("poses", content["poses"], n_frames, FULL_WIDTH).reshape(n_frames, N_JOINTS, 3)
    moves = has_keys(content, "trans")
    still = np.zeros((n_frames, 3), np.float32)
    return Parts(
        source="EMAGE/BEAT2",
        pose=pose,
        translation=rows("trans", content["trans"], n_frames, 3) if moves else still,
        expression=rows("expressions", content["expressions"], n_frames),
        betas=betas_of(content),
        fps=frame_rate(content, options),
        world="yup",
        hands="relative",
        gender=gender_of(content),
        valid=Validity(eyes=bool(pose[:, 23:25].any()), translation=moves),
    )
