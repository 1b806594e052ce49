"""What the face pass (section 3.4) is worth, and each of its choices: windows, alignment, mask, blend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..face.codec import Posterior
from .experiments import OWN_NOISE, SINGLE


@dataclass(frozen=True)
class FaceExperiment:
    """One row of the table: what differs from the anchor's own face pass.

    source: where the new faces come from: the network, the true faces through the VAE, or none, which leaves
    the frames as the body pass made them. surroundings: the frames in which they are painted, those of the
    body pass or the true ones. settings, track, blend: fields of SamplerSettings, TrackOptions, BlendOptions.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    track: dict[str, Any] = field(default_factory=dict)
    blend: dict[str, Any] = field(default_factory=dict)
    posterior: Posterior = "mode"
    source: Literal["network", "vae", "none"] = "network"
    surroundings: Literal["body", "truth"] = "body"


WINDOWS = {"window_size": 16, "overlap": 4}

WITHOUT = FaceExperiment("without the face pass", source="none")
ANCHORS_OWN = FaceExperiment("with it (the anchor's settings)")

FACE_EXPERIMENTS: tuple[FaceExperiment, ...] = (
    WITHOUT,
    FaceExperiment("VAE ceiling (true faces, encoded and decoded)", source="vae"),
    ANCHORS_OWN,
    FaceExperiment("frame by frame, shared noise", SINGLE),
    FaceExperiment("frame by frame, own noise each", {**SINGLE, **OWN_NOISE}),
    FaceExperiment("windows of 16, overlap 4", WINDOWS),
    FaceExperiment("windows of 16, overlap 4, own noise", {**WINDOWS, **OWN_NOISE}),
    FaceExperiment("masked faces drawn from the posterior (published)", posterior="sample"),
    FaceExperiment("5 steps", {"steps": 5}),
    FaceExperiment("20 steps", {"steps": 20}),
    FaceExperiment("guidance 2", {"guidance_scale": 2.0}),
    FaceExperiment("alignment not smoothed (published)", track={"smoothing": 0.0}),
    FaceExperiment("mask not dilated", track={"dilation": 0.0}),
    FaceExperiment("mask dilated by 0.06", track={"dilation": 0.06}),
    FaceExperiment("blend: no feather", blend={"feather": 0.0}),
    FaceExperiment("blend: feather 0.08", blend={"feather": 0.08}),
    FaceExperiment("blend: colours as decoded", blend={"color_match": False}),
    FaceExperiment("blend: whole crop", blend={"mode": "crop"}),
    FaceExperiment("blend: square (published)", blend={"mode": "square"}),
    FaceExperiment("painted into the true frames", surroundings="truth"),
)
