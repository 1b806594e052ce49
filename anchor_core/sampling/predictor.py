"""A network on one device, and what it says about windows of a clip.

What follows from the clip alone (contexts, pose features) is prepared once. Where a window does not fit into
the device's memory, it is tried again in ways that need less and change nothing but rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from ..errors import AnchorError, is_out_of_memory
from .conditioning import Conditioning, Network, Place, PoseFeatures, on_device
from .settings import Memory, SamplerSettings
from .windows import Window

logger = logging.getLogger("anchor")

Windows = tuple[Window, ...]
"""Windows of one length that go through the network together."""


class Predictor:
    """Guided predictions for windows of a clip, by one network on one device.

    n_parts: batches of windows that there are in a step. Use it as a context manager: inside, what
    belongs to the clip is remembered by the network. Raises AnchorError for settings that the network cannot
    follow, and for windows that are too large for the device.
    """

    def __init__(
        self,
        network: Network,
        conditioning: Conditioning,
        settings: SamplerSettings,
        memory: Memory,
        place: Place,
        n_parts: int,
    ) -> None:
        _check_able(network, settings)
        self.device = place[0]
        self._network: Any = network
        self._conditioning, self._settings, self._place = conditioning, settings, place
        self._both = conditioning.tokens(settings.guided, *place)
        self._apart = self._both.split(1)  # the same objects in each step: the network knows them again
        self._split, self._at_once = memory.split_guidance, memory.windows_at_once
        self._chunk, self._n_parts = memory.feed_forward_chunk, n_parts
        self._features = PoseFeatures(
            network, conditioning, settings.window_size, memory.pose_gib * 2**30, place
        )
        self._new_deep()
        self._tried: list[str] = []

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return self._features.latent_size

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Inside, the network remembers the contexts and works in the memory that it may."""
        remembering = getattr(self._network, "one_clip", nullcontext)
        before = getattr(self._network, "feed_forward_chunk", 0)
        self._set_chunk(self._chunk)
        try:
            with remembering():
                yield
        finally:
            self._set_chunk(before)

    @torch.no_grad()
    def start(
        self, windows: Windows, latents: torch.Tensor, timestep: torch.Tensor, step: int
    ) -> Callable[[], torch.Tensor]:
        """Begin with windows of one length; what is returned waits for their predictions.

        latents: (W, F, C, h, w) float32 on the CPU, as the network takes them. Gives (W, F, C, h, w) float32
        on the CPU.
        """
        while True:
            try:
                return _fetched(self._predicted(windows, latents, timestep, step))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            self._save_memory(windows)  # outside of the handler, whose traceback holds tensors

    def _predicted(
        self, windows: Windows, latents: torch.Tensor, timestep: torch.Tensor, step: int
    ) -> torch.Tensor:
        parts = [
            self._together(
                windows[first : first + self._at_once], latents[first : first + self._at_once], timestep, step
            )
            for first in range(0, len(windows), self._at_once)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _together(
        self, windows: Windows, latents: torch.Tensor, timestep: torch.Tensor, step: int
    ) -> torch.Tensor:
        """Guided predictions (W, F, C, h, w) float32 on the device."""
        features = self._features.windows(windows)
        noisy = on_device(latents, *self._place)
        extra = self._conditioning.extra_windows(windows, self._place)
        scale = self._settings.scale_at(step)
        timestep = on_device(timestep, self.device)
        halves = [
            self._ask(noisy, timestep, contexts, features, scale, extra, self._deep_of(windows, half, step))
            for half, contexts in enumerate(self._contexts(step))
        ]
        return guide([one for half in halves for one in half.float()], self._settings.guidance_scale)

    def _contexts(self, step: int) -> Sequence[torch.Tensor]:
        if not self._settings.guided_at(step):
            return self._apart[-1:]
        return self._apart if self._split else (self._both,)

    def _ask(
        self,
        noisy: torch.Tensor,
        timestep: torch.Tensor,
        contexts: torch.Tensor,
        features: torch.Tensor,
        scale: float,
        extra: dict[str, torch.Tensor],
        deep: Any,
    ) -> torch.Tensor:
        """Predictions (B, W, F, C, h, w) in each of the contexts (B, T, D)."""
        if hasattr(self._network, "guided"):
            options = {"far_keys": self._settings.far_keys, "deep": deep}
            answer: torch.Tensor = self._network.guided(
                noisy, timestep, contexts, features, scale, **extra, **options
            )
            return answer
        shape = (len(contexts), *noisy.shape)

        def repeated(value: torch.Tensor) -> torch.Tensor:
            return value.expand(len(contexts), *value.shape).flatten(0, 1)

        options = {name: repeated(value) for name, value in extra.items()}
        tokens = contexts.repeat_interleave(len(noisy), 0)
        answer = self._network(repeated(noisy), timestep, tokens, repeated(features), scale, **options)
        return answer.view(shape)

    def _deep_of(self, windows: Windows, half: int, step: int) -> Any:
        if self._deep is None:
            return None
        return self._deep.of((windows, half), anew=self._settings.computes_deep(step))

    def _new_deep(self) -> None:
        self._deep = None
        if self._settings.reuse > 1:
            from ..sgdm.deep import ClipFeatures

            self._deep = ClipFeatures(self._n_parts * (2 if self._split and self._settings.guided else 1))

    def _set_chunk(self, images: int) -> None:
        if hasattr(self._network, "feed_forward_chunk"):
            self._network.feed_forward_chunk = images

    def _save_memory(self, windows: Windows) -> None:
        """Choose a way to work that needs less memory; AnchorError where there is none left."""
        way = self._next_way(windows)
        if way is None:
            self._give_up(windows)
        else:
            self._tried.append(way)
            logger.warning("%s is out of memory: %s from now on, with the same result", self.device, way)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _next_way(self, windows: Windows) -> str | None:
        if self._features.missing:  # it was they that did not fit, and no window
            return self._drop_features()
        if len(windows) > 1 and self._at_once > 1:
            self._n_parts *= self._at_once
            self._at_once = 1
            self._new_deep()
            return "one window at a time"
        if self._settings.guided and not self._split:
            self._split = True
            self._new_deep()
            return "one half of the guidance after the other"
        if self._chunk != 1 and hasattr(self._network, "feed_forward_chunk"):
            self._chunk = 1
            self._set_chunk(1)
            return "feed-forward layers image by image"
        return self._drop_features() if self._features.keeps else None

    def _drop_features(self) -> str:
        self._features.drop()
        return "pose features computed for each window"

    def _give_up(self, windows: Windows) -> None:
        frames, (height, width) = len(windows[0]), self._conditioning.pixels
        tried = f", not even with {', '.join(self._tried)}" if self._tried else ""
        raise AnchorError(
            f"a window of {frames} frames of {width}x{height} pixels does not fit into the memory of "
            f"{self.device}{tried}: {self._instead(frames)}"
        )

    def _instead(self, frames: int) -> str:
        """What would fit, where free memory can be told and the network counted."""
        counted = all(hasattr(self._network, name) for name in ("unet", "controlnet"))
        if self.device.type != "cuda" or not counted:
            return f"set window_size below {frames}, or make a smaller picture"
        from .room import Work, estimate, free_on, proposal

        height, width = self._conditioning.pixels
        clip = (self._settings, (width, height), self._conditioning.n_frames, self._place[1])
        work = Work.of(self._network, *clip)
        return proposal(work, free_on(self.device)[0] + estimate(work).weights)


def guide(predictions: Sequence[torch.Tensor] | torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """Classifier-free guidance of a batch [null, appearance] (or [appearance] alone): (B, ...) -> (...)."""
    if len(predictions) == 1:
        return predictions[0]
    null, conditional = predictions
    return (conditional - null).mul_(guidance_scale).add_(null)


def _fetched(prediction: torch.Tensor) -> Callable[[], torch.Tensor]:
    """What waits for a tensor of a device to be on the CPU; on a GPU its copy begins now, and the GPU may go
    on with the next window meanwhile."""
    if prediction.device.type != "cuda":
        arrived = prediction.cpu()
        return lambda: arrived
    copied = torch.empty(prediction.shape, dtype=prediction.dtype, pin_memory=True)
    copied.copy_(prediction, non_blocking=True)
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(prediction.device))

    def wait() -> torch.Tensor:
        done.synchronize()
        return copied

    return wait


def _check_able(network: Network, settings: SamplerSettings) -> None:
    for name in ("far_keys", "reuse"):
        value = getattr(settings, name)
        if value > 1 and not hasattr(network, "guided"):
            raise AnchorError(
                f"{name} is {value} and this network computes everything in full: set {name} to 1"
            )
