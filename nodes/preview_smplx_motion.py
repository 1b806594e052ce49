"""Play a motion as a small mesh, alone or over the video that it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from comfy_api.latest import io

from . import _folders, _host
from ._anchor import LoadedAnchor
from ._motion import motion_input
from ._types import AnchorSocket, advanced, schema

if TYPE_CHECKING:
    from ..anchor_core.motion.motion import Motion


class PreviewSMPLXMotion(io.ComfyNode):
    """SMPLX_MOTION as a video in the node, and as a picture over time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: the motion; optionally the anchor, or the frames of the source video."""
        return schema(
            node_id="PreviewSMPLXMotion",
            display_name="Preview SMPL-X Motion",
            search_aliases=["play motion", "timeline", "overlay", "mesh preview"],
            description="Plays a motion at low resolution with its sound, within seconds, before any "
            "network runs. With the frames of the source video the mesh is laid over them, to see whether "
            "it fits.",
            is_output_node=True,
            inputs=[
                motion_input(),
                AnchorSocket.Input(
                    "anchor",
                    optional=True,
                    tooltip="Show the motion as this anchor's person, in front of its camera.",
                ),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="Frames of the video that the motion was taken from, as of Get Video "
                    "Components: the mesh is laid over them with the motion's own camera.",
                ),
                io.Float.Input(
                    "images_fps",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=0.01,
                    tooltip="Frames per second of these frames; 0 = those of the motion.",
                ),
                io.Int.Input(
                    "size",
                    default=256,
                    min=64,
                    max=1024,
                    step=8,
                    tooltip="Longer side of the preview in pixels; 256 plays soonest.",
                ),
                io.Int.Input(
                    "every",
                    default=0,
                    min=0,
                    max=100,
                    tooltip="Draw every n-th frame only; 0 = as many as are drawn within seconds.",
                ),
                advanced(
                    io.Combo.Input(
                        "body", options=_folders.body_names(), tooltip="What moves; as in Render SMPL-X Mesh."
                    )
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="timeline",
                    tooltip="Energy of hands, head and mouth over time, the sound, and frames that had to be "
                    "interpolated; for Preview Image.",
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        motion: Motion,
        images_fps: float,
        size: int,
        every: int,
        body: str,
        anchor: LoadedAnchor | None = None,
        images: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """Draw the preview to a file of the host's temp folder, and the timeline."""
        from ..anchor_core.motion.timeline import draw_timeline
        from ..anchor_core.render.preview import footage_of, write_preview

        shown = motion if anchor is None else anchor.stage(motion)
        path, saved = _folders.temp_video("anchor_preview")
        write_preview(
            path,
            shown,
            _folders.load_body(body, motion.gender),
            size=size,
            stride=every or None,
            background=None if images is None else footage_of(images, images_fps or motion.fps),
            progress=_host.FrameProgress(len(motion)),
        )
        timeline = torch.from_numpy(draw_timeline(shown))[None].float() / 255
        return io.NodeOutput(_host.to_host(timeline), ui=_folders.video_ui(saved))
