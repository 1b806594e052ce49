"""One camera for all frames, out of a camera for each frame."""

from __future__ import annotations

import numpy as np

from .frames import PELVIS


def in_still_camera(
    translation: np.ndarray,
    cameras: tuple[np.ndarray, np.ndarray],
    focal_px: float,
    center_px: np.ndarray,
) -> np.ndarray:
    """The translation (F, 3) that shows the person to a camera that stands still as each frame's own camera
    does.

    cameras: focal length (F, 2) and principal point (F, 2) of each frame, px. focal_px, center_px (2,): the
    still camera. The pelvis falls on the same pixel, and the body has the same size in the picture at the
    depth of its pelvis: focal / depth is kept. Sideways metres do not depend on `focal_px`, the depth is
    proportional to it.
    """
    focal, center = (np.asarray(values, np.float64) for values in cameras)
    pelvis = translation.astype(np.float64) + PELVIS
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # a person in the plane of the camera: not finite, found later
        pixel = center + focal * pelvis[:, :2] / pelvis[:, 2:]
        depth = focal_px * pelvis[:, 2] / np.sqrt(focal.prod(axis=1))
        sideways = (pixel - center_px) * depth[:, None] / focal_px
    return np.column_stack([sideways, depth]) - PELVIS
