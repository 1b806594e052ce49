"""The card of an anchor: what a person's weights are, how they were trained and how they want to be sampled.

Section 4.1 of the paper gives the numbers that belong to the published weights (20 steps, windows of 16
with overlap 4, condition scale W_c = 2). They are not universal: other weights want other scales, another
prediction type and another noise schedule, so every anchor carries its own and the nodes default to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import AnchorError
from ..motion.camera import Camera
from ..motion.ranges import MotionRanges
from .card_checks import check_number, require
from .face_card import FaceCard

CARD_VERSION = 1
_MAX_TEXT = 20_000  # characters; a consent statement is the longest honest text on a card

_RANGES: dict[str, tuple[float, float]] = {
    "fps": (1, 240),
    "training_steps": (0, 10**9),
    "seed": (0, 2**64 - 1),
    "num_train_timesteps": (1, 100_000),
    "beta_start": (1e-9, 1),
    "beta_end": (1e-9, 1),
    "steps_offset": (0, 100),
    "guidance_scale": (0, 100),
    "condition_scale": (0, 10),
    "steps": (1, 1000),
    "window_size": (1, 4096),
    "overlap": (0, 4095),
}
_WHOLE = {
    *("training_steps", "seed", "num_train_timesteps", "steps_offset"),
    *("steps", "window_size", "overlap"),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "stage": ("finetuned", "pretrained"),
    "prediction_type": ("epsilon", "v_prediction", "sample"),
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "timestep_spacing": ("leading", "trailing", "linspace"),
    "fidelity": ("trained", "reference"),
    "null_appearance": ("text", "stored"),
}
_TEXTS = ("name", "base", "scheduler", "licence", "consent", "made_with")
_FLAGS = ("zero_terminal_snr", "set_alpha_to_one")


@dataclass(frozen=True)
class AnchorCard:
    """What stands beside a person's weights; every field is plain JSON.

    The defaults are those of the published weights of Make-Your-Anchor on Stable Diffusion 1.5.
    A value out of range raises AnchorError that names the field.
    """

    name: str
    stage: str = "finetuned"
    """`finetuned` on one person, or `pretrained` on several and waiting for one."""
    base: str = "Stable Diffusion 1.5"
    """What the training started from."""
    resolution: tuple[int, int] = (512, 512)
    """Width and height of the trained frames, pixels."""
    camera: dict[str, Any] | None = None
    """`Camera.to_dict()` of the training footage; None when it is not known."""
    betas: tuple[float, ...] | None = None
    """SMPL-X shape of the person."""
    fps: float = 30.0
    training_steps: int = 0
    seed: int = 0
    """Seed of the training."""
    prediction_type: str = "epsilon"
    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    zero_terminal_snr: bool = False
    timestep_spacing: str = "leading"
    steps_offset: int = 1
    set_alpha_to_one: bool = False
    scheduler: str = "ddim"
    guidance_scale: float = 7.5
    condition_scale: float = 2.0
    steps: int = 20
    window_size: int = 16
    overlap: int = 4
    fidelity: str = "reference"
    """`reference` repeats the published inference (aliased residual), `trained` the training."""
    null_appearance: str = "text"
    """Unconditional tokens: the empty prompt of the `text` encoder, or `stored` in the file."""
    face: FaceCard | None = None
    """Settings of the face pass; None where there is no face network."""
    ranges: MotionRanges | None = None
    """Place and motion of the training; None when they are not known."""
    licence: str = ""
    consent: str = ""
    """Who agreed to this digital likeness, and to what."""
    made_with: str = ""
    version: int = CARD_VERSION
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know; they are kept when the anchor is saved again."""

    def __post_init__(self) -> None:
        _check_version(self.version)
        for key, (low, high) in _RANGES.items():
            check_number(key, getattr(self, key), low, high, whole=key in _WHOLE)
        for key, choices in _CHOICES.items():
            require(key, getattr(self, key), getattr(self, key) in choices, f"one of {', '.join(choices)}")
        for key in _TEXTS:
            text = getattr(self, key)
            require(
                key,
                text,
                isinstance(text, str) and len(text) <= _MAX_TEXT,
                f"text up to {_MAX_TEXT} characters",
            )
        for key in _FLAGS:
            require(key, getattr(self, key), isinstance(getattr(self, key), bool), "true or false")
        require("name", self.name, bool(self.name.strip()), "a name that is not empty")
        require("overlap", self.overlap, self.overlap < self.window_size, "smaller than window_size")
        _check_structures(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` gives an equal card."""
        parts = {
            name: part and part.to_dict() for name, part in (("face", self.face), ("ranges", self.ranges))
        }
        data = {**asdict(self), **parts}
        return {**data.pop("extra"), **data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AnchorCard:
        """Read and check a card. Unknown fields are kept in `extra`; a newer version raises AnchorError."""
        if not isinstance(data, Mapping) or "name" not in data:
            raise AnchorError(
                "The anchor's card has no name: it is not a card of this pack. Save the anchor again."
            )
        _check_version(data.get("version", CARD_VERSION))
        known = {f.name for f in fields(cls)} - {"extra"}
        values = {key: _frozen(value) for key, value in data.items() if key in known}
        if values.get("face") is not None:
            values["face"] = FaceCard.from_dict(values["face"])
        if values.get("ranges") is not None:
            values["ranges"] = MotionRanges.from_dict(values["ranges"])
        return cls(**values, extra={key: value for key, value in data.items() if key not in known})


def _check_version(version: object) -> None:
    require("version", version, isinstance(version, int) and version >= 1, "a whole number from 1")
    if isinstance(version, int) and version > CARD_VERSION:
        raise AnchorError(
            f"This anchor was made by a newer version (its card is version {version}, this pack reads up to "
            f"{CARD_VERSION}): update the pack."
        )


def _check_structures(card: AnchorCard) -> None:
    sides = card.resolution
    good = isinstance(sides, tuple) and len(sides) == 2
    good = good and all(isinstance(side, int) and 16 <= side <= 8192 for side in sides)
    require("resolution", sides, good, "width and height, each from 16 to 8192 pixels")
    betas = () if card.betas is None else card.betas
    good = isinstance(betas, tuple) and len(betas) <= 1000
    good = good and all(isinstance(b, (int, float)) and math.isfinite(b) for b in betas)
    require("betas", card.betas, good, "up to 1000 finite numbers, or nothing")
    if card.camera is not None:
        _check_camera(card.camera)
    require("face", card.face, card.face is None or isinstance(card.face, FaceCard), "a FaceCard, or nothing")
    good = card.ranges is None or isinstance(card.ranges, MotionRanges)
    require("ranges", card.ranges, good, "MotionRanges, or nothing")


def _check_camera(camera: object) -> None:
    try:
        Camera.from_dict(camera)  # type: ignore[arg-type]
    except (TypeError, KeyError, IndexError, OverflowError):
        require("camera", camera, False, "a camera as Camera.to_dict() writes it, or nothing")


def _frozen(value: Any) -> Any:
    """JSON knows lists only; the card holds tuples (one level: no field nests them)."""
    return tuple(value) if isinstance(value, list) else value
