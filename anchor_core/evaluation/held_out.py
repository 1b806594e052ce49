"""The test world: motion of the demo presenter that no training saw, filmed again from its seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..anchor.file import Anchor, load_anchor
from ..anchor.use import appearance_tokens, noise_schedule
from ..errors import AnchorError
from ..motion.motion import Motion
from ..progress import Progress, count_windows
from ..render.mesh import to_bytes
from ..sampling.sampler import SamplerSettings, sample_latents
from ..sgdm.network import SGDM
from ..sgdm.vae import decode_frames


@dataclass(frozen=True, eq=False)
class HeldOutClip:
    """Motion that was not trained on.

    mesh: (F, H, W, 3) uint8, rendered from `estimate`, the motion as an estimator reads it.
    truth: (F, H, W, 3) uint8, the frames filmed of `motion`.
    """

    mesh: Tensor
    truth: Tensor
    motion: Motion
    estimate: Motion


def load_demo_anchor(path: str | Path) -> Anchor:
    """An anchor with VAE and tower of its own, as those of the demo world are."""
    anchor = load_anchor(path)
    if anchor.vae is None or anchor.vision is None or anchor.body is None:
        raise AnchorError(
            f"'{anchor.card.name}' has no VAE and vision tower of its own, so it is not of the demo world,"
            " whose test motion is needed here; choose the demo anchor"
        )
    return anchor


def film_held_out(anchor: Anchor, n_frames: int, jitter: float = 1.0) -> HeldOutClip:
    """Film the held-out motion at the size of the anchor.

    jitter: 1 for meshes as an estimator's, 0 for clean ones. Raises AnchorError for less than 2 frames.
    """
    from ..demo.dataset import HELD_OUT_SEED, Clip, DatasetSettings, clip_motion, render_clip

    if n_frames < 2:
        raise AnchorError(f"the held-out clip has {n_frames} frames: need 2 or more, to measure flicker")
    card = anchor.card
    settings = DatasetSettings(size=card.resolution[0], fps=card.fps, jitter=jitter)
    clip = Clip(0, HELD_OUT_SEED, 0, n_frames)
    mesh, truth, _ = render_clip(clip, settings)
    mesh, truth = (torch.from_numpy(to_bytes(frames)) for frames in (mesh, truth))
    return HeldOutClip(mesh, truth, *clip_motion(clip, settings))


def film(
    anchor: Anchor,
    sgdm: SGDM,
    mesh: Tensor,
    settings: SamplerSettings,
    progress: Progress | None = None,
) -> Tensor:
    """Frames for mesh renders: (F, H, W, 3) in, float [0, 1] of the same shape out."""
    appearance, null = appearance_tokens(anchor)
    schedule = noise_schedule(anchor.card)
    callback = count_windows(progress)
    latents = sample_latents(sgdm, mesh, appearance, null, settings, schedule, callback=callback)
    return decode_frames(anchor.vae, latents)
