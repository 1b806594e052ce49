"""Landmark distances where the truth is known: a small detector that is trained on the synthetic world.

The paper measures landmark distances of face, body and hands with published detectors, whose weights do not
ship here. In this world the landmarks of every filmed frame are known, so a detector can be trained in a
minute. As in the paper it looks at the result and at the true frame, and the distance between what it finds
is the number; its own error against the known landmarks is told beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ...body.model import standin_body
from ...body.pose import pose_motion
from ...demo.dataset import clip_motion
from ...demo.networks import seeded
from ...files import atomic_path
from ...motion.camera import default_camera
from ...motion.motion import Motion
from ...progress import Progress
from ...render.raster import project
from ...sgdm.vae import decode_frames, encode_frames
from ...training.config import LoopConfig
from ...training.loop import batch_indices, fit
from .world import film_clips_of

BODY_JOINTS = (12, 15, 16, 17, 18, 19, 20, 21)
"""Neck, head, shoulders, elbows, wrists."""
HAND_JOINTS = tuple(range(25, 55))
GROUPS = {"face": slice(0, 68), "body": slice(68, 76), "hands": slice(76, 106)}
N_POINTS = 106
_HEAT = 32  # side of the maps that points are read from


class PointDetector(nn.Module):
    """Frames (B, 3, S, S) in [0, 1] to points (B, 106, 2), shares of the side: soft maxima of maps."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(_block(3, 16, 2), _block(16, 32, 2), _block(32, 48, 1))
        self.coarse = nn.Sequential(_block(48, 64, 2), _block(64, 96, 2), _block(96, 64, 1))
        self.join = nn.Sequential(_block(48 + 64, 64, 1), nn.Conv2d(64, N_POINTS, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """Points as (x, y)."""
        fine = self.fine(functional.interpolate(frames, (4 * _HEAT, 4 * _HEAT), mode="area"))
        coarse = functional.interpolate(self.coarse(fine), fine.shape[2:], mode="bilinear")
        maps = self.join(torch.cat([fine, coarse], dim=1))  # (B, 106, 32, 32)
        heat = maps.flatten(2).softmax(dim=2).unflatten(2, maps.shape[2:])
        places = (torch.arange(_HEAT, device=frames.device) + 0.5) / _HEAT
        return torch.stack([(heat.sum(dim=2) * places).sum(dim=2), (heat.sum(dim=3) * places).sum(dim=2)], -1)


def _block(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, padding=1), nn.GroupNorm(8, outside), nn.SiLU()
    )


def true_points(motion: Motion, size: int) -> Tensor:
    """(F, 106, 2): face, body and hands of a motion in frames of `size` pixels, as shares of the side."""
    posed = pose_motion(standin_body(), motion)
    joints = posed.joints[:, (*BODY_JOINTS, *HAND_JOINTS)]
    screen, _ = project(torch.cat([posed.landmarks, joints], dim=1), default_camera(size, size))
    return screen.float() / size


def film_points(folder: Path, size: int) -> Tensor:
    """(N, 106, 2) of all frames of a film, where the body truly was."""
    return torch.cat([true_points(clip_motion(*clip)[0], size) for clip in film_clips_of(folder)])


@dataclass
class PointObjective:
    """Distance of what is found to the known points, on those inside the picture.

    frames: (N, S, S, 3) uint8; points: (N, 106, 2).
    """

    detector: PointDetector
    frames: np.ndarray
    points: Tensor
    config: LoopConfig

    def __call__(self, step: int, _generator: torch.Generator) -> Tensor:
        """Loss of one batch."""
        chosen = batch_indices(len(self.frames), self.config.batch_size, step, self.config.seed)
        points = self.points[chosen].to(self.config.device)
        found = self.detector(as_input(self.frames[chosen.numpy()], self.config.device))
        inside = ((points > 0) & (points < 1)).all(dim=2)
        return (found - points).norm(dim=2)[inside].mean()


def as_input(frames: np.ndarray | Tensor, device: str) -> Tensor:
    """(n, S, S, 3) uint8 or float in [0, 1] to (n, 3, S, S) float."""
    pictures = torch.as_tensor(frames).to(device)
    pictures = pictures.float() / 255 if pictures.dtype == torch.uint8 else pictures.float()
    return pictures.permute(0, 3, 1, 2)


def train_detector(
    frames: np.ndarray,
    points: Tensor,
    vae: Any,
    config: LoopConfig,
    folder: Path,
    progress: Progress | None = None,
) -> Path:
    """Train on frames and on what the VAE makes of them, as soft as results are; returns the file."""
    soft = decode_frames(vae, encode_frames(vae, torch.from_numpy(frames[::2])))
    both = np.concatenate([frames, soft.mul(255).round().to(torch.uint8).numpy()])
    with seeded(config.seed):
        detector = PointDetector()
    objective = PointObjective(detector, both, torch.cat([points, points[::2]]), config)
    fit(detector, objective, config, folder, progress)
    path = folder / "detector.safetensors"
    with atomic_path(path) as partial:
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in detector.state_dict().items()}, partial
        )
    return path


def load_detector(path: Path, device: str) -> PointDetector:
    """A trained detector."""
    detector = PointDetector()
    detector.load_state_dict(load_file(path))
    return detector.to(device).eval()


@torch.no_grad()
def find_points(detector: PointDetector, frames: Tensor, device: str) -> Tensor:
    """(F, 106, 2) of frames (F, S, S, 3), shares of the side."""
    return torch.cat([detector(as_input(part, device)).cpu() for part in frames.split(16)])


def distances(one: Tensor, two: Tensor, known: Tensor, size: int) -> dict[str, float]:
    """Mean distance in pixels of face, body and hands, over the known points inside the picture."""
    inside = ((known > 0) & (known < 1)).all(dim=2)
    apart = (one - two).norm(dim=2) * size
    return {f"lmd_{name}": float(apart[:, part][inside[:, part]].mean()) for name, part in GROUPS.items()}


def seeded_config(config: LoopConfig, seed: int) -> LoopConfig:
    """The same settings with a seed."""
    return replace(config, seed=seed)


def all_points(folders: Iterable[Path], size: int) -> Tensor:
    """The points of several films in a row."""
    return torch.cat([film_points(folder, size) for folder in folders])
