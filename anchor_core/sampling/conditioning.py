"""What steers the denoising of a clip: pose frames, appearance tokens, and later what a face pass adds.

Clip-length tensors stay on the CPU as they were given; one window at a time goes to the device.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from ..errors import AnchorError
from .windows import Window

logger = logging.getLogger("anchor")


class Network(Protocol):
    """What the sampler needs of a network; SGDM is one."""

    @property
    def latent_channels(self) -> int:
        """Channels of the latents that are denoised."""

    def embed_pose(self, pose: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, c, h, w)."""

    def __call__(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        appearance: torch.Tensor,
        pose_features: torch.Tensor,
        condition_scale: float = 1.0,
        **extra: torch.Tensor,
    ) -> torch.Tensor:
        """(B, F, C, h, w) -> (B, F, C, h, w)."""

    def parameters(self) -> Any:
        """Weights; the first one tells device and type."""


@dataclass(frozen=True)
class Conditioning:
    """All that a clip is made from besides noise.

    pose: (F, H, W, 3) or (F, 3, H, W), float in [0, 1] or uint8. appearance: (1, T, D) tokens of the
    reference picture. null: (1, T, D) tokens of the unconditional pass, or None where no guidance is used.
    inpaint: (F, C_extra, h, w) extra input channels of an inpainting U-Net (mask, masked latents), or None.
    """

    pose: torch.Tensor | np.ndarray
    appearance: torch.Tensor
    null: torch.Tensor | None = None
    inpaint: torch.Tensor | None = None

    @property
    def n_frames(self) -> int:
        """Frames of the clip."""
        return len(self.pose)

    def pose_window(self, window: Window, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Pose frames of a window as the network wants them: (N, 3, H, W) in [0, 1]."""
        frames = select_frames(_tensor(self.pose), window).to(device)
        scaled = frames.float() / 255 if frames.dtype == torch.uint8 else frames
        return (scaled if _channels_first(scaled) else scaled.permute(0, 3, 1, 2)).to(dtype).contiguous()

    def tokens(self, guided: bool, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Tokens of the batch [null, appearance], or of [appearance] without guidance: (B, T, D)."""
        if not guided:
            return self.appearance.to(device, dtype)
        if self.null is None:
            raise AnchorError(
                "guidance_scale above 1 needs null tokens for its unconditional pass and there are none: "
                "set guidance_scale to 1, or use an anchor that stores its null appearance"
            )
        return torch.cat([self.null.to(device, dtype), self.appearance.to(device, dtype)])

    def extra_window(
        self, window: Window, device: torch.device, dtype: torch.dtype
    ) -> dict[str, torch.Tensor]:
        """Further inputs of the network for a window, by name: (1, F, ...); none for the body pass."""
        if self.inpaint is None:
            return {}
        return {"inpaint": select_frames(self.inpaint, window).to(device, dtype)[None]}


class PoseFeatures:
    """The ControlNet's embedding of the pose frames, which no step and no guidance branch changes.

    Kept for the whole clip on the device while that takes at most `budget` bytes; otherwise embedded anew
    for each window, which gives the same numbers for 3 % more time and memory that no clip length changes.
    """

    def __init__(
        self,
        network: Network,
        conditioning: Conditioning,
        window_size: int,
        budget: float,
        place: tuple[torch.device, torch.dtype],
    ) -> None:
        self._network = network
        self._conditioning = conditioning
        self._place = place
        first = self._embed((0,))
        self.latent_size: tuple[int, int] = (first.shape[-2], first.shape[-1])
        needed = first.numel() * first.element_size() * conditioning.n_frames
        self._kept = self._embed_all(first, window_size) if needed <= budget else None
        if self._kept is None:
            logger.info("pose features need %.1f GiB and are recomputed per window", needed / 2**30)

    def window(self, window: Window) -> torch.Tensor:
        """Features of a window: (N, c, h, w) on the device."""
        return self._embed(window) if self._kept is None else select_frames(self._kept, window)

    def _embed(self, window: Window) -> torch.Tensor:
        return self._network.embed_pose(self._conditioning.pose_window(window, *self._place))

    def _embed_all(self, first: torch.Tensor, chunk: int) -> torch.Tensor:
        n_frames = self._conditioning.n_frames
        kept = first.new_empty((n_frames, *first.shape[1:]))
        for start in range(0, n_frames, chunk):
            stop = min(start + chunk, n_frames)
            kept[start:stop] = self._embed(tuple(range(start, stop)))
        return kept


def select_frames(clip: torch.Tensor, window: Window) -> torch.Tensor:
    """Frames of a window along dimension 0: a view, or a copy where the window wraps round the clip's end."""
    if window[-1] - window[0] + 1 == len(window):
        return clip[window[0] : window[-1] + 1]
    return clip[torch.tensor(window, device=clip.device)]


def check_conditioning(conditioning: Conditioning) -> None:
    """Raise AnchorError, in one sentence, for tensors that cannot be a clip's conditioning."""
    _check_pose(_tensor(conditioning.pose))
    tokens = conditioning.appearance
    if tokens.ndim != 3 or len(tokens) != 1:
        raise AnchorError(
            f"appearance has the shape {tuple(tokens.shape)}: need (1, tokens, channels), "
            "the tokens of one reference picture"
        )
    null = conditioning.null
    if null is not None and null.shape != tokens.shape:
        raise AnchorError(
            f"the null tokens have the shape {tuple(null.shape)} and the appearance tokens "
            f"{tuple(tokens.shape)}: both must be equal; take both from the same anchor"
        )
    extra = conditioning.inpaint
    if extra is not None and (extra.ndim != 4 or len(extra) != conditioning.n_frames):
        raise AnchorError(
            f"inpaint has the shape {tuple(extra.shape)}: need (frames, channels, height, width) of latents "
            f"with {conditioning.n_frames} frames"
        )


def _check_pose(pose: torch.Tensor) -> None:
    if pose.ndim != 4 or 3 not in (pose.shape[1], pose.shape[3]):
        raise AnchorError(
            f"the pose frames have the shape {tuple(pose.shape)}: need (frames, height, width, 3) "
            "or (frames, 3, height, width)"
        )
    if len(pose) == 0:
        raise AnchorError("there are 0 pose frames: need 1 or more; choose a motion that has frames")
    if pose.dtype != torch.uint8 and not bool((pose[0] >= 0).all() and (pose[0] <= 1).all()):
        raise AnchorError(
            f"the first pose frame holds values from {float(pose[0].min()):g} to {float(pose[0].max()):g}: "
            "need 0 to 1 (or uint8); divide pictures by 255 and do not normalise them"
        )


def _tensor(frames: torch.Tensor | np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames) if isinstance(frames, np.ndarray) else frames


def _channels_first(frames: torch.Tensor) -> bool:
    """A picture 3 pixels wide would be ambiguous, and has no latents."""
    return frames.shape[-1] != 3
