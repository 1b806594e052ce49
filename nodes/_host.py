"""Everything that touches ComfyUI's internals: memory, attention, progress, number types.

The only file that imports `comfy` or `latent_preview`. Works on ComfyUI 0.3.64 and later.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import comfy.cli_args
import comfy.latent_formats
import comfy.model_management as mm
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.utils
import latent_preview
import numpy as np
import torch
from comfy.ldm.modules import attention as host_attention
from torch import nn

from ..anchor_core.errors import AnchorError
from ..anchor_core.sampling.windows import plan_windows
from ..anchor_core.sgdm.normalization import WindowGroupNorm
from ._anchor import LoadedAnchor

if TYPE_CHECKING:
    from ..anchor_core.anchor.file import Anchor
    from ..anchor_core.anchor.use import Stage
    from ..anchor_core.progress import Progress
    from ..anchor_core.sampling.conditioning import Conditioning
    from ..anchor_core.sampling.sampler import SamplerSettings
    from ..anchor_core.sgdm.network import SGDM

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

_SMALL_VAE = 8_000_000  # parameters; a larger one would slow sampling down if it drew the previews


def has_node(node_id: str) -> bool:
    """Whether this host has a node; its own nodes are there before ours are asked for."""
    return node_id in getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {})


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """A result on the device and in the type that the host keeps results in."""
    dtype = getattr(mm, "intermediate_dtype", lambda: torch.float32)()  # --fp16-intermediates, since 0.18
    return tensor.to(mm.intermediate_device(), dtype)


def network_types(precision: str) -> tuple[torch.dtype, torch.dtype]:
    """In which type the networks are kept, and in which they compute on the host's device."""
    if precision != "auto":
        if precision not in PRECISIONS:
            raise AnchorError(f"precision is '{precision}': choose auto, {', '.join(PRECISIONS)}")
        return PRECISIONS[precision], PRECISIONS[precision]
    device, choice = mm.get_torch_device(), [torch.float16, torch.bfloat16, torch.float32]
    kept = mm.unet_dtype(device, supported_dtypes=choice)
    kept = kept if kept in choice else torch.float16  # float8 would need scales that anchors do not have
    return kept, mm.unet_manual_cast(kept, device, choice) or kept


def manage(anchor: Anchor, dtype: torch.dtype) -> LoadedAnchor:
    """Put the networks of an anchor, that of the face too if it has one, and its VAE into the host's care."""
    if anchor.body is None or anchor.vae is None:
        missing = "body network" if anchor.body is None else "VAE"
        raise AnchorError(f"the anchor '{anchor.card.name}' holds no {missing}: choose another anchor")
    body, config = anchor.body, anchor.vae.config
    if int(config.latent_channels) != body.latent_channels:
        raise AnchorError(
            f"the VAE has {config.latent_channels} latent channels and the anchor '{anchor.card.name}' "
            f"{body.latent_channels}: choose the VAE that belongs to it"
        )
    small = sum(weight.numel() for weight in anchor.vae.parameters()) < _SMALL_VAE
    scaling = (float(config.get("shift_factor") or 0.0), float(config.scaling_factor))
    patcher, face_patcher = _managed(body), None if anchor.face is None else _managed(anchor.face)
    vae = _host_vae(anchor.vae)
    return LoadedAnchor(replace(anchor, vae=None), body, patcher, dtype, vae, small, scaling, face_patcher)


def _managed(network: SGDM, device: torch.device | None = None) -> Any:
    """The host's handle of a network, which computes as the host does; by default on the host's device."""
    device = device or mm.get_torch_device()
    make_castable(network)
    network.set_attention(_attention_on(device))
    patcher_kind = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    return patcher_kind(network, load_device=device, offload_device=mm.unet_offload_device())


class CastableWindowGroupNorm(WindowGroupNorm):
    """`WindowGroupNorm` whose weights may lie on another device or in another type than its input."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self._normalized(input) if self.window.frames == 1 else super().forward(input)

    def _normalized(self, volume: torch.Tensor) -> torch.Tensor:
        weight, bias = (comfy.ops.cast_to_input(value, volume) for value in (self.weight, self.bias))
        return nn.functional.group_norm(volume, self.num_groups, weight, bias, self.eps)


def make_castable(network: nn.Module) -> None:
    """Make the layers the host's own kind, in place: their weights may then stay on the CPU (--lowvram)."""
    for layer in network.modules():
        plain = type(layer)
        if plain is WindowGroupNorm:
            layer.__class__ = CastableWindowGroupNorm
        elif plain.__module__.startswith("torch.nn.modules.") and hasattr(
            comfy.ops.manual_cast, plain.__name__
        ):
            layer.__class__ = getattr(comfy.ops.manual_cast, plain.__name__)
            layer.weight_function, layer.bias_function = [], []  # type: ignore[assignment]


def _attention_on(device: torch.device) -> Callable[..., torch.Tensor]:
    # The host's default on a CPU is the sub-quadratic one, which is slower there than torch's and no leaner.
    compute = (
        host_attention.attention_pytorch if mm.is_device_cpu(device) else host_attention.optimized_attention
    )

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        heads = query.shape[1]
        joined = compute(query, key, value, heads, skip_reshape=True)  # B T (heads c)
        return joined.unflatten(2, (heads, -1)).transpose(1, 2)

    return attend


class ManagedNetwork:
    """An SGDM as the sampler sees it: not a module, so that only the host moves its weights."""

    def __init__(self, sgdm: Any, fidelity: str) -> None:
        self._sgdm = sgdm
        if fidelity != "auto" and fidelity != sgdm.fidelity:
            self._sgdm = copy.copy(sgdm)  # shares all weights
            self._sgdm.fidelity = fidelity
        self.unet, self.controlnet = sgdm.unet, sgdm.controlnet
        self.latent_channels, self.parameters = sgdm.latent_channels, sgdm.parameters

    def embed_pose(self, pose: torch.Tensor) -> torch.Tensor:
        # Once for all frames, before the first window reports: a long clip must be stoppable here too.
        mm.throw_exception_if_processing_interrupted()
        return self._sgdm.embed_pose(pose)

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self._sgdm(*args, **kwargs)

    def guided(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self._sgdm.guided(*args, **kwargs)

    def one_clip(self) -> contextlib.AbstractContextManager[None]:
        return self._sgdm.one_clip()

    @property
    def feed_forward_chunk(self) -> int:
        return self._sgdm.feed_forward_chunk

    @feed_forward_chunk.setter
    def feed_forward_chunk(self, images: int) -> None:
        self._sgdm.feed_forward_chunk = images


def place_network(
    loaded: LoadedAnchor, stage: Stage, settings: SamplerSettings, conditioning: Conditioning, fidelity: str
) -> tuple[ManagedNetwork, dict[str, Any]]:
    """Let the host make room for one window; a stage's network, and where and in what memory to run it."""
    from ..anchor_core.sampling.room import LEANEST, Work, estimate, fitting
    from ..anchor_core.sampling.settings import Memory

    if fidelity not in ("auto", "trained", "reference"):
        raise AnchorError(f"fidelity is '{fidelity}': choose auto, trained or reference")
    network = loaded.network(stage)
    patcher = loaded.patcher if stage == "body" else loaded.face_patcher
    device = patcher.load_device
    height, width = conditioning.pixels
    work = Work.of(network, settings, (width, height), conditioning.n_frames, loaded.dtype)
    room, others = estimate(work), _on_other_devices(loaded, stage)
    models = [patcher, *([loaded.vae.patcher] if loaded.small_vae else []), *(one for _, one in others)]
    mm.load_models_gpu(models, memory_required=int(room.window))
    # The weights are there by now, as far as the host puts them there: what is free is for a window.
    free = mm.get_free_memory(device)
    begin = Memory(pose_gib=min(2.0, free / 8 / 2**30))
    memory = fitting(work, free + room.weights, begin) or LEANEST
    place: dict[str, Any] = {"device": device, "dtype": loaded.dtype, "memory": memory}
    place["others"] = [
        (ManagedNetwork(copied, fidelity), one.load_device, loaded.dtype) for copied, one in others
    ]
    return ManagedNetwork(network, fidelity), place


def _on_other_devices(loaded: LoadedAnchor, stage: Stage) -> list[tuple[SGDM, Any]]:
    """Copies of a stage's network for the host's other devices, which take windows too, and their handles.

    Made once per anchor, and kept where the host puts what it does not use: in main memory.
    """
    all_devices = getattr(mm, "get_all_torch_devices", None)  # older hosts work on one device
    for device in all_devices(exclude_current=True) if all_devices else ():
        if (stage, str(device)) not in loaded.copies:
            copied = _copied(loaded.network(stage))
            loaded.copies[stage, str(device)] = (copied, _managed(copied, device))
    return [made for (of_stage, _), made in loaded.copies.items() if of_stage == stage]


def _copied(network: SGDM) -> SGDM:
    """A copy of a network, without what the host's handle has put on it (memory of its own, freed once)."""
    plain = copy.copy(network)  # shares all weights
    for name in [name for name in vars(plain) if name.startswith("dynamic_")]:
        del plain.__dict__[name]
    return copy.deepcopy(plain)


@contextlib.contextmanager
def training_device() -> Iterator[torch.device]:
    """The device, with all models of the host off it; inside of the block gradients can be computed.

    The host runs nodes in inference mode, whose tensors no training can use: load networks in the block.
    """
    mm.unload_all_models()
    mm.soft_empty_cache()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield mm.get_torch_device()
    finally:
        mm.soft_empty_cache()


def device_gb() -> float:
    """Memory of the host's device in 10^9 bytes; 0 on a CPU."""
    device = mm.get_torch_device()
    return 0.0 if mm.is_device_cpu(device) else mm.get_total_memory(device) / 1e9


@contextlib.contextmanager
def tower_on_device(anchor: Anchor) -> Iterator[torch.device]:
    """The device for the vision tower, with room on it; afterwards the tower is back on the CPU.

    The host cannot keep a part of it on the CPU (it has weights that are no layers), and it is small.
    """
    device = mm.text_encoder_device()
    tower = anchor.vision
    if tower is None or mm.is_device_cpu(device):
        yield device
        return
    mm.free_memory(sum(weight.numel() for weight in tower.parameters()) * 4 * 1.5, device)
    try:
        yield device
    finally:
        tower.to(mm.text_encoder_offload_device())


def native_tokens(vision: Any, picture: torch.Tensor | None) -> torch.Tensor:
    """Tokens (1, T, D) of a picture by one of the host's own vision models."""
    if picture is None:
        raise AnchorError("clip_vision is connected and image is not: connect a picture of the person")
    return vision.encode_image(picture[None, ..., :3].float(), crop=True)["last_hidden_state"].float()


class _Autoencoder(nn.Module):
    """A VAE of diffusers with the two calls that the host makes."""

    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def encode(self, pixels: torch.Tensor, **_unused: Any) -> torch.Tensor:
        return self.autoencoder.encode(pixels).latent_dist.mode()

    def decode(self, latents: torch.Tensor, **_unused: Any) -> torch.Tensor:
        return self.autoencoder.decode(latents, return_dict=False)[0]


class AnchorVAE(comfy.sd.VAE):
    """A VAE that the host's loader does not know, with all that its nodes and its memory need."""

    def __init__(self, autoencoder: Any) -> None:
        # The host's smallest VAE gives every attribute that this version of it wants.
        super().__init__(sd={"pixel_space_vae": torch.tensor(1.0)})
        stride = 2 ** (len(autoencoder.config.block_out_channels) - 1)
        width = int(autoencoder.config.block_out_channels[0])
        self.downscale_ratio = self.upscale_ratio = stride
        self.latent_channels = int(autoencoder.config.latent_channels)
        # Bytes per pixel and channel, as the host counts for Stable Diffusion: 1767 / 128 and 2178 / 128.
        encode, decode = 14 * width, 17 * width * stride**2
        self.memory_used_encode = lambda shape, dtype: encode * shape[2] * shape[3] * dtype.itemsize
        self.memory_used_decode = lambda shape, dtype: decode * shape[2] * shape[3] * dtype.itemsize
        self.first_stage_model = _Autoencoder(autoencoder).to(self.vae_dtype).eval()
        make_castable(self.first_stage_model)
        self.patcher = comfy.model_patcher.ModelPatcher(
            self.first_stage_model, load_device=self.device, offload_device=mm.vae_offload_device()
        )


def _host_vae(autoencoder: Any) -> Any:
    """Stable Diffusion's VAE as the host's own class, another one as ours."""
    config = autoencoder.config
    shape = (tuple(config.block_out_channels), config.layers_per_block, config.norm_num_groups)
    if shape == ((128, 256, 512, 512), 2, 32) and config.get("mid_block_add_attention", True):
        return comfy.sd.VAE(sd=autoencoder.state_dict())
    return AnchorVAE(autoencoder)


class FrameProgress:
    """The host's bar for a step of `total` frames; raises where the user has cancelled."""

    def __init__(self, total: int) -> None:
        self._bar = comfy.utils.ProgressBar(total)

    def __call__(self, done: int, total: int, preview: Any = None) -> None:
        # The bar looks too, but newer hosts leave out steps that move it by less than half a percent.
        mm.throw_exception_if_processing_interrupted()
        self._bar.update_absolute(done, total, None if preview is None else _as_preview(preview))


class PartProgress:
    """The host's one bar for a node that takes several steps, as a `StepFactory`.

    shares: how much of the bar each step fills, in their order; a step that is left out leaves its share to
    the next one.
    """

    _UNITS = 1000

    def __init__(self, *shares: float) -> None:
        self._shares, self._done = iter(shares), 0.0
        self._bar = FrameProgress(self._UNITS)

    @contextlib.contextmanager
    def __call__(self, _name: str, _unit: str) -> Iterator[Progress]:
        begin, share = self._done, next(self._shares)
        self._done += share

        def report(done: int, total: int, preview: Any) -> None:
            self._bar(round(self._UNITS * (begin + share * done / total)), self._UNITS, preview)

        yield report


class StageProgress:
    """The host's one bar for stages that are known by name, as a `StepFactory` for any thread.

    shares: how much of the bar each stage fills, by its name, in their order. Stages that are left out, or
    run beside others, never move the bar back. Where the user has cancelled every stage raises: the host
    tells only the one that asks first, and that may be one that nobody waits for yet.
    """

    _UNITS = 1000

    def __init__(self, shares: Mapping[str, float]) -> None:
        self._shares, self._reached, self._lock = shares, 0, threading.Lock()
        self._ended: BaseException | None = None
        self._bar = FrameProgress(self._UNITS)

    @contextlib.contextmanager
    def __call__(self, name: str, _unit: str) -> Iterator[Progress]:
        names = list(self._shares)
        before = names[: names.index(name)] if name in names else names
        begin, share = sum(self._shares[other] for other in before), self._shares.get(name, 0.0)

        def report(done: int, total: int, preview: Any) -> None:
            with self._lock:
                if self._ended is not None:
                    raise self._ended
                self._reached = max(self._reached, round(self._UNITS * (begin + share * done / total)))
                try:
                    self._bar(self._reached, self._UNITS, preview)
                except BaseException as error:
                    self._ended = error
                    raise

        yield report


class WindowProgress:
    """Reports all windows of all steps, with a frame of the clip as it looks by now.

    bar: where to; a bar of its own by default.
    """

    def __init__(
        self, loaded: LoadedAnchor, settings: SamplerSettings, n_frames: int, bar: Progress | None = None
    ) -> None:
        shape = (settings.window_size, settings.overlap, settings.schedule)
        self._total = sum(len(plan_windows(n_frames, *shape, step)) for step in range(settings.steps))
        self._done = 0
        self._bar = bar or FrameProgress(self._total)
        self._draw = _previewer(loaded)

    def __call__(self, step: int, window: int, n_steps: int, n_windows: int, latents: torch.Tensor) -> None:
        self._done += 1
        middle = latents[len(latents) // 2][None]
        self._bar(self._done, self._total, self._draw(middle) if self._draw else None)


def _previewer(loaded: LoadedAnchor) -> Callable[[torch.Tensor], Any] | None:
    """How to show a latent, as (H, W, 3) bytes: by a small VAE itself, else by the host's means; None where
    previews are off."""
    if comfy.cli_args.args.preview_method == comfy.cli_args.LatentPreviewMethod.NoPreviews:
        return None
    if loaded.small_vae:
        return lambda latent: _decoded(loaded, latent)
    if loaded.body.latent_channels != comfy.latent_formats.SD15.latent_channels:
        return None
    native = latent_preview.get_previewer(loaded.patcher.load_device, comfy.latent_formats.SD15())
    return native and (lambda latent: np.asarray(native.decode_latent_to_preview(latent)))


def _decoded(loaded: LoadedAnchor, latent: torch.Tensor) -> Any:
    vae = loaded.vae
    pixels = vae.first_stage_model.decode(loaded.unscaled(latent).to(vae.device, vae.vae_dtype))[0]
    return (
        pixels.float().add(1).mul(127.5).clamp(0, 255).round().to("cpu", torch.uint8).permute(1, 2, 0).numpy()
    )


def _as_preview(frame: Any) -> tuple[str, Any, int]:
    from PIL import Image

    return "JPEG", Image.fromarray(frame), latent_preview.MAX_PREVIEW_RESOLUTION
