"""The U-Net of Stable Diffusion 1.5, plain or inpainting, from a checkpoint file or a folder of diffusers.

In a checkpoint its weights stand under `model.diffusion_model.` with the names of latent-diffusion, which
counts all blocks of the way down (`input_blocks`) and up (`output_blocks`) in one row each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ..errors import AnchorError
from .configs import CONTROLNET, UNET, Config, build_empty, clean_config, read_config
from .kinds import describe
from .published import load_network, read_config_file
from .weights import TensorFile, fill, open_tensors, without_prefix

PREFIX = "model.diffusion_model."
CHANNELS = 4
"""Latents of Stable Diffusion; its inpainting U-Net takes mask and masked latents besides."""
LAYERS = 2
"""Residual blocks per level of the way down; the way up has one more."""
UNET_CONFIG: Config = {
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "layers_per_block": LAYERS,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "sample_size": 64,
}
_RESNET: dict[str, str] = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_SINGLE: dict[str, str] = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_MIDDLE = ("resnets.0", "attentions.0", "resnets.1")


def is_diffusers_folder(folder: Path) -> bool:
    """Whether this is Stable Diffusion in the layout of diffusers: a U-Net and no ControlNet."""
    return (folder / "unet" / "config.json").is_file() and not (folder / "controlnet").is_dir()


def load_base_unet(path: Path, dtype: torch.dtype = torch.float32) -> Any:
    """UNet2DConditionModel from a checkpoint or a folder of diffusers; AnchorError when it holds none."""
    if path.is_dir():
        return load_network(UNET, path / "unet", dtype)
    with open_tensors(path) as source:
        names = base_names(source)
        unet = build_empty(UNET, _config_of(source))
        fill(unet, source, names, dtype, "the U-Net of Stable Diffusion 1.5")
    return unet


def base_unet_config(path: Path) -> Config:
    """Its config alone."""
    if path.is_dir():
        return read_config_file(UNET, path / "unet" / "config.json")
    with open_tensors(path) as source:
        base_names(source)
        return _config_of(source)


def base_names(source: TensorFile) -> dict[str, str]:
    """{name in diffusers: name in the checkpoint}; AnchorError when there is no U-Net of this family."""
    names = without_prefix(source.shapes, PREFIX)
    if "input_blocks.0.0.weight" not in names:
        raise AnchorError(
            f"{source.path.name} is {describe(source.shapes, source.metadata)} and holds no U-Net of Stable"
            " Diffusion 1.5: choose an anchor, a published folder, or a Stable Diffusion 1.5 checkpoint."
        )
    new = diffusers_unet_names(names)
    return {name: names[old] for name, old in new.items()}


def _config_of(source: TensorFile) -> Config:
    channels = source.shapes[PREFIX + "input_blocks.0.0.weight"][1]
    return clean_config(UNET, {**UNET_CONFIG, "in_channels": channels}, source.path.name)


def diffusers_unet_names(names: Iterable[str], layers: int = LAYERS) -> dict[str, str]:
    """{name in diffusers: name in latent-diffusion} of all weights of a U-Net."""
    return {_renamed(name, layers): name for name in names}


def _renamed(name: str, layers: int) -> str:
    for old, new in _SINGLE.items():
        if name.startswith(old + "."):
            return new + name[len(old) :]
    match = re.fullmatch(r"(input_blocks|output_blocks)\.(\d+)\.(\d+)\.(.+)", name)
    if match:
        row, number, part, rest = match[1], int(match[2]), int(match[3]), match[4]
        place = _down(number, part, layers) if row == "input_blocks" else _up(number, part, layers, rest)
        return _inside(place, rest)
    match = re.fullmatch(r"middle_block\.([012])\.(.+)", name)
    return _inside(f"mid_block.{_MIDDLE[int(match[1])]}", match[2]) if match else name


def _down(number: int, part: int, layers: int) -> str:
    block, layer = divmod(number - 1, layers + 1)
    if layer == layers:
        return f"down_blocks.{block}.downsamplers.0"
    return f"down_blocks.{block}.{('resnets', 'attentions')[part]}.{layer}"


def _up(number: int, part: int, layers: int, rest: str) -> str:
    block, layer = divmod(number, layers + 1)
    if rest.startswith("conv."):  # the upsampler stands behind the attention, where there is one
        return f"up_blocks.{block}.upsamplers.0"
    return f"up_blocks.{block}.{('resnets', 'attentions')[part]}.{layer}"


def _inside(place: str, rest: str) -> str:
    """The name within a block; attention has the same names in both."""
    if ".resnets." in place or place.startswith("mid_block.resnets"):
        part, _, leaf = rest.rpartition(".")
        return f"{place}.{_RESNET.get(part, part)}.{leaf}"
    if place.endswith("downsamplers.0"):
        rest = rest.replace("op.", "conv.", 1)
    return f"{place}.{rest}"


def controlnet_config(unet: Config) -> Config:
    """Config of a ControlNet for this U-Net: its encoder, on the latents alone."""
    shared = {key: value for key, value in unet.items() if key in CONTROLNET.fields}
    return {**shared, "in_channels": unet.get("out_channels", CHANNELS)}


def controlnet_from(unet: Any, seed: int = 0) -> Any:
    """An untrained ControlNet beside a trained U-Net (Zhang et al. 2023): a copy of its encoder, the
    condition's convolutions from `seed`, outputs zero.

    An inpainting U-Net gives it the part of its first convolution that reads the latents.
    """
    from diffusers import ControlNetModel

    config = controlnet_config(read_config(UNET, unet))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        controlnet: Any = ControlNetModel.from_config(config)
    for name in ("time_embedding", "down_blocks", "mid_block"):
        getattr(controlnet, name).load_state_dict(getattr(unet, name).state_dict())
    with torch.no_grad():
        controlnet.conv_in.weight.copy_(unet.conv_in.weight[:, : config["in_channels"]])
        controlnet.conv_in.bias.copy_(unet.conv_in.bias)
    return controlnet.eval().requires_grad_(False)


@torch.no_grad()
def as_face_unet(unet: Any) -> Any:
    """The U-Net with the input of a face network: latents, mask (1 = keep), masked latents.

    A plain one is widened by channels that it does not listen to yet. Stable Diffusion's inpainting U-Net has
    them and knows the mask the other way round (1 = paint): the sign of its weights is turned and the rest
    goes into the bias, so that but for the outermost pixels it works as before.
    """
    convolution, channels = unet.conv_in, int(unet.config.out_channels)
    weight = convolution.weight
    if weight.shape[1] == channels:
        wide = torch.zeros(weight.shape[0], 2 * channels + 1, *weight.shape[2:], dtype=weight.dtype)
        wide[:, :channels] = weight
    else:
        wide = weight.clone()
        convolution.bias += wide[:, channels].sum(dim=(1, 2))
        wide[:, channels] *= -1
    convolution.weight = torch.nn.Parameter(wide, requires_grad=False)
    convolution.in_channels = wide.shape[1]
    unet.register_to_config(in_channels=wide.shape[1])
    return unet
