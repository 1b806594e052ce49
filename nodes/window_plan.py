"""A picture of the window plan: which frames will be denoised together."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..anchor_core.sampling.sampler import SamplerSettings
from . import _host
from ._types import advanced, schema
from ._windows import overlap_input, refused_windows, schedule_input, weighting_input, window_size_input


class AnchorWindowPlan(io.ComfyNode):
    """The windows of a clip as an IMAGE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Widgets: those of the sampler that make the plan."""
        return schema(
            node_id="AnchorWindowPlan",
            display_name="Anchor Window Plan",
            search_aliases=["context windows", "overlap"],
            description="Draws how the Overlapped Temporal Sampler would cut a clip into windows, and how "
            "much each window counts at each frame. For choosing window_size and overlap; it runs no "
            "network.",
            inputs=[
                io.Int.Input(
                    "frames",
                    default=48,
                    min=1,
                    max=100_000,
                    tooltip="Number of frames of the clip; connect 'frames' of Load SMPL-X Motion.",
                ),
                window_size_input(SamplerSettings.window_size, least=1),
                overlap_input(SamplerSettings.overlap, least=0),
                schedule_input(SamplerSettings.schedule),
                weighting_input(SamplerSettings.weighting),
                advanced(
                    io.Int.Input(
                        "steps",
                        default=0,
                        min=0,
                        max=30,
                        tooltip="Denoising steps to draw, one below the other; 0 = one, or six where "
                        "windows move.",
                    )
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The plan; for Preview Image.")],
        )

    @classmethod
    def validate_inputs(cls, window_size: int | None, overlap: int | None) -> bool | str:
        """Refuse a plan that cannot be made before anything runs."""
        return refused_windows(window_size, overlap) or True

    @classmethod
    def execute(
        cls, frames: int, window_size: int, overlap: int, schedule: str, weighting: str, steps: int
    ) -> io.NodeOutput:
        """Draw."""
        from ..anchor_core.sampling.picture import plan_picture

        picture = plan_picture(frames, window_size, overlap, schedule, weighting, steps=steps or None)
        return io.NodeOutput(_host.to_host(torch.from_numpy(picture)[None].float() / 255))
