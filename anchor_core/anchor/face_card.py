"""The part of the card that belongs to the face network: how it was trained and wants to be sampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .card_checks import check_number, require

_MESH_CROPS = ("drawn", "warped")
_RANGES: dict[str, tuple[float, float]] = {
    "crop_size": (32, 2048),
    "guidance_scale": (0, 100),
    "condition_scale": (0, 10),
    "steps": (1, 1000),
    "window_size": (1, 4096),
    "overlap": (0, 4095),
    "training_steps": (0, 10**9),
    "forehead": (0, 1),
    "dilation": (0, 0.5),
}
_WHOLE = {"crop_size", "steps", "window_size", "overlap", "training_steps"}


@dataclass(frozen=True)
class FaceCard:
    """Settings of the face pass; the defaults are those of the published weights, but for the windows.

    The published stage paints every frame on its own (`window_size` 1); windows are steadier.
    A value out of range raises AnchorError that names the field.
    """

    crop_size: int = 256
    """Side of the aligned crops, pixels."""
    guidance_scale: float = 3.5
    condition_scale: float = 1.0
    steps: int = 20
    window_size: int = 16
    overlap: int = 4
    training_steps: int = 0
    mesh: str = "warped"
    """How the mesh came into the training crops: `warped` from the frame, as published, or `drawn` there."""
    forehead: float = 0.45
    """Reach of the trained masks above the brows, as a share of the way from chin to brows."""
    dilation: float = 0.03
    """Reach of the trained masks beyond the mesh, as a share of the crop's side."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know; they are kept when the anchor is saved again."""

    def __post_init__(self) -> None:
        for key, (low, high) in _RANGES.items():
            check_number(f"face.{key}", getattr(self, key), low, high, whole=key in _WHOLE)
        require("face.crop_size", self.crop_size, self.crop_size % 8 == 0, "a multiple of 8")
        require("face.overlap", self.overlap, self.overlap < self.window_size, "smaller than window_size")
        require("face.mesh", self.mesh, self.mesh in _MESH_CROPS, f"one of {', '.join(_MESH_CROPS)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` gives an equal card."""
        data = asdict(self)
        return {**data.pop("extra"), **data}

    @classmethod
    def from_dict(cls, data: object) -> FaceCard:
        """Read and check the face's part of a card; unknown fields are kept in `extra`."""
        require("face", data, isinstance(data, Mapping), "a group of settings, or nothing")
        assert isinstance(data, Mapping)
        known = {f.name for f in fields(cls)} - {"extra"}
        values = {key: value for key, value in data.items() if key in known}
        return cls(**values, extra={key: value for key, value in data.items() if key not in known})
