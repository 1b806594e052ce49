"""Everything that touches ComfyUI's internals: folders, memory, attention, progress, number types.

The only file that imports `comfy`, `folder_paths` or `latent_preview`. Works on ComfyUI 0.3.64 and later.
"""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.cli_args
import comfy.latent_formats
import comfy.model_management as mm
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.utils
import folder_paths
import latent_preview
import numpy as np
import torch
from comfy.ldm.modules import attention as host_attention
from torch import nn

from ..anchor_core.errors import AnchorError
from ..anchor_core.files import ASSETS
from ..anchor_core.sampling.windows import plan_windows
from ..anchor_core.sgdm.normalization import WindowGroupNorm
from ._anchor import LoadedAnchor

if TYPE_CHECKING:
    from ..anchor_core.anchor.file import Anchor
    from ..anchor_core.anchor.use import Stage
    from ..anchor_core.body.model import BodyModel
    from ..anchor_core.progress import Progress
    from ..anchor_core.sampling.conditioning import Conditioning
    from ..anchor_core.sampling.sampler import SamplerSettings
    from ..anchor_core.sgdm.network import SGDM

DEMO = "demo"
DEMO_MOTION = "demo motion"
_ASSETS = {DEMO: ASSETS / "demo_anchor.safetensors", DEMO_MOTION: ASSETS / "demo_motion.npz"}
_ANCHORS, _BODIES = "anchors", "smplx"
_OWN_FOLDERS = {_ANCHORS: {".safetensors"}, _BODIES: {".npz"}}
VAE_FOLDERS = ("vae", "checkpoints")
VISION_FOLDERS = ("clip_vision",)
TEXT_FOLDERS = ("text_encoders", "checkpoints")
_MOTION_SUFFIXES = {".npz", ".npy", ".pkl", ".pt", ".bvh", ".json"}
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

# Peak memory of one window, in units of (images x latent pixels x channels of the first level): counted on
# Stable Diffusion 1.5 at 512 px, batch of 2 x 16 frames: 3.1 GiB in fp16 with flash attention.
_PEAK_PER_FEATURE = 40
_SMALL_VAE = 8_000_000  # parameters; a larger one would slow sampling down if it drew the previews


def register_model_folders() -> None:
    """Our model folders under the host's, beside those that extra_model_paths.yaml may have named already."""
    for name, suffixes in _OWN_FOLDERS.items():
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
        paths, known = folder_paths.folder_names_and_paths[name]
        folder_paths.folder_names_and_paths[name] = (paths, set(known) | suffixes)


def anchor_names() -> list[str]:
    """The demo, then anchor files, then published folders."""
    folders = _published_folders()
    files = folder_paths.get_filename_list(_ANCHORS)
    inside = {name for name in files for folder in folders if Path(name).is_relative_to(folder)}
    return [DEMO, *(name for name in files if name not in inside), *folders]


def anchor_path(name: str) -> Path:
    """Where the anchor of this name lies."""
    if name == DEMO:
        return _shipped(name)
    found = _published_folders().get(name) or folder_paths.get_full_path(_ANCHORS, name)
    if found is None:
        raise AnchorError(
            f"there is no anchor '{name}' in models/{_ANCHORS}: put it there, or choose another one"
        )
    return Path(found)


def _published_folders() -> dict[str, Path]:
    """Folders in models/anchors, or one below, that hold networks in the published layout."""
    found: dict[str, Path] = {}
    for place in map(Path, folder_paths.get_folder_paths(_ANCHORS)):
        for child in sorted((*place.glob("*"), *place.glob("*/*"))):
            name = child.relative_to(place).as_posix()
            # A person's folder holds body/unet; the folder of one stage holds unet itself.
            own = any((child / stage / "unet").is_dir() for stage in ("", "body"))
            if own and child.parent.relative_to(place).as_posix() not in found:
                found.setdefault(name, child)
    return found


def motion_names() -> list[str]:
    """The demo motion, then the motion files in the input folder, and the folders of SMPLer-X."""
    return [DEMO_MOTION, *_motion_files()]


def motion_path(name: str) -> Path:
    """Where the motion of this name lies; only files that the list shows can be opened."""
    if name == DEMO_MOTION:
        return _shipped(name)
    files = _motion_files()
    if name not in files:
        raise AnchorError(
            f"there is no motion '{name}' in the input folder: put it there, or choose another one"
        )
    return files[name]


def _motion_files() -> dict[str, Path]:
    return _input_paths(lambda path: _is_motion_folder(path) or _has_suffix(path, _MOTION_SUFFIXES))


def skeleton_names() -> list[str]:
    """Files in the input folder that may map the joints of a BVH."""
    return list(_input_paths(lambda path: _has_suffix(path, {".json"})))


def skeleton_path(name: str) -> Path:
    """Where the joint mapping of this name lies; only files that the list shows can be opened."""
    files = _input_paths(lambda path: _has_suffix(path, {".json"}))
    if name not in files:
        raise AnchorError(f"there is no file '{name}' in the input folder: put it there, or choose automatic")
    return files[name]


def _input_paths(wanted: Callable[[Path], bool]) -> dict[str, Path]:
    root = Path(folder_paths.get_input_directory())
    found = (path for pattern in ("*", "*/*") for path in root.glob(pattern))
    return {path.relative_to(root).as_posix(): path for path in sorted(found) if wanted(path)}


def _has_suffix(path: Path, suffixes: set[str]) -> bool:
    return path.suffix.lower() in suffixes and path.is_file()


def _is_motion_folder(path: Path) -> bool:
    """Whether this is what SMPLer-X leaves: one file for each frame and person in the folder smplx."""
    return (path / "smplx").is_dir()


def temp_video(prefix: str) -> tuple[Path, tuple[str, str]]:
    """A new file in the host's temp folder, and its name and subfolder as the front end asks for them."""
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_temp_directory()
    )
    file = f"{name}_{counter:05}_.mp4"
    return Path(folder) / file, (file, subfolder)


def video_ui(saved: tuple[str, str]) -> dict[str, Any]:
    """What a node hands to the front end to play a file of the temp folder."""
    name, subfolder = saved
    return {"images": [{"filename": name, "subfolder": subfolder, "type": "temp"}], "animated": (True,)}


def has_node(node_id: str) -> bool:
    """Whether this host has a node; its own nodes are there before ours are asked for."""
    return node_id in getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {})


def _shipped(name: str) -> Path:
    path = _ASSETS[name]
    if not path.is_file():
        raise AnchorError(f"{path.name} is missing from the pack: install the pack again")
    return path


def model_names(folders: tuple[str, ...]) -> list[str]:
    """Files in several of the host's model folders, each name once."""
    return list(dict.fromkeys(name for folder in folders for name in folder_paths.get_filename_list(folder)))


def model_path(folders: tuple[str, ...], name: str) -> Path:
    """Where the first file of this name lies."""
    for folder in folders:
        found = folder_paths.get_full_path(folder, name)
        if found is not None:
            return Path(found)
    raise AnchorError(
        f"there is no file '{name}' in models/{folders[0]}: put it there, or choose another one"
    )


def model_folders(folders: tuple[str, ...]) -> list[str]:
    """All places that the host looks at for these kinds of models."""
    return [path for folder in folders for path in folder_paths.get_folder_paths(folder)]


def body_names() -> list[str]:
    """The stand-in, the automatic choice, then the files in models/smplx."""
    from ..anchor_core.body.find import AUTO, STANDIN

    return [STANDIN, AUTO, *folder_paths.get_filename_list(_BODIES)]


def load_body(name: str, gender: str) -> BodyModel:
    """The body of this name."""
    from ..anchor_core.body.find import body_for

    files = {file: model_path((_BODIES,), file) for file in folder_paths.get_filename_list(_BODIES)}
    return body_for(name, files, gender)


def file_stamp(path: Path) -> str:
    """Changes when the file, or a file in the folder, changes."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return ";".join(f"{p}:{p.stat().st_mtime_ns}:{p.stat().st_size}" for p in files)


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


def _managed(network: SGDM) -> Any:
    """The host's handle of a network, which computes as the host does from now on."""
    device = mm.get_torch_device()
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
        self.unet, self.latent_channels, self.parameters = sgdm.unet, sgdm.latent_channels, sgdm.parameters

    def embed_pose(self, pose: torch.Tensor) -> torch.Tensor:
        # Once for all frames, before the first window reports: a long clip must be stoppable here too.
        mm.throw_exception_if_processing_interrupted()
        return self._sgdm.embed_pose(pose)

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self._sgdm(*args, **kwargs)


def place_network(
    loaded: LoadedAnchor, stage: Stage, settings: SamplerSettings, conditioning: Conditioning, fidelity: str
) -> tuple[ManagedNetwork, dict[str, Any]]:
    """Let the host make room for one window; a stage's network, and where and in what memory to run it."""
    from ..anchor_core.sampling.sampler import Memory

    if fidelity not in ("auto", "trained", "reference"):
        raise AnchorError(f"fidelity is '{fidelity}': choose auto, trained or reference")
    network = loaded.network(stage)
    patcher = loaded.patcher if stage == "body" else loaded.face_patcher
    device = patcher.load_device
    needed = _window_numbers(network, settings, conditioning) * loaded.dtype.itemsize
    mm.load_models_gpu([patcher, *([loaded.vae.patcher] if loaded.small_vae else [])], memory_required=needed)
    free = mm.get_free_memory(device)
    memory = Memory(pose_gib=min(2.0, free / 8 / 2**30), split_guidance=settings.guided and free < needed)
    return ManagedNetwork(network, fidelity), {"device": device, "dtype": loaded.dtype, "memory": memory}


def _window_numbers(network: SGDM, settings: SamplerSettings, conditioning: Conditioning) -> int:
    """How many numbers one window takes at its peak."""
    height, width = (side // network.pose_stride for side in conditioning.pose.shape[1:3])
    images = min(settings.window_size, conditioning.n_frames) * (2 if settings.guided else 1)
    return _PEAK_PER_FEATURE * images * height * width * int(network.unet.config.block_out_channels[0])


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
