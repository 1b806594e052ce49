"""Mesh renders as the ControlNet takes them (section 3.2): RGB in [0, 1], no mean, no deviation."""

from __future__ import annotations

import torch

from .pictures import Pictures, as_rgb, check_pictures, resized


def preprocess_pose(images: Pictures, width: int | None = None, height: int | None = None) -> torch.Tensor:
    """Pose pictures as a condition, (F, 3, height, width) float32 in [0, 1].

    images: (F, H, W, C) uint8, or float in [0, 1]; 1 (grey), 3 or 4 channels (alpha is dropped).
    width, height: size of the video in pixels, by default that of the pictures. Pictures of another size
    are squashed to it as published: 8 bits, Lanczos, aspect ratio not kept. Raises AnchorError on shapes.
    """
    pictures = check_pictures(images, "The pose")
    height, width = height or pictures.shape[1], width or pictures.shape[2]
    frames = torch.empty(len(pictures), 3, height, width)
    for index, picture in enumerate(pictures):
        frames[index] = _pose_frame(picture, width, height).permute(2, 0, 1)
    return frames


def _pose_frame(picture: torch.Tensor, width: int, height: int) -> torch.Tensor:
    from PIL import Image

    if picture.shape[:2] != (height, width):
        picture = torch.from_numpy(resized(picture, width, height, Image.Resampling.LANCZOS).copy())
    rgb = as_rgb(picture).float()
    return rgb if picture.is_floating_point() else rgb / 255
