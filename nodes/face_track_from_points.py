"""Find the face of every frame from points of a detector, where no mesh is at hand."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import torch
from comfy_api.latest import io

from ..anchor_core.errors import AnchorError
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
from ._types import schema

_MAX_CHARACTERS = 20_000_000  # of 100 thousand frames
_FARTHEST_PX = 1e6
_FORM = "a JSON list with one entry per frame, each five [x, y] in pixels, or null where there is no face"


class FaceTrackFromPoints(io.ComfyNode):
    """Five points per frame, as JSON, to aligned face crops."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: pose frames, points, the anchor; size and calm of the crops."""
        return schema(
            node_id="FaceTrackFromPoints",
            display_name="Face Track from Points",
            search_aliases=["face detection", "face alignment", "FFHQ", "landmarks"],
            description="Aligned face crops from five points per frame, for clips that have no mesh. The "
            "pose frames are warped into the crops, as published; the mask is the oval of an average face.",
            inputs=[
                io.Image.Input(
                    "pose",
                    tooltip="The pictures that steered the body, one per frame, as large as the frames; for "
                    "example renders of another program.",
                ),
                io.String.Input(
                    "points",
                    multiline=True,
                    default="",
                    placeholder="[[[210, 180], [260, 181], [236, 212], [214, 236], [257, 237]], null]",
                    tooltip=f"Face points as {_FORM}. Order: the eye on the left of the picture, the other "
                    "eye, tip of the nose, left and right corner of the mouth; x to the right, y down, a "
                    "pixel's centre at whole numbers.",
                ),
                anchor_input(),
                crop_size_input(),
                smoothing_input(),
                min_visibility_input(),
            ],
            outputs=track_outputs(),
        )

    @classmethod
    def execute(
        cls,
        pose: torch.Tensor,
        points: str,
        crop_size: int,
        anchor: LoadedAnchor | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Read the points, align."""
        from ..anchor_core.face.track import track_points

        track = track_points(
            read_points(points),
            pose[..., :3].cpu().float(),
            crop_size=crop_size or face_card_of(anchor).crop_size,
            options=track_options(anchor, **widgets),
        )
        return track_result(track)


def read_points(text: str) -> torch.Tensor:
    """Points (F, 5, 2) float64 of a JSON text, nan for null; AnchorError for any other content."""
    if len(text) > _MAX_CHARACTERS:
        raise AnchorError(
            f"points is {len(text)} characters long and at most {_MAX_CHARACTERS} are read: use fewer frames"
        )
    try:
        frames = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise AnchorError(f"points is no JSON ({error}): give {_FORM}") from None
    if not isinstance(frames, list) or not frames:
        raise AnchorError(f"points holds no list of frames: give {_FORM}")
    return torch.tensor([_face(frame, number) for number, frame in enumerate(frames)], dtype=torch.float64)


def _face(frame: Any, number: int) -> list[list[float]]:
    """The five points of one frame."""
    if frame is None:
        return [[torch.nan, torch.nan]] * 5
    if not (isinstance(frame, list) and len(frame) == 5 and all(map(_is_point, frame))):
        shown = json.dumps(frame)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise AnchorError(f"frame {number} of points is {shown}: give {_FORM}")
    return frame


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_pixel, value))


def _is_pixel(value: Any) -> bool:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return known and abs(value) <= _FARTHEST_PX


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
