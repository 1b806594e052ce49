"""Render the mesh of a motion: the pictures that steer the presenter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from comfy_api.latest import io

from . import _folders, _host
from ._anchor import LoadedAnchor
from ._motion import audio_of, audio_output
from ._types import AnchorSocket, Landmarks, LandmarksSocket, MotionSocket, advanced, schema

if TYPE_CHECKING:
    from ..anchor_core.motion.motion import Motion

_MAX_SIDE = 4096


class RenderSMPLXMesh(io.ComfyNode):
    """SMPLX_MOTION as frames of a shaded mesh, in the look of the training data."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: motion, the anchor whose camera and shape are used, size, body and renderer."""
        return schema(
            node_id="RenderSMPLXMesh",
            display_name="Render SMPL-X Mesh",
            search_aliases=["smplx", "pose render", "body mesh"],
            description="Poses the body and renders its mesh in the look that anchors are trained on. With "
            "an anchor connected the motion is put in front of its camera, in its body shape, at its "
            "resolution.",
            inputs=[
                MotionSocket.Input("motion", tooltip="What the body does; from Load SMPL-X Motion."),
                AnchorSocket.Input(
                    "anchor",
                    optional=True,
                    tooltip="Whose camera, body shape and resolution to use. Without it the motion keeps "
                    "its own camera, or gets the default one.",
                ),
                _side_input("width"),
                _side_input("height"),
                io.Combo.Input(
                    "body",
                    options=_folders.body_names(),
                    tooltip="stand-in: a free body that ships with the pack (the demo was trained on it). "
                    "auto: the SMPL-X file in models/smplx that fits the motion's gender. Or one .npz in "
                    "models/smplx.",
                ),
                advanced(
                    io.Boolean.Input(
                        "antialias",
                        default=True,
                        tooltip="Smooth edges (several samples per pixel), as the training data has them.",
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "backend",
                        options=["torch", "pyrender"],
                        default="torch",
                        tooltip="torch: works everywhere. pyrender: the published renderer; needs the "
                        "packages pyrender and trimesh, and OpenGL.",
                    )
                ),
                io.Boolean.Input(
                    "retarget",
                    default=True,
                    optional=True,
                    tooltip="Put the motion on the anchor's person: body shape, camera, place and legs are "
                    "the anchor's, the rest the motion's. Off: it keeps its own camera and place, which "
                    "the anchor may never have seen.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="The rendered frames; the sampler's pose input."
                ),
                io.Mask.Output(display_name="mask", tooltip="Where the body is: 1 inside, 0 outside."),
                io.Image.Output(
                    display_name="depth",
                    tooltip="Nearness for viewing: white is the nearest point of the clip, black is far.",
                ),
                LandmarksSocket.Output(
                    display_name="landmarks",
                    tooltip="68 face points per frame, in pixels; for Face Track from Mesh.",
                ),
                io.Float.Output(
                    display_name="fps", tooltip="Frames per second of the motion; for Create Video."
                ),
                audio_output(),
            ],
        )

    @classmethod
    def execute(
        cls,
        motion: Motion,
        width: int,
        height: int,
        body: str,
        antialias: bool,
        backend: str,
        anchor: LoadedAnchor | None = None,
        retarget: bool = True,
    ) -> io.NodeOutput:
        """Place, pose, render."""
        from ..anchor_core.render.motion import render_motion

        staged = _staged(motion, anchor if retarget else None)
        size = _size(width, height, anchor)
        figure = _folders.load_body(body, motion.gender)
        if anchor is not None:
            anchor.warn_of_ranges(staged, figure)
        progress = _host.FrameProgress(len(motion))
        frames = render_motion(
            staged, figure, size=size, antialias=antialias, backend=backend, progress=progress
        )
        rendered = (int(frames.image.shape[2]), int(frames.image.shape[1]))
        return io.NodeOutput(
            _host.to_host(frames.image),
            _host.to_host(frames.mask),
            _host.to_host(nearness(frames.depth)),
            Landmarks(frames.landmarks, rendered, staged, figure),
            float(motion.fps),
            audio_of(motion),
        )


def nearness(depth: torch.Tensor) -> torch.Tensor:
    """Depth (F, H, W) in metres, 0 = nothing, as grey frames (F, H, W, 3) in [0, 1]; near is white."""
    hit = depth > 0
    if not bool(hit.any()):
        return torch.zeros(*depth.shape, 3)
    near, far = depth[hit].min(), depth[hit].max()
    # The farthest point of the body stays above the black of the background.
    grey = torch.where(hit, 1 - 0.8 * (depth - near) / (far - near).clamp(min=1e-6), 0)
    return grey[..., None].expand(*depth.shape, 3)


def _staged(motion: Motion, anchor: LoadedAnchor | None) -> Motion:
    """The motion in front of the anchor's camera; without an anchor, of its own or of the default one."""
    from ..anchor_core.render.preview import with_camera

    return with_camera(motion) if anchor is None else anchor.stage(motion)


def _size(width: int, height: int, anchor: LoadedAnchor | None) -> tuple[int, int] | None:
    """The size to render, or None for that of the motion's camera."""
    from ..anchor_core.errors import AnchorError

    if width and height:
        return width, height
    if width or height:
        raise AnchorError(f"width is {width} and height {height}: give both in pixels, or 0 for both")
    return None if anchor is None else anchor.card.resolution


def _side_input(name: str) -> io.Input:
    return io.Int.Input(
        name,
        default=0,
        min=0,
        max=_MAX_SIDE,
        step=8,
        tooltip=f"The {name} of the frames in pixels, a multiple of 8; 0 = as the anchor (or the motion's "
        "camera) says.",
    )
