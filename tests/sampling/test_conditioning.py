"""Mesh frames that do not lie in memory steer a clip as those that do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.frames import FrameFile
from anchor_core.sampling.conditioning import Conditioning, check_conditioning
from anchor_core.sampling.sampler import Memory, SamplerSettings, sample
from anchor_core.sampling.schedulers import STABLE_DIFFUSION
from anchor_core.sampling.windows import SCHEDULES

SETTINGS = SamplerSettings(steps=3, guidance_scale=2.0, window_size=6, overlap=2)


class Watched:
    """Frames that note how many of them are asked for at once."""

    dtype = torch.uint8

    def __init__(self, frames: Any) -> None:
        self.frames, self.shape, self.asked = frames, frames.shape, [0]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: Any) -> torch.Tensor:
        part = self.frames[index]
        self.asked.append(len(part) if part.ndim == 4 else 1)
        return part


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("pose_gib", [0.0, 2.0])
def test_frames_of_a_file_are_read_a_window_at_a_time(
    network: Any, clip: Any, appearance: torch.Tensor, tmp_path: Path, schedule: str, pose_gib: float
) -> None:
    pose = (clip(15) * 255).round().to(torch.uint8)
    file = FrameFile(tmp_path / "mesh", pose.shape[1:])
    file.append(pose)
    watched = Watched(file)
    settings, memory = replace(SETTINGS, schedule=schedule), Memory(pose_gib=pose_gib)
    results = [
        sample(
            network, Conditioning(given, appearance, -appearance), settings, STABLE_DIFFUSION, memory=memory
        )
        for given in (pose, watched)
    ]
    assert torch.equal(*results)
    assert max(watched.asked) == 6


def test_nothing_but_the_first_frame_is_looked_at(clip: Any, appearance: torch.Tensor) -> None:
    pose = clip(15)
    pose[1:] = 300.0  # found out by the looks of the video
    check_conditioning(Conditioning(pose, appearance))
    watched = Watched((clip(15) * 255).to(torch.uint8))
    check_conditioning(Conditioning(watched, appearance))
    assert watched.asked == [0]
    pose[0, 0, 0] = -1
    with pytest.raises(AnchorError, match="the first pose frame holds values from -1 to"):
        check_conditioning(Conditioning(pose, appearance))


def test_pixels_in_any_layout(clip: Any, appearance: torch.Tensor) -> None:
    frames = clip(2)
    assert Conditioning(frames, appearance).pixels == (16, 24)
    assert Conditioning(frames.permute(0, 3, 1, 2), appearance).pixels == (16, 24)
