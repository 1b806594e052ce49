"""What a training takes of memory and disk, before an hour is spent: numbers from the configs, no weights.

    weights            4 bytes each, trained or not
    gradients          4 bytes per trained weight
    optimiser          8 bytes per trained weight, 2 in 8 bits
    average            4 bytes per trained weight, where there is one
    half-precision copies of the weights, 2 bytes each, with bf16 and fp16
    activations        what the backward pass needs of one part of a batch

The first five are arithmetic. Activations are counted: the networks run once on torch's meta device, where
tensors have shapes and no numbers, and whatever a backward pass would find is added up. VAE, vision
tower and pictures are not in the table: they are used up before the first step.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..anchor.base_file import find_base
from ..anchor.base_unet import base_unet_config, controlnet_config
from ..anchor.configs import CONTROLNET, UNET, Config
from ..anchor.file import read_link, read_metadata
from ..anchor.published import find_stages, read_config_file
from ..anchor.weights import read_header
from ..errors import AnchorError
from ..sampling.room import free_memory
from ..sgdm.network import SGDM, build_sgdm
from .config import SGDMConfig
from .job import TrainingJob
from .lora import low_rank_size
from .optimiser import make_optimiser
from .run import check_same, config_of, device_of
from .sets import JobData, read_data
from .start import start_kind, tiny_anchor
from .workers import Workers, join_workers

_GIGA = 1e9
CONTEXT = 1.0e9
"""Bytes that driver, libraries and their workspaces take on a GPU, about."""
_STATE = {"adamw": 8, "adamw8bit": 2}
_LATENT_STRIDE = 8  # pixels per latent pixel of Stable Diffusion and of all VAEs here
_TOKENS = 50


@dataclass(frozen=True)
class Need:
    """Bytes, by what they are for. trained, frozen: numbers of weights. disk: cache and checkpoints."""

    trained: int
    frozen: int
    weights: float
    gradients: float
    optimiser: float
    average: float
    copies: float
    activations: float
    step: float
    disk: float

    @property
    def total(self) -> float:
        """At the fullest moment: the backward pass, or the step of the optimiser."""
        lasting = self.weights + self.gradients + self.optimiser + self.average
        return lasting + max(self.copies + self.activations, self.step)


def dry_run(job: TrainingJob) -> str:
    """Check data and start, and say in a table what the training takes and whether that fits."""
    data = read_data(job)
    check_same(job, data)
    device = device_of(job)
    config = config_of(job, data, device)
    make_optimiser([torch.zeros(1, requires_grad=True)], config)  # it may need what is not installed
    need = need_of(job, data, config, join_workers(device))
    room, where = room_on(device)
    return "\n".join([_title(job, data, config), "", *_rows(need), "", _verdict(need, room, where, job)])


def need_of(job: TrainingJob, data: JobData, config: SGDMConfig, workers: Workers) -> Need:
    """The arithmetic for one process."""
    sgdm = empty_networks(job)
    every = sum(p.numel() for p in sgdm.parameters())
    trained = low_rank_size(sgdm, config.lora_rank, config.lora_layers) if config.lora_rank else every
    samples = math.ceil(config.batch_size / workers.count)
    samples = math.ceil(samples / config.accumulation)
    halves = config.precision != "fp32"
    average = 4.0 * trained if config.ema_decay else 0.0
    optimiser = float(_STATE[config.optimiser] * trained)
    lasting = 4.0 * (every + (trained if config.lora_rank else 0))
    return Need(
        trained=trained,
        frozen=every if config.lora_rank else 0,
        weights=lasting,
        gradients=4.0 * trained,
        optimiser=optimiser,
        average=average,
        copies=2.0 * every if halves else 0.0,
        activations=count_activations(sgdm, samples, data.size, config),
        # Torch's AdamW works on all tensors at once, with one more of each in between.
        step=4.0 * trained if config.optimiser == "adamw" else 0.0,
        disk=_cache_size(data, sgdm) + (1 + config.keep_checkpoints) * (lasting + optimiser + average),
    )


def empty_networks(job: TrainingJob) -> SGDM:
    """The networks that the job trains, without weights."""
    kind, path = start_kind(job)
    if kind == "tiny":
        found = getattr(tiny_anchor(job), job.stage)
        unet, controlnet = dict(found.unet.config), dict(found.controlnet.config)
    elif kind == "anchor":
        unet, controlnet = _anchor_configs(path, job.stage)
    elif kind == "published":
        unet, controlnet = _published_configs(path, job.stage)
    else:
        unet = base_unet_config(path)
        controlnet = controlnet_config(unet)
        if job.stage == "face":
            unet = {**unet, "in_channels": 2 * unet.get("out_channels", 4) + 1}
    return build_sgdm(unet, controlnet, empty=True)


def _anchor_configs(path: Path, stage: str) -> tuple[Config, Config]:
    link = read_link(path)
    place = find_base(link, path) if link else path
    _, configs = read_metadata(read_header(place), place)
    return _both(configs, f"{stage}.unet", f"{stage}.controlnet", path, stage)


def _published_configs(path: Path, stage: str) -> tuple[Config, Config]:
    found = {f"{name}.unet": place for name, place in find_stages(path).items()}
    place = found.get(f"{stage}.unet")
    configs: dict[str, Config] = {}
    if place is not None:
        for kind, name in ((UNET, "unet"), (CONTROLNET, "controlnet")):
            configs[name] = read_config_file(kind, place / name / "config.json")
    return _both(configs, "unet", "controlnet", path, stage)


def _both(
    configs: dict[str, Config], unet: str, controlnet: str, path: Path, stage: str
) -> tuple[Config, Config]:
    if unet not in configs:
        raise AnchorError(f"{path} has no {stage} network to start from; name another, or change stage")
    return configs[unet], configs[controlnet]


def _cache_size(data: JobData, sgdm: SGDM) -> float:
    """Bytes of meshes, latents and, for the face, surroundings."""
    latents = sgdm.latent_channels * (data.size / _LATENT_STRIDE) ** 2 * 4
    inpaint = sgdm.inpaint_channels * (data.size / _LATENT_STRIDE) ** 2 * 4
    meshes = (1 + len(data.samples[0].perturbed)) * 3 * data.size**2
    return len(data.samples) * (meshes + 2 * latents + inpaint)


def count_activations(sgdm: SGDM, samples: int, size: int, config: SGDMConfig) -> float:
    """Bytes that the backward pass of `samples` samples needs. sgdm: without weights ("meta")."""
    frames, side = config.clip_length, size // _LATENT_STRIDE
    sgdm.train().requires_grad_(True)
    sgdm.set_attention(_attention)
    counter = Counter(sgdm)
    with torch.device("meta"), counter.counting(config.gradient_checkpointing):
        pose = torch.zeros(frames, 3, size, size)
        latents = torch.zeros(1, frames, sgdm.latent_channels, side, side)
        tokens = torch.zeros(1, _TOKENS, sgdm.appearance_width)
        extra = torch.zeros(1, frames, sgdm.inpaint_channels, side, side) if sgdm.inpaint_channels else None
        with _Autocast(counter) if config.precision != "fp32" else nullcontext():
            features = sgdm.embed_pose(pose)[None]
            sgdm(latents, torch.zeros(1), tokens, features, inpaint=extra)
    return samples * (counter.kept + counter.most)


class _Attention(torch.autograd.Function):
    """What attention that does not hold its scores (flash, memory-efficient) keeps: inputs and output."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:  # it is never asked for
        raise NotImplementedError


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return _Attention.apply(query, key, value)


class Counter:
    """Adds up what is saved for a backward pass. kept: bytes until then; most: of the largest part that is
    computed a second time (gradient checkpointing)."""

    def __init__(self, sgdm: SGDM) -> None:
        self.sgdm = sgdm
        self.kept = self.most = 0
        self._seen: dict[int, Tensor] = {}
        for parameter in sgdm.parameters():
            self.leave_out(parameter)

    def leave_out(self, tensor: Tensor) -> None:
        """Do not count this one, nor views of it. Keeps it alive, so that no other gets its place."""
        self._seen[tensor.untyped_storage()._cdata] = tensor

    @contextmanager
    def counting(self, checkpointing: bool) -> Iterator[None]:
        """A block whose forward passes are counted."""
        networks = (self.sgdm.unet, self.sgdm.controlnet)
        if checkpointing:
            for network in networks:
                network.enable_gradient_checkpointing(self._recomputed)
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._save, lambda tensor: tensor):
                yield
        finally:
            for network in networks:
                network.disable_gradient_checkpointing()

    def _save(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self.leave_out(tensor)
            self.kept += storage.nbytes()
        return tensor

    def _recomputed(self, part: Any, *args: Any) -> Any:
        """Instead of torch.utils.checkpoint: its inputs are kept, what it saves is not."""
        before = self.kept
        result = part(*args)
        self.most = max(self.most, self.kept - before)
        self.kept = before
        for value in args:
            if isinstance(value, Tensor):
                self._save(value)
        return result


class _Autocast(TorchFunctionMode):
    """What torch.autocast does to types on a GPU; it does not act on the meta device."""

    _half = (nn.functional.linear, nn.functional.conv2d, torch.conv2d, torch.matmul, torch.bmm)
    _full = (nn.functional.group_norm, nn.functional.layer_norm)

    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self._counter = counter
        self._weights: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        wanted = torch.bfloat16 if func in self._half else torch.float32 if func in self._full else None
        if wanted is not None:
            args = tuple(self._cast(value, wanted) for value in args)
            kwargs = {name: self._cast(value, wanted) for name, value in kwargs.items()}
        return func(*args, **kwargs)

    def _cast(self, value: Any, kind: torch.dtype) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.dtype == kind:
            return value
        if not isinstance(value, nn.Parameter):
            return value.to(kind)
        if id(value) not in self._weights:  # these stand in the table on their own
            self._weights[id(value)] = value.to(kind)
            self._counter.leave_out(self._weights[id(value)])
        return self._weights[id(value)]


def room_on(device: str) -> tuple[float, str]:
    """Bytes that the device has free for a training, and its name."""
    kind = torch.device(device)
    if kind.type == "cuda":
        free, _ = torch.cuda.mem_get_info(kind)
        return free - CONTEXT, torch.cuda.get_device_name(kind)
    return free_memory(), "memory of this machine"


def _title(job: TrainingJob, data: JobData, config: SGDMConfig) -> str:
    people = len({sample.person for sample in data.samples})
    return (
        f"{job.stage}, {job.mode}: {len(data.samples)} frames of {people or 1}"
        f" {'person' if people < 2 else 'people'} at {data.size} pixels,"
        f" {config.steps} steps of {config.batch_size} in {config.precision} ="
        f" {_epochs(data, config):.1f} epochs"
    )


def _epochs(data: JobData, config: SGDMConfig) -> float:
    return config.steps * config.batch_size * config.clip_length / len(data.samples)


def _rows(need: Need) -> list[str]:
    rows = [
        (f"weights ({(need.trained + need.frozen) / 1e6:.1f} M)", need.weights),
        (f"gradients ({need.trained / 1e6:.1f} M trained)", need.gradients),
        ("optimiser", need.optimiser),
        ("average of the weights", need.average),
        ("half-precision copies", need.copies),
        ("activations", need.activations),
        ("the optimiser's step, instead of both", need.step),
        ("at the fullest moment", need.total),
        ("on disk: cache and checkpoints", need.disk),
    ]
    return [f"{name:<40} {_size(size):>9}" for name, size in rows]


def _size(size: float) -> str:
    return f"{size / _GIGA:.1f} GB" if size >= _GIGA else f"{size / 1e6:.0f} MB"


def _verdict(need: Need, room: float, where: str, job: TrainingJob) -> str:
    lines = []
    if math.isinf(room):
        lines.append(f"how much {where} is free cannot be told here; compare for yourself")
    elif need.total <= room:
        lines.append(f"fits: {where} has {room / _GIGA:.1f} GB for it")
    else:
        lines.append(
            f"DOES NOT FIT: {where} has {room / _GIGA:.1f} GB for it; take a smaller --preset, or"
            " gradient_checkpointing, accumulation, adamw8bit, lora_rank"
        )
    folder = next(place for place in job.folder.absolute().parents if place.exists())
    free = shutil.disk_usage(folder).free
    if need.disk > free:
        lines.append(f"THE DISK IS TOO SMALL: {folder} has {free / _GIGA:.1f} GB free; choose another folder")
    return "\n".join(lines)
