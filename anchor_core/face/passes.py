"""The face pass: the faces of finished frames painted anew by a network that sees nothing else.

crops of the frames -> mask and masked latents -> overlapped temporal denoising -> decode -> blend
(section 3.4). It is the sampler of the body pass, with more input channels. The published stage runs frames
one by one (window_size 1) and stops where a frame has no face; here such frames stay as they are, and the
face fades where it comes into sight.

Everything goes by a few frames at a time: beside the one copy of the clip that is returned, only latents and
the mesh crops (bytes) are as long as the clip. A host that places networks itself calls the three parts:
`face_conditioning`, `sampling.sampler.sample`, `paste_faces`. For clips that do not fit into memory see
`stream`.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import AnchorError
from ..frames import Frames
from ..progress import StepFactory, count_windows, silent_step
from ..sampling.sampler import SamplerSettings, WindowCallback, sample
from ..sampling.schedulers import NoiseSchedule
from .blend import as_floats
from .checks import FaceNetwork, check_face_network, check_frames, check_latents
from .codec import LatentCodec
from .inpaint import as_picture, crops_of, face_conditioning
from .stream import PassOptions, decoded_crops, measure_offsets, pasted_frames
from .track import FaceTrack

if TYPE_CHECKING:
    from ..anchor.file import Anchor
    from ..sgdm.network import SGDM

logger = logging.getLogger("anchor")


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
    frames: Frames | np.ndarray,
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
    frames: Frames | np.ndarray,
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
    result = as_floats(clip[:].clone())
    kept = _KeptCrops(track) if options.keep_crops else None
    offsets = measure_offsets(codec, latents, result, track, options, crops=kept, step=step)
    if kept is not None:
        kept.fill(decoded_crops(codec, latents, track, options.chunk, len(kept)))
        kept.fill_hidden(result, options.chunk)
    with step("blending faces", " frames") as bar:
        done = 0
        for part in pasted_frames(codec, latents, result, track, options, offsets=offsets, crops=kept):
            result[done : done + len(part)] = part
            done += len(part)
            bar(done, len(track), as_picture(part[-1]))
    return FaceTake(result, None if kept is None else kept.crops, track.painted())


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


class _KeptCrops:
    """The crops of a `FaceTake`, filled with the generated ones of the visible frames one after another."""

    most: int | None = None

    def __init__(self, track: FaceTrack) -> None:
        self._track, self._count = track, 0
        self.crops = torch.empty(len(track), track.crop_size, track.crop_size, 3)

    def __len__(self) -> int:
        return self._count

    def append(self, rows: Tensor) -> None:
        """Generated crops (n, S, S, 3) of the next visible frames."""
        self.crops[self._track.visible[self._count : self._count + len(rows)]] = rows
        self._count += len(rows)

    def __getitem__(self, part: slice) -> Tensor:
        return self.crops[self._track.visible[: self._count][part]]

    def fill(self, decoded: Iterable[tuple[slice, Tensor]]) -> None:
        """Append all generated crops that are not there yet."""
        for _, crops in decoded:
            self.append(crops)

    def fill_hidden(self, frames: Tensor, chunk: int) -> None:
        """Crops of the frames themselves where no face is painted."""
        hidden = torch.tensor(
            [number for number, why in enumerate(self._track.hidden) if why], dtype=torch.int64
        )
        for numbers in hidden.split(chunk) if len(hidden) else ():
            self.crops[numbers] = crops_of(frames, self._track, numbers)


def _both(first: Callable[..., None], second: WindowCallback | None) -> WindowCallback:
    def report(*event: Any) -> None:
        first(*event)
        if second is not None:
            second(*event)

    return report
