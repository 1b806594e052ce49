"""The face pass: the faces of finished frames painted anew by a network that sees nothing else.

crops of the frames -> mask and masked latents -> overlapped temporal denoising -> decode -> blend
(section 3.4). It is the sampler of the body pass, with more input channels. The published stage runs frames
one by one (window_size 1) and stops where a frame has no face; here such frames stay as they are, and the
face fades where it comes into sight.

Everything goes by a few frames at a time: beside the one copy of the clip that is returned, only latents and
the mesh crops (bytes) are as long as the clip. A host that places networks itself calls the three parts:
`face_conditioning`, `sampling.sampler.sample`, `paste_faces`.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import AnchorError
from ..progress import StepFactory, count_windows, silent_step
from ..sampling.sampler import SamplerSettings, WindowCallback, sample
from ..sampling.schedulers import NoiseSchedule
from .blend import BlendOptions, blend_faces, color_offsets, steady_offsets
from .checks import FaceNetwork, check_crops, check_face_network, check_frames, check_latents
from .codec import LatentCodec
from .inpaint import CHUNK, as_picture, crops_of, face_conditioning
from .track import FaceTrack

if TYPE_CHECKING:
    from ..anchor.file import Anchor
    from ..sgdm.network import SGDM

logger = logging.getLogger("anchor")

_FADE = 0.15  # of visibility, above where a face counts as hidden


@dataclass(frozen=True)
class PassOptions:
    """How faces are put back, and how much memory that takes.

    blend: see `BlendOptions`. keep_crops: hand out the crops; without them less memory is taken, and crops
    are decoded twice where colours are matched. chunk: crops at once; memory only.
    """

    blend: BlendOptions = field(default_factory=BlendOptions)
    keep_crops: bool = True
    chunk: int = CHUNK

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise AnchorError(
                f"chunk of the face pass is {self.chunk}: need 1 or more crops; usual is {CHUNK}"
            )


@dataclass(frozen=True, eq=False)
class FaceTake:
    """Frames with new faces.

    frames: (F, H, W, 3) float32 in [0, 1]. crops: (F, S, S, 3) float32 in [0, 1], what the network made; the
    crop of the frame itself where the face is hidden; None where crops were not kept. mask: (F, S, S)
    float32, 1 = painted.
    """

    frames: Tensor
    crops: Tensor | None
    mask: Tensor


def inpaint_faces(
    network: FaceNetwork,
    codec: LatentCodec,
    frames: Tensor | np.ndarray,
    track: FaceTrack,
    settings: SamplerSettings,
    noise_schedule: NoiseSchedule,
    *,
    appearance: Tensor,
    null: Tensor | None = None,
    options: PassOptions | None = None,
    step: StepFactory = silent_step,
    callback: WindowCallback | None = None,
    **sampling: Any,
) -> FaceTake:
    """Paint the faces of frames (F, H, W, 3), float in [0, 1] or uint8, which stay as they are.

    network: of `face_of`. appearance, null: (1, T, D) tokens of a picture of the face, and those of the
    unconditional pass. Only visible frames are sampled, as one sequence. step: a bar for each part.
    callback: as in `sample`, besides the bar. sampling: the other keywords of `sample` (noise, device, dtype,
    memory). The result depends on nothing but these arguments; what step and callback raise passes through.
    Raises AnchorError.
    """
    options = options or PassOptions()
    check_face_network(network, codec, track.crop_size)
    clip = check_frames(frames, track)
    latents = torch.empty(0, codec.channels, 1, 1)
    if len(track.visible):
        conditioning = face_conditioning(codec, clip, track, appearance, null, chunk=options.chunk, step=step)
        with step("denoising faces", " windows") as bar:
            report = _both(count_windows(bar), callback)
            latents = sample(network, conditioning, settings, noise_schedule, callback=report, **sampling)
    return paste_faces(codec, latents, clip, track, options, step=step)


@torch.no_grad()
def paste_faces(
    codec: LatentCodec,
    latents: Tensor,
    frames: Tensor | np.ndarray,
    track: FaceTrack,
    options: PassOptions | None = None,
    *,
    step: StepFactory = silent_step,
) -> FaceTake:
    """Decode the latents (N, C, h, w) of the visible frames and blend them into a copy of the frames.

    Logs once how many frames were left as they are, and why. Raises AnchorError.
    """
    options = options or PassOptions()
    clip = check_frames(frames, track)
    check_latents(latents, track)
    report_hidden(track)
    result = _as_floats(clip)
    crops = _Crops(codec, latents, track, options)
    crops.fill_hidden(result)
    offsets = _measure_colors(crops, result, options.blend, step)
    weights = fade_weights(track.visibility, track.min_visibility)
    with step("blending faces", " frames") as bar:
        for rows, numbers in crops.chunks():
            result[numbers] = blend_faces(
                result[numbers],
                crops.made(rows, numbers),
                None,
                _painted(track.mask[numbers]),
                track.crop_matrices[numbers],
                weight=weights[numbers],
                offsets=None if offsets is None else offsets[numbers],
                options=options.blend,
            )
            bar(rows.stop, len(latents), as_picture(result[numbers[-1]]))
    return FaceTake(result, crops.kept, _painted(track.mask))


def fade_weights(visibility: Tensor, min_visibility: float) -> Tensor:
    """How much of the new face is shown, (F,) float32: 0 where it counts as hidden, rising smoothly to 1.

    visibility: (F,) 0 to 1. A face that is seen completely always has 1.
    """
    width = max(min(_FADE, 1 - min_visibility), 1e-6)
    way = ((visibility.float() - min_visibility) / width).clamp(0, 1)
    way = torch.where(visibility >= 1, 1.0, way)
    return way * way * (3 - 2 * way)


def report_hidden(track: FaceTrack) -> None:
    """Log once how many faces are painted, and why the others are not; a warning if none is."""
    painted, total = len(track.visible), len(track)
    reasons = Counter(reason for reason in track.hidden if reason)
    left = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    if not painted:
        logger.warning("face pass: no face to paint in %d frames (%s): they stay as they are", total, left)
    elif left:
        logger.info("face pass: %d of %d faces painted; left as they are: %s", painted, total, left)
    else:
        logger.info("face pass: all %d faces painted", total)


def face_of(anchor: Anchor) -> SGDM:
    """The face network of an anchor; AnchorError if it has none.

    The published face stage adds residuals to copies, whatever the body of the card does: fidelity "trained".
    """
    if anchor.face is None:
        raise AnchorError(
            f"the anchor '{anchor.card.name}' holds no face network and the face pass needs one: "
            "train one with the face configuration of the trainer on aligned crops of the person, or choose "
            "an anchor that has one"
        )
    if anchor.face.fidelity == "trained":
        return anchor.face
    network = copy.copy(anchor.face)  # shares all weights
    network.fidelity = "trained"
    return network


class _Crops:
    """The generated crops of the visible frames: decoded once and kept, or whenever they are asked for."""

    def __init__(self, codec: LatentCodec, latents: Tensor, track: FaceTrack, options: PassOptions) -> None:
        self._codec, self._latents, self.track, self._chunk = codec, latents, track, options.chunk
        size = track.crop_size
        self.kept = torch.empty(len(track), size, size, 3) if options.keep_crops else None
        self._decoded = torch.zeros(len(latents), dtype=torch.bool)

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows of the latents and the numbers of their frames, a few at a time."""
        visible = self.track.visible
        for start in range(0, len(visible), self._chunk):
            rows = slice(start, min(start + self._chunk, len(visible)))
            yield rows, visible[rows]

    def made(self, rows: slice, numbers: Tensor) -> Tensor:
        """Generated crops (n, S, S, 3) float32 in [0, 1]."""
        if self.kept is not None and bool(self._decoded[rows].all()):
            return self.kept[numbers]
        crops = self._codec.decode(self._latents[rows]).float().cpu().clamp(0, 1)
        check_crops(crops, (rows.stop - rows.start, self.track.crop_size))
        if self.kept is not None:
            self.kept[numbers] = crops
            self._decoded[rows] = True
        return crops

    def fill_hidden(self, frames: Tensor) -> None:
        """Crops of the frames themselves where no face is painted."""
        if self.kept is None:
            return
        hidden = torch.tensor(
            [number for number, why in enumerate(self.track.hidden) if why], dtype=torch.int64
        )
        for numbers in hidden.split(self._chunk) if len(hidden) else ():
            self.kept[numbers] = crops_of(frames, self.track, numbers)


def _measure_colors(crops: _Crops, frames: Tensor, options: BlendOptions, step: StepFactory) -> Tensor | None:
    """The steady colour offsets of the clip, (F, 3), filled in where faces are hidden; None if not wanted."""
    track = crops.track
    total = len(track.visible)
    if not options.color_match or options.mode == "square" or total == 0:
        return None
    offsets = torch.full((len(track), 3), torch.nan)
    with step("decoding faces", " frames") as bar:
        for rows, numbers in crops.chunks():
            made, seen = crops.made(rows, numbers), crops_of(frames, track, numbers)
            offsets[numbers] = color_offsets(made, seen, _painted(track.mask[numbers]), options).float()
            bar(rows.stop, total, as_picture(made[-1]))
    return steady_offsets(offsets)


def _both(first: Callable[..., None], second: WindowCallback | None) -> WindowCallback:
    def report(*event: Any) -> None:
        first(*event)
        if second is not None:
            second(*event)

    return report


def _as_floats(frames: Tensor) -> Tensor:
    """A copy as float32 in [0, 1]."""
    if frames.dtype == torch.uint8:
        return frames.to(torch.float32).div_(255)
    return frames.to(torch.float32, copy=True)


def _painted(mask: Tensor) -> Tensor:
    return (mask > 127).float()
