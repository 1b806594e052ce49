"""A card that learns from the motions of the training videos where the person was and what it did.

Weights that were trained elsewhere come without it: their meshes were drawn from the parameter files of an
estimator (SHOW, arXiv 2212.04420), which also say camera and body shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import AnchorError
from ..motion.camera import Camera
from ..motion.motion import Motion
from ..motion.ranges import measure_ranges
from .card import AnchorCard

if TYPE_CHECKING:
    from ..body.model import BodyModel

Crop = tuple[float, float, float, float]


def card_of_training(
    card: AnchorCard, motions: Sequence[Motion], body: BodyModel, crop: Crop | None = None
) -> AnchorCard:
    """The card with camera, betas and ranges of its training.

    motions: of the training videos, each with its camera, of one size and focal length. body: the one whose
    meshes were drawn. crop: left, top, width and height in pixels of the video that the training pictures
    show; by default the largest part of their shape with the person's head in its middle, as far as the video
    reaches. Raises AnchorError where cameras are missing or differ.
    """
    camera = _one_camera(motions)
    motions = [_seen_by(motion, camera) for motion in motions]
    if crop is None:
        crop = _around_person(motions, body, camera, card.resolution)
    _check_crop(crop, camera)
    left, top, width, height = crop
    sx, sy = card.resolution[0] / width, card.resolution[1] / height
    cut = Camera(
        focal_px=(camera.focal_px[0] * sx, camera.focal_px[1] * sy),
        center_px=((camera.center_px[0] - left) * sx, (camera.center_px[1] - top) * sy),
        size=card.resolution,
        translation=camera.translation,
    )
    shapes = [motion.betas for motion in motions if motion.betas is not None]
    betas = np.median(_padded(shapes), axis=0).astype(np.float32) if shapes else None
    trained = [replace(motion, camera=cut, betas=betas) for motion in motions]
    return replace(
        card,
        camera=cut.to_dict(),
        betas=None if betas is None else tuple(map(float, betas)),
        ranges=measure_ranges(trained, body),
    )


def _one_camera(motions: Sequence[Motion]) -> Camera:
    cameras = [motion.camera for motion in motions if motion.camera is not None]
    if not motions or len(cameras) < len(motions):
        raise AnchorError(
            f"{len(motions) - len(cameras)} of {len(motions)} motions of the training have no camera: give "
            "those that the training's meshes were drawn from, as SHOW's .pkl."
        )
    kinds = {(camera.size, camera.focal_px, camera.center_px) for camera in cameras}
    if len(kinds) > 1:
        raise AnchorError(
            f"The motions of the training have {len(kinds)} different cameras: give those of one video."
        )
    return cameras[0]


def _seen_by(motion: Motion, camera: Camera) -> Motion:
    """The same picture from another place: estimators shift the camera from clip to clip, not the person."""
    assert motion.camera is not None
    shift = np.subtract(motion.camera.translation, camera.translation) * (-1, -1, 1)
    if motion.world != "cv":
        raise AnchorError(
            f"A motion of the training is in the world '{motion.world}': its camera needs 'cv'."
        )
    return replace(motion, camera=camera, translation=motion.translation + shift)


def _around_person(motions: Sequence[Motion], body: BodyModel, camera: Camera, size: tuple[int, int]) -> Crop:
    """The largest part of the video in the shape of `size`, with the head in its middle if there is room."""
    whole = measure_ranges(motions, body)
    scale = min(camera.size[0] / size[0], camera.size[1] / size[1])
    width, height = size[0] * scale, size[1] * scale
    middle = (whole.head_low + whole.head_high)[:2] / 2 * camera.size
    left = np.clip(middle[0] - width / 2, 0, camera.size[0] - width)
    top = np.clip(middle[1] - height / 2, 0, camera.size[1] - height)
    return (float(left), float(top), width, height)


def _check_crop(crop: Crop, camera: Camera) -> None:
    if not all(np.isfinite(crop)) or min(crop[2:]) < 1:
        raise AnchorError(f"The crop is {crop}: left, top, width and height are needed, in pixels.")
    if crop[0] >= camera.size[0] or crop[1] >= camera.size[1]:
        raise AnchorError(f"The crop {crop} lies outside the video of {camera.size[0]} x {camera.size[1]}.")


def _padded(shapes: Sequence[np.ndarray]) -> np.ndarray:
    longest = max(len(shape) for shape in shapes)
    return np.stack([np.pad(shape, (0, longest - len(shape))) for shape in shapes])
