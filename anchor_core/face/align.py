"""Five points of a face to the aligned crop that the face network works in.

The published code aligns every face to the template of FFHQ (Karras et al. 2019) by the similarity of least
squares (Umeyama 1991, equations 40 to 42). Pixels here have their centres at whole numbers, as detectors
and cv2 count them. Matrices (2, 3) map pixels of the frame to pixels of a crop of side 512.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import AnchorError

CROP = 512
"""Side in pixels of the crop that matrices map to; crops of other sides are this one, resized."""

FFHQ = torch.tensor(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ],
    dtype=torch.float64,
)
"""(5, 2) eye centres, nose tip and mouth corners, left before right as the viewer sees them."""
LARGE_FFHQ = FFHQ / 1.5 + 110
"""(5, 2) the same face, smaller, with more around it; in the published code, but unused."""

_EYES, _NOSE, _MOUTH = ((36, 42), (42, 48)), 30, (48, 54)  # iBUG-68


def five_points(landmarks: Tensor) -> Tensor:
    """Eye centres, nose tip and mouth corners, (F, 5, 2), of landmarks (F, 68, 2) in iBUG order."""
    eyes = [landmarks[:, first:last, :2].mean(1) for first, last in _EYES]
    single = [landmarks[:, index, :2] for index in (_NOSE, *_MOUTH)]
    return torch.stack([*eyes, *single], dim=1).double()


def similarity(points: Tensor, template: Tensor = FFHQ) -> Tensor:
    """Turn, scale and shift, without mirroring, that bring points nearest to the template: (F, 2, 3) float64.

    points: (F, N, 2). template: (N, 2) or (F, N, 2). Raises AnchorError, with the frame's number, where
    points are not finite or all lie in one place.
    """
    points, template = points.double(), template.double().expand(points.shape)
    _check_points(points)
    source_mean, target_mean = points.mean(1, keepdim=True), template.mean(1, keepdim=True)
    source, target = points - source_mean, template - target_mean
    u, s, vt = torch.linalg.svd(target.transpose(1, 2) @ source)
    mirrored = torch.linalg.det(u) * torch.linalg.det(vt) < 0
    sign = torch.ones_like(s)
    sign[mirrored, -1] = -1
    turn = u @ torch.diag_embed(sign) @ vt
    scale = (s * sign).sum(1) / source.square().sum((1, 2))
    linear = scale[:, None, None] * turn
    shift = target_mean[:, 0] - (linear @ source_mean.transpose(1, 2))[..., 0]
    return torch.cat([linear, shift[..., None]], dim=2)


def crop_matrices(matrices: Tensor, size: int) -> Tensor:
    """Matrices (F, 2, 3) to a crop of `size` pixels: that of 512, resized about the corners of its pixels."""
    scale = size / CROP
    scaled = matrices * scale
    scaled[..., 2] += 0.5 * scale - 0.5
    return scaled


def inverse(matrices: Tensor) -> Tensor:
    """Matrices (F, 2, 3) that map the other way."""
    linear = torch.linalg.inv(matrices[..., :2])
    return torch.cat([linear, -linear @ matrices[..., 2:]], dim=-1)


def transform(points: Tensor, matrices: Tensor) -> Tensor:
    """Points (F, N, 2) mapped by matrices (F, 2, 3)."""
    return points.to(matrices.dtype) @ matrices[..., :2].transpose(-1, -2) + matrices[..., None, :, 2]


def crop_sides(matrices: Tensor) -> Tensor:
    """Side of the square in the frame that the crop shows, pixels (F,)."""
    return CROP / torch.linalg.det(matrices[..., :2]).abs().sqrt()


def _check_points(points: Tensor) -> None:
    bad = ~points.isfinite().flatten(1).all(1)
    if bad.any():
        raise AnchorError(
            f"The face of frame {int(bad.nonzero()[0, 0])} has a point that is not finite "
            f"({int(bad.sum())} such frames of {len(points)}): mark frames without a face as hidden."
        )
    spread = (points - points.mean(1, keepdim=True)).square().sum((1, 2))
    if (spread < 1e-12).any():
        raise AnchorError(
            f"All points of the face of frame {int((spread < 1e-12).nonzero()[0, 0])} lie in one place: "
            "five different points are needed to align a face."
        )
