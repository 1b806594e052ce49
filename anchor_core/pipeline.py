"""From a motion to a video of an anchor: the chain of all steps, as the command line runs it.

reference picture -> appearance tokens, motion -> body -> mesh render,
both -> overlapped temporal denoising -> decode -> video
(Make-Your-Anchor, Huang et al., CVPR 2024, section 3). Each step is one public call of its own module;
this module only hands the results on, so that a graph of nodes does the same with the same calls.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .anchor.file import Anchor
from .body.model import BodyModel
from .errors import AnchorError
from .motion.motion import Motion
from .progress import StepFactory, count_windows
from .render.mesh import Backend, to_bytes
from .sampling.conditioning import Conditioning
from .sampling.sampler import SamplerSettings

if TYPE_CHECKING:
    from .sgdm.network import SGDM

Audio = tuple[np.ndarray, int]
"""Waveform (C, T) and its samples per second."""


@dataclass(frozen=True)
class Scene:
    """What is filmed: who, in which body, moving how.

    appearance: (H, W, 3) uint8 reference picture, or None for the one inside the anchor file.
    """

    anchor: Anchor
    motion: Motion
    body: BodyModel
    appearance: np.ndarray | None = None
    backend: Backend = "torch"


@dataclass(frozen=True)
class Take:
    """What was filmed. mesh and frames: (F, H, W, 3) uint8 sRGB."""

    mesh: np.ndarray
    frames: np.ndarray
    fps: float
    settings: SamplerSettings


def film(
    scene: Scene, settings: SamplerSettings, step: StepFactory, device: torch.device, dtype: torch.dtype
) -> Take:
    """Run every step from the motion to the frames.

    Raises AnchorError where the anchor lacks a part that is needed: before the work, which may take hours.
    """
    from .anchor.use import appearance_tokens

    _body_of(scene.anchor)
    _vae_of(scene.anchor)
    appearance, null = appearance_tokens(scene.anchor, scene.appearance, device)
    mesh = render_scene(scene, step)
    conditioning = Conditioning(mesh, appearance, null)
    latents = denoise(scene.anchor, conditioning, settings, step, device, dtype)
    frames = decode(scene.anchor, latents, step, device, dtype)
    return Take(to_bytes(mesh), to_bytes(frames), scene.motion.fps, settings)


def render_scene(scene: Scene, step: StepFactory) -> torch.Tensor:
    """The mesh frames that condition the network: (F, H, W, 3) float32 in [0, 1]."""
    from .render.motion import render_motion

    with step("rendering the mesh", " frames") as bar:
        rendered = render_motion(
            scene.motion, scene.body, size=scene.anchor.card.resolution, backend=scene.backend, progress=bar
        )
    return rendered.image


def denoise(
    anchor: Anchor,
    conditioning: Conditioning,
    settings: SamplerSettings,
    step: StepFactory,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Latents of the clip, (F, C, h, w) float32 on the CPU."""
    from .anchor.use import noise_schedule
    from .sampling.sampler import sample

    body = _body_of(anchor).eval()
    with step("denoising", " windows") as bar:
        return sample(
            body,
            conditioning,
            settings,
            noise_schedule(anchor.card),
            device=device,
            dtype=dtype,
            callback=count_windows(bar),
        )


def decode(
    anchor: Anchor, latents: torch.Tensor, step: StepFactory, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """Frames from latents: (F, H, W, 3) float32 in [0, 1]."""
    from .sgdm.vae import decode_frames

    vae = _vae_of(anchor)
    # torch's own `to`: the one of diffusers warns about an empty list of modules
    torch.nn.Module.to(vae, device=device, dtype=dtype)
    with step("decoding", " frames") as bar:
        return decode_frames(vae, latents, progress=bar)


def save_take(take: Take, path: Path, audio: Audio | None, facts: dict[str, Any]) -> Path:
    """Write the video, and beside it a contact sheet (mesh over result); returns the sheet's path.

    facts: what made the video (anchor, motion, ...): travels with the sampler's settings as JSON in the file.
    """
    from .video.sheet import save_sheet
    from .video.write import write_video

    facts = {**facts, "settings": asdict(take.settings)}
    write_video(path, take.frames, take.fps, audio=audio, metadata={"comment": json.dumps(facts)})
    sheet = path.with_suffix(".png")
    save_sheet(sheet, {"mesh": take.mesh, "result": take.frames})
    return sheet


def _body_of(anchor: Anchor) -> SGDM:
    if anchor.body is None:
        raise AnchorError(
            f"the anchor '{anchor.card.name}' holds no body network; one is needed to make a video;"
            " choose an anchor that was trained for the body"
        )
    return anchor.body


def _vae_of(anchor: Anchor) -> Any:
    if anchor.vae is None:
        raise AnchorError(
            f"the anchor '{anchor.card.name}' holds no VAE; one is needed to decode its latents;"
            " pass --vae with an SD1.5 checkpoint or VAE file"
        )
    return anchor.vae
