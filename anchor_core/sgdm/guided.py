"""Windows under several contexts, as guidance needs them: by the shared walk, or as a plain batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import AnchorError
from . import walk
from .checks import check_inpaint, check_latent_shape, check_pose_features, check_timestep, check_width
from .deep import DeepFeatures
from .far_keys import check_far_keys

if TYPE_CHECKING:
    from .network import SGDM


@dataclass(frozen=True)
class GuidedWindows:
    """The arguments of `SGDM.guided`, where their meanings and shapes are."""

    latents: Tensor
    timestep: Tensor | float
    contexts: Tensor
    pose_features: Tensor
    scale: float
    inpaint: Tensor | None
    far_keys: int
    deep: DeepFeatures | None


def check_guided(sgdm: SGDM, windows: GuidedWindows) -> None:
    """Raise AnchorError unless everything fits the network and each other."""
    check_latent_shape(windows.latents, sgdm.latent_channels)
    check_width(windows.contexts, sgdm.appearance_width)
    check_timestep(windows.timestep)
    check_far_keys(windows.far_keys)
    check_inpaint(windows.inpaint, sgdm.inpaint_channels)
    if windows.scale:
        check_pose_features(windows.pose_features, windows.latents, sgdm.pose_stride)


def predict_by_walk(sgdm: SGDM, given: GuidedWindows) -> Tensor:
    """(B, W, F, C, h, w); computes once what the contexts share."""
    windows, frames = given.latents.shape[:2]
    images = given.latents.flatten(0, 1)
    said = None
    with sgdm.window.entered(frames):
        if given.scale:
            poses = given.pose_features.expand(windows, *given.pose_features.shape[1:]).flatten(0, 1)
            run = _pass(sgdm, "controlnet", given)
            said = sgdm.passes.control(sgdm.controlnet, images, poses, given.scale, run)
        if given.inpaint is not None:
            images = torch.cat([given.latents, given.inpaint], dim=2).flatten(0, 1)
        run = replace(_pass(sgdm, "unet", given), alike=_alike(sgdm, images))
        predicted = sgdm.passes.denoise(sgdm.unet, images, said, sgdm.fidelity == "reference", run)
    return predicted.unflatten(0, (len(given.contexts), windows, frames))


def _alike(sgdm: SGDM, images: Tensor) -> bool:
    """Whether the frames of every window equal each other: in a clip's first step, see `shared_noise`."""
    if sgdm.window.frames == 1 or images.is_meta or sgdm.passes is not walk.PLAIN:
        return False  # a compiled network would be compiled once more for that one step
    frames = images.unflatten(0, (-1, sgdm.window.frames))
    return bool((frames == frames[:, :1]).all())


def _pass(sgdm: SGDM, part: str, given: GuidedWindows) -> walk.Pass:
    return walk.Pass(
        window=sgdm.window,
        images=given.latents.shape[0] * given.latents.shape[1],
        time=walk.embed_time(getattr(sgdm, part), given.timestep, given.latents),
        keys_values=sgdm.project_contexts(part, given.contexts),
        feed_forward_chunk=sgdm.feed_forward_chunk,
        far_keys=given.far_keys,
        deep=given.deep,
    )


def predict_by_batch(sgdm: SGDM, given: GuidedWindows) -> Tensor:
    """(B, W, F, C, h, w) for networks with parts that `walk` does not know; without its shortcuts."""
    windows, contexts = len(given.latents), len(given.contexts)
    if given.far_keys > 1 or given.deep is not None:
        raise AnchorError(
            "far_keys and reuse know the networks of Stable Diffusion 1.5 and this anchor has other parts: "
            "set both to 1"
        )

    def per_context(value: Tensor) -> Tensor:
        return value.repeat(contexts, *[1] * (value.ndim - 1))

    predicted: Tensor = sgdm(
        per_context(given.latents),
        torch.as_tensor(given.timestep).reshape(()),
        given.contexts.repeat_interleave(windows, dim=0),
        per_context(given.pose_features) if len(given.pose_features) > 1 else given.pose_features,
        given.scale,
        None if given.inpaint is None else per_context(given.inpaint),
    )
    return predicted.unflatten(0, (contexts, windows))
