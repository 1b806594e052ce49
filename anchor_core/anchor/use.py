"""What an anchor's card means to the other parts: noise schedule, camera, sampler settings, tokens."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from ..errors import AnchorError
from ..motion.camera import Camera, default_camera
from ..sampling.sampler import SamplerSettings
from ..sampling.schedulers import NoiseSchedule
from .card import AnchorCard
from .face_card import FaceCard

if TYPE_CHECKING:
    from .file import Anchor

Stage = Literal["body", "face"]


def noise_schedule(card: AnchorCard) -> NoiseSchedule:
    """The schedule that the anchor's networks were trained with."""
    known = {field.name for field in fields(AnchorCard)}
    shared = [field.name for field in fields(NoiseSchedule) if field.name in known]
    return NoiseSchedule(
        train_steps=card.num_train_timesteps, **{name: getattr(card, name) for name in shared}
    )


def schedule_fields(schedule: NoiseSchedule) -> dict[str, Any]:
    """What a card says of a noise schedule: the inverse of `noise_schedule`."""
    known = {field.name for field in fields(AnchorCard)}
    shared = {f.name: getattr(schedule, f.name) for f in fields(NoiseSchedule) if f.name in known}
    return {"num_train_timesteps": schedule.train_steps, **shared}


def camera_of(card: AnchorCard) -> Camera:
    """The camera that the anchor was filmed with, at its resolution; the default one if unknown."""
    if card.camera is None:
        return default_camera(*card.resolution)
    return Camera.from_dict(card.camera).resized(*card.resolution)


def betas_of(card: AnchorCard) -> np.ndarray | None:
    """Shape of the person, (S,) float32, or None."""
    return None if card.betas is None else np.asarray(card.betas, np.float32)


def sampler_settings(card: AnchorCard, stage: Stage = "body", **overrides: Any) -> SamplerSettings:
    """The settings that a stage of the anchor wants, with `overrides` that are not None instead."""
    wanted = {field.name for field in fields(SamplerSettings)} - {"seed"}
    cards = (card,) if stage == "body" else (card, face_card(card))
    own = {name: getattr(one, name) for one in cards for name in wanted if hasattr(one, name)}
    return SamplerSettings(**own | {name: value for name, value in overrides.items() if value is not None})


def face_card(card: AnchorCard) -> FaceCard:
    """Settings of the face pass; the published ones where the card has none."""
    return card.face or FaceCard()


def appearance_tokens(
    anchor: Anchor,
    picture: np.ndarray | torch.Tensor | None = None,
    device: torch.device | str = "cpu",
    stage: Stage = "body",
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Tokens of a reference picture, (1, T, D), and the unconditional ones, (1, T, D) or None.

    picture: (H, W, C) uint8 or float in [0, 1]; None takes that of the stage inside the anchor file. The
    published code encodes in float32, so do we. Raises AnchorError where picture or vision tower is missing.
    """
    from ..sgdm.appearance import encode_appearance

    name = anchor.card.name
    if anchor.vision is None:
        raise AnchorError(
            f"the anchor '{name}' holds no vision tower and none was given; CLIP ViT-B/32 is needed to"
            " look at the reference picture; name a file of it"
        )
    if picture is None:
        picture = anchor.reference if stage == "body" else anchor.face_reference
    if picture is None:
        wanted = "picture of the person" if stage == "body" else "crop of the person's aligned face"
        raise AnchorError(f"the anchor '{name}' holds no reference picture of the {stage}; give a {wanted}")
    tower = anchor.vision.to(device=device, dtype=torch.float32).eval()
    tokens = encode_appearance(tower, torch.as_tensor(picture)[None])
    null = anchor.null_appearance
    if null is not None:
        null = null.reshape(1, *null.shape[-2:])[:, : tokens.shape[1]].to(tokens)
    return tokens, null
