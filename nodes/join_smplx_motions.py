"""One motion after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ._motion import motion_input, motion_output, seconds_input
from ._types import schema

if TYPE_CHECKING:
    from ..anchor_core.motion.motion import Motion


class JoinSMPLXMotions(io.ComfyNode):
    """Two to four motions as one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: the motions in their order, and how long the blends are."""
        more = ("motion_c", "motion_d")
        return schema(
            node_id="JoinSMPLXMotions",
            display_name="Join SMPL-X Motions",
            search_aliases=["concatenate", "blend", "transition", "append"],
            description="Plays motions one after the other, with blended transitions of frames and sound. "
            "The later ones are brought to the frame rate, the world and the place of the first.",
            inputs=[
                motion_input("motion_a", "What comes first; its rate, camera and body shape are kept."),
                motion_input("motion_b", "What follows after that."),
                seconds_input(
                    "blend_s",
                    0.4,
                    "Seconds in which one motion passes into the next; both overlap by them. 0 = a cut.",
                ),
                *(motion_input(name, "What follows then, if anything.", optional=True) for name in more),
            ],
            outputs=[
                motion_output("All of them as one motion."),
                io.Int.Output(display_name="frames", tooltip="Number of frames of the result."),
            ],
        )

    @classmethod
    def execute(
        cls,
        motion_a: Motion,
        motion_b: Motion,
        blend_s: float,
        motion_c: Motion | None = None,
        motion_d: Motion | None = None,
    ) -> io.NodeOutput:
        """Join those that are connected."""
        from ..anchor_core.motion.edits.time import join

        parts = [part for part in (motion_a, motion_b, motion_c, motion_d) if part is not None]
        joined = join(parts, blend_s)
        return io.NodeOutput(joined, len(joined))
