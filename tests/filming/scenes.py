"""Scenes that are filmed in a moment: a tiny anchor with a face network, a few frames of a motion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anchor_core.anchor.file import Anchor
from anchor_core.anchor.use import camera_of, sampler_settings
from anchor_core.body.model import standin_body
from anchor_core.cli.options import DEMO_MOTION
from anchor_core.filming.crew import AnchorCrew, Runtime
from anchor_core.filming.film import film_to_file
from anchor_core.filming.folder import RenderFolder
from anchor_core.filming.scene import FacePass, Film, Scene, face_tracking
from anchor_core.motion.motion import Motion
from anchor_core.motion.place import place_motion
from anchor_core.motion.read import read_motion
from anchor_core.progress import StepFactory, silent_step
from anchor_core.sgdm.network import SGDM

from ..anchor import models

SIZE = (144, 128)
CROP = 32
SHORT: dict[str, Any] = {"steps": 2, "guidance_scale": 1.0, "window_size": 4, "overlap": 1}
CPU = Runtime(torch.device("cpu"), torch.float32)


@dataclass(frozen=True)
class Take:
    """A film whose folder was kept, and its frames, (F, H, W, 3) uint8."""

    film: Film
    mesh: np.ndarray
    body: np.ndarray
    frames: np.ndarray


def demo_motion(anchor: Anchor, n_frames: int) -> Motion:
    return place_motion(read_motion(DEMO_MOTION).sliced(0, n_frames), camera_of(anchor.card), None)


def turning(motion: Motion, away: int) -> Motion:
    """The head looks at the camera, and from frame `away` on to the side and back."""
    pose = motion.pose.copy()
    for joint in (12, 15):
        pose[away:, joint] = (0.0, 1.0, 0.0)
    return replace(motion, pose=pose)


def scene_of(anchor: Anchor, motion: Motion, face: bool = True, seed: int = 3) -> Scene:
    settings = sampler_settings(anchor.card, "face", seed=seed)
    return Scene(
        motion, standin_body(), face=FacePass(settings, face_tracking(anchor.card)) if face else None
    )


def shot(out: Path, anchor: Anchor, scene: Scene, *, step: StepFactory = silent_step, **options: Any) -> Film:
    """The scene filmed; options: `film_to_file`'s, `crew` and changes of the settings."""
    crew = options.pop("crew", None) or AnchorCrew(anchor, CPU)
    changes = {
        name: options.pop(name) for name in list(options) if name in ("seed", "steps", "guidance_scale")
    }
    settings = sampler_settings(anchor.card, **SHORT | {"seed": 3} | changes)
    film = film_to_file(scene, crew, settings, out, step=step, **options)
    assert film is not None
    return film


def take_of(film: Film) -> Take:
    """The frames of a film with `keep_folder`."""
    assert film.folder is not None
    folder, shape = RenderFolder(film.folder), (SIZE[1], SIZE[0], 3)
    mesh, body = (folder.frames(name, shape)[:].numpy() for name in ("mesh", "body"))
    frames = body if film.painted is None else folder.frames("finished", shape)[:].numpy()
    return Take(film, mesh, body, frames)


def tiny_anchor() -> Anchor:
    """With four pixels per latent pixel: frames in which faces are large enough, and few latents."""
    torch.manual_seed(0)
    vae = models.tiny_vae(
        block_out_channels=[8, 8, 8],
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
    )
    return models.tiny_face_anchor(vae=vae, body=_network(), face=_network(in_channels=9))


def _network(**changes: Any) -> SGDM:
    from diffusers import ControlNetModel

    config = {key: value for key, value in models.UNET.items() if not key.startswith("up_")}
    controlnet = ControlNetModel(**config, conditioning_embedding_out_channels=[4, 8, 8])
    return SGDM(models.tiny_unet(**changes), controlnet, fidelity="trained").eval()
