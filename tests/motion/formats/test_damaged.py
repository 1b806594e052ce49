"""Damaged copies of files of pose estimators: read, or refused in a sentence, and nothing else."""

from __future__ import annotations

import contextlib
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.motion import ReadOptions, read_motion

_FRAMES = 4


def hand4whole() -> bytes:
    widths = {"root_pose": 3, "body_pose": 63, "lhand_pose": 45, "rhand_pose": 45, "jaw_pose": 3, "shape": 10}
    return json.dumps(
        [{key: [0.1] * width for key, width in (widths | {"expr": 10}).items()}] * _FRAMES
    ).encode()


def multihmr() -> bytes:
    human = {"rotvec": torch.full((53, 3), 0.1), "transl_pelvis": torch.ones(1, 3)}
    return pickle.dumps([[human | {"shape": np.zeros(10), "expression": np.zeros(10)}]] * _FRAMES)


def gvhmr(path: Path) -> bytes:
    widths = {"body_pose": 63, "betas": 10, "global_orient": 3, "transl": 3}
    parameters = {key: torch.full((_FRAMES, width), 0.1) for key, width in widths.items()}
    torch.save({"smpl_params_incam": parameters, "K_fullimg": torch.eye(3).repeat(_FRAMES, 1, 1)}, path)
    return path.read_bytes()


def smplerx(path: Path) -> bytes:
    shapes = {"global_orient": (1, 3), "body_pose": (21, 3), "jaw_pose": (1, 3), "transl": (1, 3)}
    shapes |= {"left_hand_pose": (15, 3), "right_hand_pose": (15, 3), "expression": (1, 10)}
    with path.open("wb") as handle:
        np.savez(handle, **{key: np.full(shape, 0.1) for key, shape in shapes.items()})
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_damaged_files(as_joblib: Any, tmp_path: Path) -> None:
    person = {
        "pose": np.full((_FRAMES, 72), 0.1),
        "trans": np.ones((_FRAMES, 3)),
        "frame_ids": np.arange(_FRAMES),
    }
    wham = as_joblib({0: person})
    whole = [
        hand4whole(),
        multihmr(),
        gvhmr(tmp_path / "g"),
        smplerx(tmp_path / "s"),
        wham,
        zlib.compress(wham),
    ]
    rng, path = np.random.default_rng(7), tmp_path / "damaged"
    for data in whole:
        path.write_bytes(data)
        assert len(read_motion(path, ReadOptions(fps=25))) in (1, _FRAMES)
        for _ in range(40):
            changed = np.frombuffer(data, np.uint8).copy()
            changed[rng.integers(len(changed), size=rng.integers(1, 6))] = rng.integers(256)
            path.write_bytes(
                changed[: rng.integers(1, len(changed)) if rng.random() < 0.3 else None].tobytes()
            )
            with contextlib.suppress(AnchorError):
                read_motion(path, ReadOptions(fps=25))
