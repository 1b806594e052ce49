"""From what a file says to a motion: units, gaps and conventions checked, each surprise said."""

from __future__ import annotations

import logging

import numpy as np

from ..errors import AnchorError
from .conventions import check_hands, in_radians, upright_world
from .formats.parts import Parts, ReadOptions
from .motion import Motion
from .repair import fill_gaps

logger = logging.getLogger("anchor")


def finish(parts: Parts, options: ReadOptions) -> Motion:
    """The motion of a file, as `options` corrects it. Raises AnchorError where the file leaves something open
    that only the user knows, or is beyond repair; logs what was repaired and what looks odd."""
    if not len(parts.pose):
        raise AnchorError("The motion has no frames: it needs at least one.")
    fps = _frame_rate(parts, options)
    parts, marks = fill_gaps(in_radians(parts, options.angles), fps, options.max_gap_s)
    world = options.world or upright_world(parts)
    if options.hands is None:
        check_hands(parts)
    return Motion(
        pose=parts.pose,
        translation=parts.translation,
        expression=parts.expression,
        betas=_betas(parts),
        fps=fps,
        world=world,
        hands=options.hands or parts.hands,
        hands_pca=parts.hands_pca,
        expression_space=parts.expression_space,
        camera=parts.camera if world == "cv" else None,  # a camera looks along z of the "cv" world
        gender=parts.gender,
        source=parts.source,
        valid=parts.valid,
        interpolated=marks,
    )


def _frame_rate(parts: Parts, options: ReadOptions) -> float:
    fps = options.fps or parts.fps
    if fps is None:
        raise AnchorError(
            f"A file of {parts.source} that does not say its frames per second: give fps, that of the video "
            "or recording it was made from."
        )
    if not 0 < fps < 1000:
        raise AnchorError(f"The file says {fps:g} frames per second, which cannot be: give fps.")
    return fps


def _betas(parts: Parts) -> np.ndarray | None:
    if parts.betas is None or np.isfinite(parts.betas).all():
        return parts.betas
    logger.warning("The shape of the body (betas) holds numbers that are not finite and was left out.")
    return None
