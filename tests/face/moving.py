"""A face that moves through a small clip, hidden in some frames, for tests that need no mesh."""

from __future__ import annotations

import torch
from torch import Tensor

from anchor_core.face.align import CROP
from anchor_core.face.track import FaceTrack

WIDTH, HEIGHT, CROP_SIZE, N_FRAMES = 40, 32, 16, 7
HIDDEN = ("", "", "turned away", "covered", "", "", "turned away")
SHOWN = [0, 1, 4, 5]


def moving_frames() -> Tensor:
    """(F, H, W, 3) float in [0, 1]."""
    return torch.rand(N_FRAMES, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(1))


def moving_track() -> FaceTrack:
    """A face that moves to the right by a pixel per frame, in a square of 20 pixels."""
    scale = CROP / 20
    left_top = torch.tensor([[6.0 + number, 5.0] for number in range(N_FRAMES)], dtype=torch.float64)
    matrices = torch.zeros(N_FRAMES, 2, 3, dtype=torch.float64)
    matrices[:, 0, 0] = matrices[:, 1, 1] = scale
    matrices[:, :, 2] = -scale * left_top
    mask = torch.zeros(N_FRAMES, CROP_SIZE, CROP_SIZE, dtype=torch.uint8)
    mask[SHOWN, 5:12, 4:11] = 255
    mesh = torch.randint(
        0, 256, (N_FRAMES, CROP_SIZE, CROP_SIZE, 3), generator=torch.Generator().manual_seed(2)
    )
    return FaceTrack(
        points=torch.zeros(N_FRAMES, 5, 2, dtype=torch.float64),
        matrices=matrices,
        visibility=torch.tensor([0.0 if why else 1.0 for why in HIDDEN]),
        hidden=HIDDEN,
        mesh=mesh.to(torch.uint8),
        mask=mask,
        frame_size=(WIDTH, HEIGHT),
    )
