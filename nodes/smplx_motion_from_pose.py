"""Motion out of the host's own body estimator, where this ComfyUI has one."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ._motion import audio_input, audio_of, audio_output, motion_output, with_audio
from ._types import advanced, schema

PoseSocket = io.Custom("MHR_POSE_DATA")
"""The host's: bodies of SAM 3D Body, frame by frame."""
FaceSocket = io.Custom("FACE_LANDMARKS")
"""The host's: faces of MediaPipe, frame by frame."""
HOST_NODE = "SAM3DBody_Predict"
"""The host's node that makes MHR_POSE_DATA."""


class SMPLXMotionFromPose(io.ComfyNode):
    """MHR_POSE_DATA as SMPLX_MOTION."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: the poses, their rate, optionally the faces and the sound of the same video."""
        return schema(
            node_id="SMPLXMotionFromPose",
            display_name="SMPL-X Motion from Pose",
            search_aliases=["SAM 3D Body", "video to motion", "MHR", "driving video"],
            description="Turns the poses of ComfyUI's own SAM 3D Body into a motion: body, hands and "
            "place. The expression comes from the host's MediaPipe Face Landmarker, if its faces are "
            "connected: SAM 3D Body's own expression has no counterpart.",
            inputs=[
                PoseSocket.Input(
                    "mhr_pose_data", tooltip="From Predict SAM3D Body, of all frames of a video."
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=240.0,
                    step=0.01,
                    tooltip="Frames per second of the video: connect fps of Get Video Components.",
                ),
                io.Int.Input(
                    "person",
                    default=-1,
                    min=-1,
                    max=99,
                    tooltip="Which person, counted from 0; -1 = the only one.",
                ),
                FaceSocket.Input(
                    "face_landmarks",
                    optional=True,
                    tooltip="Faces of the same frames, from MediaPipe Face Landmarker: mouth, eyes and "
                    "brows.",
                ),
                audio_input(),
                advanced(
                    io.Float.Input(
                        "max_gap_s",
                        default=0.5,
                        min=0.0,
                        max=60.0,
                        step=0.1,
                        tooltip="Seconds without the person that are interpolated; longer ones are refused.",
                    )
                ),
            ],
            outputs=[motion_output("For the other motion nodes."), audio_output()],
        )

    @classmethod
    def execute(
        cls,
        mhr_pose_data: dict[str, Any],
        fps: float,
        person: int,
        max_gap_s: float,
        face_landmarks: dict[str, Any] | None = None,
        audio: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        """Solve for the joints' turns."""
        from ..anchor_core.motion.formats.mhr import motion_from_pose_data

        chosen = None if person < 0 else person
        found = motion_from_pose_data(mhr_pose_data, fps, chosen, face_landmarks, max_gap_s)
        motion = with_audio(found, audio)
        return io.NodeOutput(motion, audio_of(motion))
