"""The inputs and outputs that the two face trackers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..anchor_core.anchor.face_card import FaceCard
from ..anchor_core.face.track import MAX_CROP, TrackOptions
from . import _host
from ._anchor import LoadedAnchor
from ._types import AnchorSocket, FaceTrackSocket, advanced

if TYPE_CHECKING:
    from ..anchor_core.face.track import FaceTrack


def anchor_input() -> io.Input:
    """Whose face network the crops are for."""
    return AnchorSocket.Input(
        "anchor",
        optional=True,
        tooltip="Whose face network will paint: its crop size and masks are used where the widgets say so. "
        "Without it: those of published anchors.",
    )


def crop_size_input() -> io.Input:
    """Side of the crops."""
    return io.Int.Input(
        "crop_size",
        default=0,
        min=0,
        max=MAX_CROP,
        step=8,
        tooltip="Side of the aligned face crops in pixels, a multiple of 8. A face network works best at the "
        "size that it was trained at. 0 = as the anchor says, 256 without one.",
    )


def smoothing_input() -> io.Input:
    """How much the crops are calmed."""
    return io.Float.Input(
        "smoothing",
        default=TrackOptions.smoothing,
        min=0.0,
        max=100.0,
        step=0.1,
        tooltip="Calms the crop over time, in frames to each side; moves are neither delayed nor shortened. "
        "1 to 3 are usual, 0 aligns each frame on its own, as published.",
    )


def min_visibility_input() -> io.Input:
    """From where on a face is painted."""
    return advanced(
        io.Float.Input(
            "min_visibility",
            default=TrackOptions.min_visibility,
            min=0.0,
            max=1.0,
            step=0.05,
            tooltip="Share of the face that must be seen (turn of the head, hands in front, border of the "
            "frame). Frames that show less stay as they are; from there on the face fades in.",
        )
    )


def track_outputs() -> list[io.Output]:
    """What both trackers hand out."""
    return [
        FaceTrackSocket.Output(
            display_name="face_track",
            tooltip="Where the face of each frame is; for Face SGDM Inpaint and Face Crop.",
        ),
        io.Image.Output(
            display_name="crops",
            tooltip="The mesh in the aligned crops, which steers the face network; black where no face is "
            "seen.",
        ),
        io.Mask.Output(
            display_name="mask", tooltip="The face in the aligned crops: 1 where it will be painted."
        ),
    ]


def face_card_of(anchor: LoadedAnchor | None) -> FaceCard:
    """How an anchor's face network wants to be used; as the published ones where there is no anchor."""
    from ..anchor_core.anchor.use import face_card

    return FaceCard() if anchor is None else face_card(anchor.card)


def track_options(
    anchor: LoadedAnchor | None,
    *,
    forehead: float = -1,
    dilation: float = -1,
    **widgets: Any,
) -> TrackOptions:
    """What the widgets say, and the anchor's card where they say -1."""
    card = face_card_of(anchor)
    given = {
        **widgets,
        "forehead": card.forehead if forehead == -1 else forehead,
        "dilation": card.dilation if dilation == -1 else dilation,
    }
    return TrackOptions(**given) if anchor is None else TrackOptions(**given, mesh=card.mesh)


def track_result(track: FaceTrack) -> io.NodeOutput:
    """A track as both trackers hand it out."""
    return io.NodeOutput(
        track,
        _host.to_host(track.mesh[:].float() / 255),
        _host.to_host(track.mask[:].float() / 255),
    )
