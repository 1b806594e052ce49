"""Pictures as people bring them, as the 8-bit RGB pictures that the published preprocessing starts from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import AnchorError

Pictures = torch.Tensor | np.ndarray


def check_pictures(images: Pictures, what: str) -> torch.Tensor:
    """`images` as a tensor (N, H, W, C), C = 1 grey, 3 RGB or 4 RGBA, uint8 or float in [0, 1].

    Raises AnchorError for anything else; `what` names the input.
    """
    pictures = torch.as_tensor(images)
    if pictures.ndim != 4 or pictures.shape[3] not in (1, 3, 4) or 0 in pictures.shape:
        raise AnchorError(
            f"{what} has shape {tuple(images.shape)}: "
            "give (N, H, W, C) with 1 (grey), 3 (RGB) or 4 (RGBA) channels."
        )
    if pictures.dtype != torch.uint8 and not pictures.is_floating_point():
        raise AnchorError(f"{what} is of type {pictures.dtype}: give uint8, or floats in [0, 1].")
    return pictures


def as_rgb(pictures: torch.Tensor) -> torch.Tensor:
    """(..., 1 | 3 | 4) to (..., 3): grey is repeated, alpha is dropped without blending."""
    if pictures.shape[-1] == 1:
        return pictures.expand(*pictures.shape[:-1], 3)
    return pictures[..., :3]


def resized(picture: torch.Tensor, width: int, height: int, resample: Any) -> np.ndarray:
    """One picture (H, W, C) as uint8 (height, width, 3), resized by Pillow on 8-bit values.

    Pillow widens its filter when it shrinks and rounds between the two directions; other libraries
    differ from it by whole levels.
    """
    from PIL import Image

    rgb = as_rgb(picture)
    if rgb.is_floating_point():
        rgb = rgb.clamp(0, 1).mul(255).round().to(torch.uint8)
    image = Image.fromarray(np.ascontiguousarray(rgb.cpu().numpy()))
    return np.asarray(image.resize((width, height), resample))
