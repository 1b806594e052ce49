"""Take a part of a motion, and repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ._motion import motion_input, motion_output, seconds_input
from ._types import schema

if TYPE_CHECKING:
    from ..anchor_core.motion.motion import Motion


class TrimSMPLXMotion(io.ComfyNode):
    """A part of a motion, in seconds, once or in a loop."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: the motion, the part, how often."""
        return schema(
            node_id="TrimSMPLXMotion",
            display_name="Trim and Loop SMPL-X Motion",
            search_aliases=["cut", "loop", "repeat", "trim"],
            description="Takes a part of a motion with its sound. More than once: the part is made to run "
            "into its own beginning, so that it repeats without a jump, and a video of it loops.",
            inputs=[
                motion_input(),
                seconds_input("start_s", 0.0, "Where the part begins, in seconds."),
                seconds_input("duration_s", 0.0, "How long it is, in seconds; 0 = to the end."),
                io.Int.Input(
                    "times",
                    default=1,
                    min=1,
                    max=1000,
                    tooltip="How often the part is played; from 2 on its end is blended into its beginning.",
                ),
                seconds_input(
                    "blend_s",
                    0.4,
                    "Seconds of the blend between end and beginning; each round is shorter by them.",
                ),
            ],
            outputs=[
                motion_output("The part, as often as asked."),
                io.Int.Output(display_name="frames", tooltip="Number of frames of the result."),
            ],
        )

    @classmethod
    def execute(
        cls, motion: Motion, start_s: float, duration_s: float, times: int, blend_s: float
    ) -> io.NodeOutput:
        """Cut, then repeat."""
        from ..anchor_core.motion.edits.time import loop, trim

        part = trim(motion, start_s, duration_s or None)
        result = part if times == 1 else loop(part, times, blend_s)
        return io.NodeOutput(result, len(result))
