"""What the face network sees of a frame (section 3.4, equation 9): where to keep it, and what is there.

The U-Net takes, after the noisy latents, the mask and the latents of the picture with the face greyed out.
The published code feeds a mask of what to KEEP, and in this order, against the text of the paper. Our
masks say what to paint; they are turned here and nowhere else.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import AnchorError
from ..frames import Frames, Selected
from ..progress import StepFactory, silent_step
from ..sampling.conditioning import Conditioning
from .checks import check_frames, check_masks
from .codec import LatentCodec
from .rows import RowList, Rows, append_missing, unfinished
from .track import FaceTrack
from .warp import warp_to_crops

CHUNK = 8
"""Crops that are encoded, decoded and blended at once; memory only."""
_GREY = 0.5  # 0 in [-1, 1]


def keep_mask(mask: Tensor, stride: int = 1) -> Tensor:
    """The mask channel of the network, (n, 1, h, w) float32: 1 = keep, 0 = paint.

    mask: (n, S, S), uint8 or in [0, 1], 255 or 1 = paint. A pixel is painted from 128 on (above one half).
    stride: pixels per latent pixel; of each block the first pixel counts, as nearest-neighbour scaling does.
    """
    painted = mask > (127 if mask.dtype == torch.uint8 else 0.5)
    return (~painted)[:, None, ::stride, ::stride].float()


def masked_pictures(pictures: Tensor, mask: Tensor) -> Tensor:
    """Pictures (n, S, S, 3) float in [0, 1] with mid grey, 0 in [-1, 1], where `mask` says paint."""
    return torch.where(keep_mask(mask)[:, 0, :, :, None] > 0, pictures, _GREY)


def inpaint_channels(codec: LatentCodec, pictures: Tensor, mask: Tensor, first: int = 0) -> Tensor:
    """What the U-Net takes besides the noisy latents: (n, 1 + C, h, w) float32, mask and masked latents.

    pictures: (n, S, S, 3) float32 in [0, 1]. mask: (n, S, S) as in `keep_mask`. first: number of the first
    picture in its sequence. Raises AnchorError when the codec gives other latents than it says.
    """
    latents = codec.encode(masked_pictures(pictures, mask), first).float().cpu()
    keep = keep_mask(mask, codec.stride)
    if tuple(latents.shape) != (len(keep), codec.channels, *keep.shape[2:]):
        raise AnchorError(
            f"the VAE gave latents of the shape {tuple(latents.shape)}: "
            f"need {(len(keep), codec.channels, *keep.shape[2:])}; state its own channels and stride"
        )
    return torch.cat([keep, latents], dim=1)


@torch.no_grad()
def face_conditioning(
    codec: LatentCodec,
    frames: Frames | np.ndarray,
    track: FaceTrack,
    appearance: Tensor,
    null: Tensor | None = None,
    *,
    chunk: int = CHUNK,
    kept: Rows | None = None,
    step: StepFactory = silent_step,
) -> Conditioning:
    """What the faces are made from: a sequence of the N visible frames, for `sampling.sampler.sample`.

    frames: (F, H, W, 3) float in [0, 1] or uint8. appearance, null: (1, T, D) tokens. chunk: crops encoded at
    once. kept: where `inpaint` of an earlier call with the same arguments lies, rows (1 + C, h, w): the work
    goes on at its end. Raises AnchorError when frames and track do not belong together, or there is nothing
    to paint.
    """
    clip, visible = check_frames(frames, track), track.visible
    check_masks(track)
    kept = RowList(len(visible)) if kept is None else kept
    with step("cropping faces", " frames") as bar:
        for first in unfinished(len(kept), len(visible), chunk):
            numbers = visible[first : first + chunk]
            crops = crops_of(clip, track, numbers)
            append_missing(kept, first, inpaint_channels(codec, crops, track.mask[numbers], first))
            bar(first + len(numbers), len(visible), as_picture(crops[-1]))
    pose = track.mesh[visible] if isinstance(track.mesh, Tensor) else Selected(track.mesh, visible)
    return Conditioning(pose, appearance, null, kept[:])


def crops_of(frames: Frames, track: FaceTrack, numbers: Tensor) -> Tensor:
    """The aligned crops of some frames: (n, S, S, 3) float32 in [0, 1]."""
    return warp_to_crops(frames[numbers], track.crop_matrices[numbers], track.crop_size)


def as_picture(crop: Tensor) -> np.ndarray:
    """A picture (H, W, 3) in [0, 1] as bytes, for previews."""
    picture: np.ndarray = crop.clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    return picture
