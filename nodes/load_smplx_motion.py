"""Load a motion: what the presenter does."""

from __future__ import annotations

from comfy_api.latest import io

from . import _host
from ._types import MotionSocket, advanced, schema

_MAX_FRAME = 1_000_000


class LoadSMPLXMotion(io.ComfyNode):
    """A motion file of any known kind as SMPLX_MOTION."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Widgets: the file and the part of it."""
        return schema(
            node_id="LoadSMPLXMotion",
            display_name="Load SMPL-X Motion",
            search_aliases=["SHOW", "TalkSHOW", "gesture", "smplx"],
            description="Loads SMPL-X motion: a parameter pickle of SHOW, an .npy of TalkSHOW, or our own "
            ".npz. The kind is told by the content. 'demo motion' ships with the pack.",
            inputs=[
                io.Combo.Input(
                    "motion",
                    options=_host.motion_names(),
                    default=_host.DEMO_MOTION,
                    tooltip="A .npz, .npy or .pkl in ComfyUI's input folder (or one folder below). Pickles "
                    "are read with an allow-list and cannot run code.",
                ),
                io.Int.Input(
                    "start_frame",
                    default=0,
                    min=0,
                    max=_MAX_FRAME,
                    tooltip="First frame to use, counted from 0.",
                ),
                io.Int.Input(
                    "n_frames",
                    default=0,
                    min=0,
                    max=_MAX_FRAME,
                    tooltip="Number of frames to use; 0 = to the end. 30 frames are one second at 30 fps; "
                    "time and memory of all later steps grow with it.",
                ),
                advanced(
                    io.Int.Input(
                        "sample",
                        default=0,
                        min=0,
                        max=9999,
                        tooltip="Which motion of a TalkSHOW file that holds several, counted from 0.",
                    )
                ),
            ],
            outputs=[
                MotionSocket.Output(
                    display_name="motion", tooltip="Poses, expression and camera of each frame."
                ),
                io.Float.Output(
                    display_name="fps", tooltip="Frames per second of the motion; for Create Video."
                ),
                io.Int.Output(display_name="frames", tooltip="Number of frames that are used."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, motion: str, start_frame: int, n_frames: int, sample: int) -> str:
        """Load again when the file has changed."""
        return _host.file_stamp(_host.motion_path(motion))

    @classmethod
    def execute(cls, motion: str, start_frame: int, n_frames: int, sample: int) -> io.NodeOutput:
        """Read the file, cut out the frames."""
        from ..anchor_core.errors import AnchorError
        from ..anchor_core.motion.read import read_motion

        whole = read_motion(_host.motion_path(motion), sample=sample)
        if start_frame >= len(whole):
            raise AnchorError(
                f"start_frame is {start_frame} and {motion} has {len(whole)} frames: "
                f"choose a start from 0 to {len(whole) - 1}"
            )
        stop = min(start_frame + n_frames, len(whole)) if n_frames else len(whole)
        part = whole.sliced(start_frame, stop)
        return io.NodeOutput(part, float(part.fps), len(part))
