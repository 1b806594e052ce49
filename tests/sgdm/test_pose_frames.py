"""Pose pictures against the published preparation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anchor_core.errors import AnchorError
from anchor_core.sgdm.pose_frames import preprocess_pose


def test_published_pose_frames(goldens: Path) -> None:
    pictures = np.load(goldens / "d_pose_preprocess/inputs_uint8.npz")
    for name, expected in load_file(goldens / "d_pose_preprocess/outputs.safetensors").items():
        picture = pictures[name]
        stack = picture[None] if picture.ndim == 3 else picture[None, ..., None]
        assert torch.equal(preprocess_pose(stack, 128, 64)[0], expected), name


def test_floats_of_the_right_size_stay_as_they_are() -> None:
    frames = torch.rand(3, 16, 24, 3)
    assert torch.equal(preprocess_pose(frames), frames.permute(0, 3, 1, 2))
    assert torch.equal(preprocess_pose(frames, 24, 16), frames.permute(0, 3, 1, 2))


def test_no_picture() -> None:
    with pytest.raises(AnchorError, match=r"The pose has shape \(3, 16\)"):
        preprocess_pose(torch.zeros(3, 16))
