"""GVHMR's hmr4d_results.pt (arXiv 2409.06662): angles in radians, metres, one person, body only.

smpl_params_incam and smpl_params_global: body_pose (F, 63), betas (F, 10), global_orient (F, 3), transl (F,
3) of SMPL-X; K_fullimg (F, 3, 3), whose principal point is the middle of the picture. Read is what the
camera sees; with world="yup" the motion in the world, which has no camera. GVHMR saves its copy of the
video at 30 fps.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import AnchorError
from ..camera import Camera
from ..motion import Validity
from .frames import stack, table, typical
from .parts import Parts, ReadOptions, assemble, choose_person
from .still import in_still_camera

logger = logging.getLogger("anchor")

FPS = 30.0
_WIDTHS = {"global_orient": 3, "body_pose": 63, "transl": 3, "betas": None}
_CAMERA, _WORLD = "smpl_params_incam", "smpl_params_global"
_MAX_SIDE_PX = 100_000
_VALID = Validity(jaw=False, eyes=False, hands=False, expression=False)


def matches(content: Any) -> bool:
    """Whether the content has the parameters that the camera sees, or those in the world."""
    return isinstance(content, Mapping) and any(
        isinstance(content.get(key), Mapping) for key in (_CAMERA, _WORLD)
    )


def read(content: Mapping[str, Any], options: ReadOptions) -> Parts:
    """content: the dictionary of the file; `options.world` "yup" takes the parameters in the world."""
    choose_person(("0",), options.person)
    key = _WORLD if options.world == "yup" else _CAMERA
    if not isinstance(content.get(key), Mapping):
        need = "leave world out" if key == _WORLD else 'give world="yup"'
        raise AnchorError(f"The file has no {key}: {need}, or run GVHMR again.")
    columns = stack([content[key]], _WIDTHS)
    n_frames = len(columns["transl"])
    translation, camera = columns["transl"], None
    if key == _CAMERA and "K_fullimg" in content:
        translation, camera = _still(translation, table(content["K_fullimg"], "K_fullimg", 9))
    if options.fps is None:
        logger.info(f"GVHMR's copy of the video has {FPS:g} fps: give fps if your video has others.")
    return Parts(
        source="GVHMR",
        pose=assemble(n_frames, {"root": columns["global_orient"], "body": columns["body_pose"]}),
        translation=translation,
        expression=np.zeros((n_frames, 0), np.float32),
        betas=typical(columns["betas"]),
        fps=FPS,
        world="cv" if key == _CAMERA else "yup",
        hands="relative",  # zeros are then the relaxed hand
        expression_space="none",
        camera=camera,
        valid=_VALID,
    )


def _still(translation: np.ndarray, lenses: np.ndarray) -> tuple[np.ndarray, Camera | None]:
    """One camera, the middle of all; a frame with another one has its difference in the translation."""
    if len(lenses) == 1:
        lenses = np.repeat(lenses, len(translation), axis=0)
    if len(lenses) != len(translation):
        raise AnchorError(f"There are {len(lenses)} cameras and {len(translation)} frames: run GVHMR again.")
    focal, center = lenses[:, [0, 4]], lenses[:, [2, 5]]
    usable = (
        np.isfinite(lenses).all() and focal.min() > 0 and center.min() >= 1 and center.max() < _MAX_SIDE_PX
    )
    if not usable:
        logger.warning("K_fullimg holds no camera that sees the person: the motion has none.")
        return translation, None
    focal_px, center_px = np.median(focal, axis=0), np.median(center, axis=0)
    if np.ptp(lenses, axis=0).max() > 1e-3:
        focal_px[:] = np.sqrt(focal_px.prod())
        translation = in_still_camera(translation, (focal, center), float(focal_px[0]), center_px)
    fx, fy, cx, cy = (float(value) for value in (*focal_px, *center_px))
    return translation, Camera((fx, fy), (cx, cy), (round(2 * cx), round(2 * cy)), (0.0, 0.0, 0.0))
