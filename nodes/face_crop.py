"""Cut the aligned face out of frames: to look at it, or as the reference picture of the face pass."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from comfy_api.latest import io

from ..anchor_core.errors import AnchorError
from ..anchor_core.face.track import MAX_CROP
from . import _host
from ._types import FaceTrackSocket, schema

if TYPE_CHECKING:
    from ..anchor_core.face.track import FaceTrack

logger = logging.getLogger("anchor")

ALL = -1


class FaceCrop(io.ComfyNode):
    """Frames and their track to aligned crops."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: frames, track; which frame, how large."""
        return schema(
            node_id="FaceCrop",
            display_name="Face Crop",
            search_aliases=["crop face", "align face", "head reference"],
            description="Cuts the aligned face out of frames. One frame makes the reference picture of the "
            "face pass: connect it to Appearance CLIP Encode with stage face.",
            inputs=[
                io.Image.Input("images", tooltip="The frames, one for each frame of the track."),
                FaceTrackSocket.Input(
                    "face_track",
                    tooltip="Where the faces are; from Face Track from Mesh, or from Points.",
                ),
                io.Int.Input(
                    "frame",
                    default=ALL,
                    min=ALL,
                    max=1_000_000,
                    tooltip="Number of the frame to cut, counted from 0; choose one that looks into the "
                    "camera. -1 = all frames.",
                ),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=MAX_CROP,
                    step=8,
                    tooltip="Side of the crops in pixels; 0 = that of the track. For a reference picture "
                    "224 or more show all that the vision tower can see.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="crops", tooltip="The aligned faces; one, or one for each frame."
                )
            ],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, face_track: FaceTrack, frame: int, size: int) -> io.NodeOutput:
        """Cut, a frame at a time."""
        from ..anchor_core.face.align import crop_matrices
        from ..anchor_core.face.checks import check_frames
        from ..anchor_core.face.warp import warp_to_crops

        clip, numbers = check_frames(images[..., :3], face_track), chosen_frames(face_track, frame)
        side = size or face_track.crop_size
        matrices = crop_matrices(face_track.matrices[numbers], side)
        progress = _host.FrameProgress(len(numbers))
        crops = torch.empty(len(numbers), side, side, 3)
        for row, number in enumerate(numbers):
            crops[row] = warp_to_crops(clip[number, None], matrices[row, None], side)[0]
            progress(row + 1, len(numbers))
        _report(face_track, numbers)
        return io.NodeOutput(_host.to_host(crops))


def chosen_frames(track: FaceTrack, frame: int) -> list[int]:
    """Numbers of the frames to cut; AnchorError for one that is not there, or does not show its face."""
    if frame == ALL:
        return list(range(len(track)))
    if not 0 <= frame < len(track):
        raise AnchorError(
            f"frame is {frame} and the clip has {len(track)} frames: choose 0 to {len(track) - 1}, or -1 for "
            "all of them"
        )
    if track.hidden[frame]:
        shown = track.visible.tolist()
        nearest = min(shown, key=lambda number: abs(number - frame), default=None)
        wanted = "another clip" if nearest is None else f"another frame, for example {nearest}"
        raise AnchorError(
            f"the face of frame {frame} cannot be seen ({track.hidden[frame]}): choose {wanted}"
        )
    return [frame]


def _report(track: FaceTrack, numbers: list[int]) -> None:
    hidden = [number for number in numbers if track.hidden[number]]
    if hidden:
        first = f"frame {hidden[0]}, {track.hidden[hidden[0]]}"
        logger.warning(
            "face crop: %d of %d crops show no face (the first: %s)", len(hidden), len(numbers), first
        )
