"""What steers the denoising of a clip: pose frames, appearance tokens, and later what a face pass adds.

Clip-length tensors stay on the CPU as they were given; one window at a time goes to the device.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from ..errors import AnchorError
from ..frames import Frames
from .windows import Window

logger = logging.getLogger("anchor")

Place = tuple[torch.device, torch.dtype]
"""Where, and in which type, a network works."""


class Network(Protocol):
    """What the sampler needs of a network; SGDM is one.

    A network that also has `guided` is asked for all contexts of a window at once, inside of its `one_clip`:
    see GuidedNetwork.
    """

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


class GuidedNetwork(Network, Protocol):
    """A network that shares among contexts and steps what they have in common.

    feed_forward_chunk: the feed-forward layers work on so many images at a time; 0: on all at once.
    """

    feed_forward_chunk: int

    def guided(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        contexts: torch.Tensor,
        pose_features: torch.Tensor,
        condition_scale: float = 1.0,
        inpaint: torch.Tensor | None = None,
        *,
        far_keys: int = 1,
        deep: Any = None,
    ) -> torch.Tensor:
        """W windows (W, F, C, h, w) in each of B contexts (B, T, D): (B, W, F, C, h, w)."""

    def one_clip(self) -> AbstractContextManager[Any]:
        """While it is entered, what follows from the same context tensors and weights is computed once."""


@dataclass(frozen=True)
class Conditioning:
    """All that a clip is made from besides noise.

    pose: (F, H, W, 3) or (F, 3, H, W), float in [0, 1] or uint8; `Frames` where they do not lie in memory.
    appearance: (1, T, D) tokens of the reference picture. null: (1, T, D) tokens of the unconditional pass,
    or None where no guidance is used. inpaint: (F, C_extra, h, w) extra input channels of an inpainting U-Net
    (mask, masked latents), or None.
    """

    pose: torch.Tensor | np.ndarray | Frames
    appearance: torch.Tensor
    null: torch.Tensor | None = None
    inpaint: torch.Tensor | None = None

    @property
    def n_frames(self) -> int:
        """Frames of the clip."""
        return len(self.pose)

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the pose frames."""
        sides = tuple(int(side) for side in self.pose.shape[1:])
        return (sides[0], sides[1]) if sides[2] == 3 else (sides[1], sides[2])

    def pose_window(self, window: Window, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Pose frames of a window as the network wants them: (N, 3, H, W) in [0, 1]."""
        frames = on_device(select_frames(self.pose, window), device)
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

    def extra_windows(self, windows: Sequence[Window], place: Place) -> dict[str, torch.Tensor]:
        """Further inputs of the network for windows of one length, by name: (W, F, ...)."""
        if self.inpaint is None:
            return {}
        return {"inpaint": on_device(stack_frames(self.inpaint, windows), *place)}


class PoseFeatures:
    """The ControlNet's embedding of the pose frames, which no step and no guidance branch changes.

    Kept for the whole clip on the device while that takes at most `budget` bytes; otherwise embedded anew
    for each window, which gives the same numbers for 3 % more time and memory that no clip length changes.
    """

    def __init__(
        self, network: Network, conditioning: Conditioning, window_size: int, budget: float, place: Place
    ) -> None:
        self._network = network
        self._conditioning = conditioning
        self._place = place
        self._chunk = window_size
        first = self._embed((0,))
        self._empty = first.new_empty((0, *first.shape[1:]))  # tells shape, type and device
        self._kept: torch.Tensor | None = None
        needed = first.nbytes * conditioning.n_frames
        self.keeps = needed <= budget
        if not self.keeps:
            logger.info("pose features need %.1f GiB and are recomputed per window", needed / 2**30)

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return self._empty.shape[-2], self._empty.shape[-1]

    @property
    def missing(self) -> bool:
        """Whether those of the clip are to be kept and are not there; after `windows`, it has failed."""
        return self.keeps and self._kept is None

    def windows(self, windows: Sequence[Window]) -> torch.Tensor:
        """Features of windows of one length: (W, F, c, h, w) on the device."""
        if not self.keeps:
            parts = [self._embed(window) for window in windows]
            return parts[0][None] if len(parts) == 1 else torch.stack(parts)
        if self._kept is None:
            self._kept = self._embed_all()
        return stack_frames(self._kept, windows)

    def drop(self) -> None:
        """Keep nothing from now on."""
        self._kept = None
        self.keeps = False

    def _embed(self, window: Window) -> torch.Tensor:
        return self._network.embed_pose(self._conditioning.pose_window(window, *self._place))

    def _embed_all(self) -> torch.Tensor:
        n_frames = self._conditioning.n_frames
        kept = self._empty.new_empty((n_frames, *self._empty.shape[1:]))
        for start in range(0, n_frames, self._chunk):
            stop = min(start + self._chunk, n_frames)
            kept[start:stop] = self._embed(tuple(range(start, stop)))
        return kept


def select_frames(clip: torch.Tensor | np.ndarray | Frames, window: Window) -> torch.Tensor:
    """Frames of a window along dimension 0: a view, or a copy where the window wraps round the clip's end."""
    if window[-1] - window[0] + 1 == len(window):
        part: Any = clip[window[0] : window[-1] + 1]
        return _tensor(part)
    if isinstance(clip, np.ndarray):
        clip = torch.from_numpy(clip)
    chosen: torch.Tensor = clip[torch.tensor(window, device=getattr(clip, "device", None))]
    return chosen


def stack_frames(clip: torch.Tensor, windows: Sequence[Window]) -> torch.Tensor:
    """Frames of windows of one length, (W, F, ...); of a single window a view."""
    if len(windows) == 1:
        return select_frames(clip, windows[0])[None]
    return torch.stack([select_frames(clip, window) for window in windows])


def on_device(tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A tensor on a device; neither this thread nor the device waits for the copy to a GPU."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device, dtype)
    return tensor.contiguous().pin_memory().to(device, non_blocking=True).to(dtype or tensor.dtype)


def check_conditioning(conditioning: Conditioning) -> None:
    """Raise AnchorError, in one sentence, for tensors that cannot be a clip's conditioning."""
    _check_pose(conditioning.pose)
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


def _check_pose(pose: torch.Tensor | np.ndarray | Frames) -> None:
    if len(pose.shape) != 4 or 3 not in (pose.shape[1], pose.shape[3]):
        raise AnchorError(
            f"the pose frames have the shape {tuple(pose.shape)}: need (frames, height, width, 3) "
            "or (frames, 3, height, width)"
        )
    if len(pose) == 0:
        raise AnchorError("there are 0 pose frames: need 1 or more; choose a motion that has frames")
    if pose.dtype in (torch.uint8, np.uint8):
        return
    first = _tensor(pose[0])
    if not bool((first >= 0).all() and (first <= 1).all()):
        raise AnchorError(
            f"the first pose frame holds values from {float(first.min()):g} to {float(first.max()):g}: "
            "need 0 to 1 (or uint8); divide pictures by 255 and do not normalise them"
        )


def _tensor(frames: torch.Tensor | np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames) if isinstance(frames, np.ndarray) else frames


def _channels_first(frames: torch.Tensor) -> bool:
    """A picture 3 pixels wide would be ambiguous, and has no latents."""
    return frames.shape[-1] != 3
