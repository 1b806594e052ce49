"""Find the face of every frame in the mesh that it was made from."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..anchor_core.face.track import TrackOptions
from . import _host
from ._anchor import LoadedAnchor
from ._face import (
    anchor_input,
    crop_size_input,
    face_card_of,
    min_visibility_input,
    smoothing_input,
    track_options,
    track_outputs,
    track_result,
)
from ._types import Landmarks, LandmarksSocket, schema


class FaceTrackFromMesh(io.ComfyNode):
    """SMPLX_LANDMARKS to aligned face crops: exact in every frame, no detector."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: the rendered mesh, the anchor; size and calm of the crops, reach of the masks."""
        return schema(
            node_id="FaceTrackFromMesh",
            display_name="Face Track from Mesh",
            search_aliases=["face detection", "face alignment", "FFHQ", "face mask"],
            description="Finds the face of every frame from the mesh that the frames were made from: aligned "
            "crops, the mesh drawn in them, masks of the face, and which frames show it at all. Needs no "
            "face detector.",
            inputs=[
                LandmarksSocket.Input("landmarks", tooltip="The mesh and its face; from Render SMPL-X Mesh."),
                anchor_input(),
                crop_size_input(),
                smoothing_input(),
                _reach_input(
                    "forehead",
                    1.0,
                    "Reach of the mask above the brows, as a share of the way "
                    "from chin to brows; 0.45 ends at the hairline.",
                ),
                _reach_input(
                    "dilation",
                    0.5,
                    "Reach of the mask beyond the mesh on all sides, as a share of "
                    "the crop's side; 0.03 is usual, more takes in glasses and jaw.",
                ),
                io.Boolean.Input(
                    "fill",
                    default=TrackOptions.fill,
                    tooltip="Paint the open mouth and the eyes as well. Off: holes of the mesh stay as the "
                    "frame has them.",
                ),
                min_visibility_input(),
            ],
            outputs=track_outputs(),
        )

    @classmethod
    def execute(
        cls, landmarks: Landmarks, crop_size: int, anchor: LoadedAnchor | None = None, **widgets: Any
    ) -> io.NodeOutput:
        """Follow the face."""
        from ..anchor_core.face.track import track_motion

        track = track_motion(
            landmarks.motion,
            landmarks.body,
            size=landmarks.size,
            crop_size=crop_size or face_card_of(anchor).crop_size,
            options=track_options(anchor, **widgets),
            progress=_host.FrameProgress(len(landmarks.motion)),
        )
        return track_result(track)


def _reach_input(name: str, most: float, what: str) -> io.Input:
    return io.Float.Input(
        name, default=-1.0, min=-1.0, max=most, step=0.01, tooltip=f"{what} -1 = as the anchor says."
    )
