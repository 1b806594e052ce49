"""What the face pass is given, each misfit refused in one sentence that says what to do."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import AnchorError
from ..frames import Frames
from ..sampling.conditioning import Network
from .codec import LatentCodec
from .track import FaceTrack

_MASKS = 64  # looked at together
_OVERSHOOT = 1.5  # decoders leave [0, 1] a little; a frame in bytes goes far beyond


class FaceNetwork(Network, Protocol):
    """What the face pass needs of a network; SGDM is one."""

    @property
    def inpaint_channels(self) -> int:
        """Channels that it takes besides the latents: mask and masked latents."""

    @property
    def pose_stride(self) -> int:
        """Pixels of the mesh crop per latent pixel."""


def check_face_network(network: FaceNetwork, codec: LatentCodec, crop_size: int) -> None:
    """Raise AnchorError unless network, codec and crops of this side fit each other."""
    given, needed = network.inpaint_channels, 1 + codec.channels
    if given == 0:
        raise AnchorError(
            f"this network takes no mask, it is one for body frames, and the face pass needs {needed} "
            "inpainting channels: use the face network of the anchor"
        )
    if given != needed or network.latent_channels != codec.channels:
        raise AnchorError(
            f"the face network takes {network.latent_channels} latent and {given} inpainting channels and "
            f"this VAE gives {codec.channels} and {needed}: use the VAE that the network was trained with"
        )
    if network.pose_stride != codec.stride:
        raise AnchorError(
            f"the face network has {network.pose_stride} pixels per latent pixel and this VAE "
            f"{codec.stride}: use the VAE that the network was trained with"
        )
    if crop_size % codec.stride:
        raise AnchorError(
            f"the crops are {crop_size} pixels wide: need a multiple of {codec.stride}; track the faces with "
            "another crop_size"
        )


def check_frames(frames: Frames | np.ndarray, track: FaceTrack) -> Frames:
    """The frames (F, H, W, 3), tensors on the CPU; AnchorError unless they are those of the track."""
    clip = torch.as_tensor(frames).cpu() if isinstance(frames, (Tensor, np.ndarray)) else frames
    shape = tuple(clip.shape)
    known = clip.dtype == torch.uint8 or clip.dtype.is_floating_point
    if len(shape) != 4 or shape[3] != 3 or shape[0] == 0 or not known:
        raise AnchorError(
            f"the frames have the shape {shape} and the type {clip.dtype}: need (frames, height, "
            "width, 3), 1 frame or more, float in [0, 1] or uint8"
        )
    if len(clip) != len(track):
        raise AnchorError(
            f"there are {len(clip)} frames and faces were tracked in {len(track)}: give the frames that were "
            "made from the same motion"
        )
    size = (shape[2], shape[1])
    if size != tuple(track.frame_size):
        wanted = "{} x {}".format(*track.frame_size)
        raise AnchorError(
            f"the frames are {size[0]} x {size[1]} pixels and faces were tracked at {wanted}: track them at "
            "the size of the frames, or resize the frames"
        )
    if clip.dtype != torch.uint8 and float(clip[0].max()) > _OVERSHOOT:
        raise AnchorError(
            f"the first frame holds values up to {float(clip[0].max()):g}: need 0 to 1, or uint8; divide the "
            "frames by 255"
        )
    return clip


def check_masks(track: FaceTrack) -> None:
    """Raise AnchorError unless there is a visible face, something to paint, and something around it."""
    visible = track.visible
    if len(visible) == 0:
        raise AnchorError(
            f"none of the {len(track)} frames shows a face: nothing to paint; leave the face pass out"
        )
    something = False
    for numbers in visible.split(_MASKS):
        painted = track.painted(numbers).flatten(1) > 0
        something = something or bool(painted.any())
        full = numbers[painted.all(1)]
        if len(full):
            raise AnchorError(
                f"the face mask covers the whole crop of frame {int(full[0])}: hair and light around the "
                "face must be left to see; mask only the face, or lower the dilation"
            )
    if not something:
        raise AnchorError(
            f"the face mask is empty in all {len(visible)} frames that show a face: there is nothing to "
            "paint; give a mask that is white (1) on the face, or none"
        )


def check_latents(latents: Tensor, track: FaceTrack) -> None:
    """Raise AnchorError unless there is one latent per visible frame."""
    if len(latents) != len(track.visible):
        raise AnchorError(
            f"there are latents of {len(latents)} faces and {len(track.visible)} frames show one: sample "
            "with the conditioning of the same track"
        )


def check_crops(crops: Tensor, wanted: tuple[int, int]) -> None:
    """Raise AnchorError unless crops are (n, S, S, 3); wanted: n, S."""
    count, size = wanted
    if tuple(crops.shape) != (count, size, size, 3):
        raise AnchorError(
            f"the VAE gave pictures of the shape {tuple(crops.shape)}: need {(count, size, size, 3)}; decode "
            "with the VAE that encoded the crops"
        )
