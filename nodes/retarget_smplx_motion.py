"""Put a motion on the person of an anchor, and see how far it leaves what the anchor knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from comfy_api.latest import io

from ..anchor_core.motion.place import ROOTS
from . import _folders, _host
from ._anchor import LoadedAnchor
from ._motion import motion_input, motion_output
from ._types import AnchorSocket, advanced, schema

if TYPE_CHECKING:
    from ..anchor_core.motion.motion import Motion


class RetargetSMPLXMotion(io.ComfyNode):
    """SMPLX_MOTION of anybody as that of an anchor's person, with a report."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: motion, anchor, what of the root and the legs is kept."""
        return schema(
            node_id="RetargetSMPLXMotion",
            display_name="Retarget SMPL-X Motion",
            search_aliases=["retarget", "fit to anchor", "transfer motion"],
            description="Gives a motion the anchor's body shape, camera and place in the frame; upper "
            "body, hands, jaw and expression stay the source's. Render SMPL-X Mesh does the same by itself "
            "when the anchor is connected there: use this node for the choices, and for the report on "
            "poses that the anchor has never seen.",
            inputs=[
                motion_input(),
                AnchorSocket.Input("anchor", tooltip="Whose body, camera and place to take."),
                io.Boolean.Input(
                    "retarget",
                    default=True,
                    tooltip="Off: the motion passes unchanged, the report is still made.",
                ),
                io.Combo.Input(
                    "root",
                    options=list(ROOTS),
                    default="target",
                    tooltip="target: the body stays where the anchor sat or stood in training, the safest. "
                    "relative: the source's turns and steps are added there. source: the source's own turn.",
                ),
                io.Combo.Input(
                    "lower_body",
                    options=["target", "sit", "stand", "source"],
                    default="target",
                    tooltip="Pose of the legs. target: as the anchor was trained.",
                ),
                advanced(
                    io.Combo.Input(
                        "body",
                        options=_folders.body_names(),
                        tooltip="The body that the report measures with; the one of Render SMPL-X Mesh.",
                    )
                ),
            ],
            outputs=[
                motion_output("The motion of the anchor's person; for Render SMPL-X Mesh."),
                io.String.Output(
                    display_name="report",
                    tooltip="In words: what leaves the range of the training, and in which frames.",
                ),
                io.Image.Output(
                    display_name="picture",
                    tooltip="The same over time, for Preview Image: dark is as trained.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, motion: Motion, anchor: LoadedAnchor, retarget: bool, root: str, lower_body: str, body: str
    ) -> io.NodeOutput:
        """Retarget, compare, draw."""
        from ..anchor_core.motion.range_picture import draw_report
        from ..anchor_core.motion.range_report import compare_ranges

        staged = anchor.stage(motion, root=root, lower_body=lower_body, enabled=retarget)
        report = compare_ranges(staged, anchor.card.ranges, _folders.load_body(body, motion.gender))
        picture = torch.from_numpy(draw_report(report))[None].float() / 255
        return io.NodeOutput(staged, "\n".join(report.sentences()), _host.to_host(picture))
