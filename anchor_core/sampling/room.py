"""What denoising takes of a device's memory, before it begins, and which exact savings make it fit.

Nothing is estimated from factors: the networks run once on torch's meta device, where tensors have shapes
and no numbers, and the bytes of all tensors that are alive at the same time are counted. Attention counts as
a kernel that does not hold its scores (flash, memory-efficient). Not counted are the context of the driver
and the workspaces of its libraries: `MARGIN`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .live import LiveBytes
from .settings import Memory, SamplerSettings

if TYPE_CHECKING:
    from ..sgdm.network import SGDM

MARGIN = 1.0 * 2**30
"""Bytes that driver, libraries and their workspaces take on a GPU, about."""
_GIB = 2**30
_TOKENS = 50  # of an appearance
_FEW_IMAGES = 4  # for the feed-forward layers: a quarter of a usual window
_DECODED = (8, 4, 2, 1)  # frames at once
LEANEST = Memory(pose_gib=0.0, split_guidance=True, feed_forward_chunk=_FEW_IMAGES)
"""Every exact saving."""
_WINDOWS = (32, 24, 16, 12, 8, 6, 4, 2, 1)
_SHARES = (1.0, 0.75, 0.5)  # of the picture's sides, where no window fits


@dataclass(frozen=True)
class Work:
    """A clip that is to be denoised by a network of these configs.

    unet, controlnet, vae: configs of diffusers; without a VAE its share is left out. size: (width, height)
    pixels. dtype: of networks and windows.
    """

    unet: Mapping[str, Any]
    controlnet: Mapping[str, Any]
    settings: SamplerSettings
    size: tuple[int, int]
    n_frames: int
    dtype: torch.dtype = torch.float16
    vae: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        network: SGDM,
        settings: SamplerSettings,
        size: tuple[int, int],
        n_frames: int,
        dtype: torch.dtype,
        vae: Any | None = None,
    ) -> Work:
        """The work of living networks."""
        unet, controlnet = dict(network.unet.config), dict(network.controlnet.config)
        config = None if vae is None else dict(vae.config)
        return cls(unet, controlnet, settings, size, n_frames, dtype, config)


@dataclass(frozen=True)
class Room:
    """Bytes on the device. weights: of both networks. vae: its weights. pose: pose features of the clip that
    are kept. window: all that is alive at the fullest moment of a window's prediction, its inputs too.
    embedding: the same where pose pictures are embedded."""

    weights: float
    vae: float
    pose: float
    window: float
    embedding: float

    @property
    def total(self) -> float:
        """At the fullest moment of denoising."""
        return self.weights + self.vae + self.pose + max(self.window, self.embedding)


def estimate(work: Work, memory: Memory | None = None) -> Room:
    """What the work takes with these choices. The first call for new configs builds them: seconds."""
    memory = memory or Memory()
    counted, scale = _counted(work), work.dtype.itemsize / 2
    frames = _frames(work)
    contexts = 1 if memory.split_guidance or not work.settings.guided else 2
    window = (contexts, memory.windows_at_once, frames, memory.feed_forward_chunk, work.settings.far_keys)
    pose = counted.pose(1) * work.n_frames * scale
    return Room(
        weights=counted.weights() * scale,
        vae=counted.vae_weights() * scale,
        pose=pose if pose <= memory.pose_gib * _GIB else 0.0,
        window=counted.window(*window) * scale,
        embedding=counted.embedding(frames) * scale,
    )


def fitting(work: Work, free: float, memory: Memory | None = None) -> Memory | None:
    """The choices, exact but for rounding, with which the work fits into `free` bytes; None where none does.

    memory: where to begin. Savings are tried in the order of their price: feed-forward layers in parts (more
    launches), pose features for each window (3 % more work), the halves of the guidance one after the other
    (they share 6 % of their work otherwise).
    """
    return next((way for way in _ways(memory or Memory()) if estimate(work, way).total <= free), None)


def proposal(work: Work, free: float) -> str:
    """One sentence: the largest windows, else the largest picture, with which the work fits."""
    room = estimate(work, LEANEST)
    lasting, shrinking = room.weights + room.vae, max(room.window, room.embedding)
    for frames, size in _smaller_shapes(work):
        # Bytes grow with the frames of a window and their pixels: what is too large by that is not counted.
        share = frames * math.prod(size) / (_frames(work) * math.prod(work.size))
        if lasting + share * shrinking > free:
            continue
        overlap = min(work.settings.overlap, frames // 4)
        settings = replace(work.settings, window_size=frames, overlap=overlap)
        if fitting(replace(work, settings=settings, size=size), free, LEANEST) is not None:
            return (
                f"windows of {frames} frames (window_size {frames}, overlap {overlap}) at "
                f"{size[0]}x{size[1]} pixels fit"
            )
    return "no window of these networks fits: choose half precision, another device, or the CPU"


def decoded_together(work: Work, free: float) -> tuple[int, float]:
    """Frames that are best decoded at once beside the networks, 8 to 1, and the bytes that they take."""
    counted, scale = _counted(work), work.dtype.itemsize / 2
    room = free - (counted.weights() + counted.vae_weights()) * scale
    sizes = {count: counted.decoding(count) * scale for count in _DECODED}
    count = next((count for count in _DECODED if sizes[count] <= room), 1)
    return count, sizes[count]


def free_on(device: torch.device | str) -> tuple[float, str]:
    """Bytes that a device has free for tensors, and its name; infinite where that cannot be told."""
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch has taken and does not use counts as taken for the driver.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + unused - MARGIN, torch.cuda.get_device_name(device)
    return (free_memory() if device.type == "cpu" else math.inf), f"the memory of {device.type}"


def free_memory() -> float:
    """Bytes of the main memory, as Linux says it; elsewhere infinite."""
    facts = Path("/proc/meminfo")
    if not facts.is_file():
        return math.inf
    lines = dict(line.split(":", 1) for line in facts.read_text(encoding="ascii").splitlines())
    return float(lines["MemAvailable"].split()[0]) * 1024


def room_table(works: Mapping[str, Work], free: float, where: str) -> str:
    """What each pass takes with the savings that are chosen for it, and whether that fits.

    works: by the name of the pass. free, where: of `free_on`.
    """
    lines = []
    for name, work in works.items():
        chosen = fitting(work, free)
        room = estimate(work, chosen or LEANEST)
        lines += [_title(name, work), *_rows(room, decoded_together(work, free)), _verdict(work, chosen), ""]
        if chosen is None:
            lines.insert(-1, f"  {proposal(work, free)}")
    room_there = "what is free cannot be told here" if math.isinf(free) else f"{_size(free)} free"
    return "\n".join([*lines, f"{where}: {room_there}"])


class _Counted:
    """Bytes of half-precision numbers; each question is asked of the networks once."""

    def __init__(self, sgdm: SGDM, vae: Any, latent: tuple[int, int]) -> None:
        self._sgdm, self._vae, self._latent = sgdm, vae, latent
        self._known: dict[tuple[Any, ...], float] = {}

    def weights(self) -> float:
        return float(sum(weight.nbytes for weight in self._sgdm.parameters()))

    def vae_weights(self) -> float:
        return 0.0 if self._vae is None else float(sum(weight.nbytes for weight in self._vae.parameters()))

    def pose(self, frames: int) -> float:
        """Of the features of so many pose pictures."""
        width = int(self._sgdm.controlnet.config.block_out_channels[0])
        return 2.0 * frames * width * self._latent[0] * self._latent[1]

    def window(self, contexts: int, windows: int, frames: int, chunk: int, far_keys: int) -> float:
        """Of the prediction for windows together."""
        question = (contexts, windows, frames, chunk, far_keys)
        return self._ask(("window", *question), lambda: self._predict(*question))

    def embedding(self, frames: int) -> float:
        """Of pose pictures together."""
        sides = [self._sgdm.pose_stride * side for side in self._latent]
        return self._ask(("embedding", frames), lambda: self._sgdm.embed_pose(_half(frames, 3, *sides)))

    def decoding(self, frames: int) -> float:
        """Of frames together."""
        vae = self._vae
        if vae is None:
            return 0.0
        channels = int(vae.config.latent_channels)
        return self._ask(("decoding", frames), lambda: vae.decode(_half(frames, channels, *self._latent)))

    def _ask(self, question: tuple[Any, ...], run: Callable[[], Any]) -> float:
        if question not in self._known:
            with torch.device("meta"), torch.no_grad(), LiveBytes() as live:
                run()
            self._known[question] = float(live.most)
        return self._known[question]

    def _predict(self, contexts: int, windows: int, frames: int, chunk: int, far_keys: int) -> Tensor:
        sgdm = self._sgdm
        sgdm.feed_forward_chunk = chunk
        latents = _half(windows, frames, sgdm.latent_channels, *self._latent)
        poses = _half(windows, frames, int(sgdm.controlnet.config.block_out_channels[0]), *self._latent)
        tokens = _half(contexts, _TOKENS, sgdm.appearance_width)
        extra = sgdm.inpaint_channels
        inpaint = _half(windows, frames, extra, *self._latent) if extra else None
        with sgdm.one_clip():
            return sgdm.guided(latents, torch.zeros(()), tokens, poses, 1.0, inpaint, far_keys=far_keys)


def _counted(work: Work) -> _Counted:
    stride = 2 ** (len(work.controlnet.get("conditioning_embedding_out_channels", (16, 32, 96, 256))) - 1)
    width, height = work.size
    configs = (json.dumps(config, sort_keys=True) for config in (work.unet, work.controlnet, work.vae))
    return _counted_once(*configs, (height // stride, width // stride))


@lru_cache(maxsize=16)
def _counted_once(unet: str, controlnet: str, vae: str, latent: tuple[int, int]) -> _Counted:
    return _Counted(_empty_networks(unet, controlnet), _empty_vae(vae), latent)


@lru_cache(maxsize=2)
def _empty_networks(unet: str, controlnet: str) -> SGDM:
    from ..sgdm.network import build_sgdm

    sgdm = build_sgdm(json.loads(unet), json.loads(controlnet), empty=True).half().eval()
    sgdm.set_attention(lambda query, key, value: torch.empty_like(query))
    return sgdm


@lru_cache(maxsize=2)
def _empty_vae(config: str) -> Any:
    if config == "null":
        return None
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL.from_config(json.loads(config)).half().eval()
    return vae


def _half(*shape: int) -> Tensor:
    return torch.empty(*shape, dtype=torch.float16)


def _ways(memory: Memory) -> Iterator[Memory]:
    """The choices from the fastest to the leanest."""
    yield memory
    memory = replace(memory, windows_at_once=1, feed_forward_chunk=memory.feed_forward_chunk or _FEW_IMAGES)
    yield memory
    yield replace(memory, pose_gib=0.0)
    yield replace(memory, split_guidance=True)
    yield replace(memory, split_guidance=True, pose_gib=0.0)


def _frames(work: Work) -> int:
    """Of a window."""
    return min(work.settings.window_size, work.n_frames)


def _smaller_shapes(work: Work) -> Iterator[tuple[int, tuple[int, int]]]:
    """Frames of a window and sizes, first the same size with fewer frames, then smaller pictures."""
    width, height = work.size
    for share in _SHARES:
        size = (max(64, round(width * share / 64) * 64), max(64, round(height * share / 64) * 64))
        for frames in _WINDOWS:
            if frames < _frames(work) or (share < 1 and frames == _frames(work)):
                yield frames, work.size if share == 1 else size


def _title(name: str, work: Work) -> str:
    width, height = work.size
    kind = str(work.dtype).removeprefix("torch.")
    return f"{name}: {work.n_frames} frames of {width}x{height} pixels, windows of {_frames(work)}, {kind}"


def _rows(room: Room, decoding: tuple[int, float]) -> list[str]:
    rows = [
        ("weights of the networks", room.weights),
        ("weights of the VAE", room.vae),
        ("pose features of the clip", room.pose),
        ("a window, at its fullest moment", room.window),
        ("embedding poses, instead of the window", room.embedding),
        ("denoising at the fullest moment", room.total),
        (f"decoding, {decoding[0]} frames at once", room.weights + room.vae + decoding[1]),
    ]
    return [f"  {text:<40} {_size(size):>9}" for text, size in rows if size]


def _verdict(work: Work, chosen: Memory | None) -> str:
    if chosen is None:
        return "  DOES NOT FIT, with every exact saving"
    savings = []
    if chosen.feed_forward_chunk:
        savings.append(f"feed-forward layers on {chosen.feed_forward_chunk} images at a time")
    if estimate(work, chosen).pose == 0:
        savings.append("pose features for each window")
    if chosen.split_guidance:
        savings.append("halves of the guidance one after the other")
    return f"  fits with {', '.join(savings)}" if savings else "  fits without savings"


def _size(size: float) -> str:
    return f"{size / _GIB:.2f} GiB" if size >= _GIB / 10 else f"{size / 2**20:.1f} MiB"
