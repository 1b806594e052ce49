"""Socket types of the pack, and the few things that every schema uses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io

if TYPE_CHECKING:
    from pathlib import Path

    from ..anchor_core.body.model import BodyModel
    from ..anchor_core.motion.motion import Motion

AnchorSocket = io.Custom("ANCHOR_SGDM")
"""`_anchor.LoadedAnchor`: a person's networks, in the care of ComfyUI's model management."""
MotionSocket = io.Custom("SMPLX_MOTION")
"""`anchor_core.motion.Motion`."""
LandmarksSocket = io.Custom("SMPLX_LANDMARKS")
"""`Landmarks`."""
FaceTrackSocket = io.Custom("ANCHOR_FACE_TRACK")
"""`anchor_core.face.track.FaceTrack`."""
DatasetSocket = io.Custom("ANCHOR_DATASET")
"""`AnchorDataset`."""

CATEGORY = "Anchor Avatar Studio"

_SCHEMA_FIELDS = {field.name for field in fields(io.Schema)}


@dataclass(frozen=True)
class Landmarks:
    """Where the mesh's face is, and what it was rendered from: a face pass renders it again, larger.

    points: (F, 68, 3), x px, y px, depth m; size: width and height of the frames; motion: as it was filmed,
    with its camera; body: what moved.
    """

    points: torch.Tensor
    size: tuple[int, int]
    motion: Motion
    body: BodyModel


@dataclass(frozen=True)
class AnchorDataset:
    """A folder that `prepare` has written, and what its person agreed to, for the card of the anchor.

    hash: of lists and pictures, so that another dataset of this name is another value.
    """

    folder: Path
    name: str
    consent: str
    hash: str


def schema(**given: Any) -> io.Schema:
    """An `io.Schema` in our category, without the fields that this ComfyUI does not know yet."""
    given.setdefault("category", CATEGORY)
    return io.Schema(**{name: value for name, value in given.items() if name in _SCHEMA_FIELDS})


def advanced(widget: io.Input) -> io.Input:
    """Put an input behind the "advanced" toggle; hosts that have none show it with the others."""
    widget.extra_dict = {**(widget.extra_dict or {}), "advanced": True}
    return widget
