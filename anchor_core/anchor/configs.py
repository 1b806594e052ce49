"""Configs of networks from strangers: what is allowed, within which limits, and how older forms are read.

A config is data. Only the five classes below are built, only with the fields that are listed, and every
number has a limit, so that no file can ask for a network of a billion channels. Fields of diffusers that
are not listed must have their default value; otherwise the network would silently differ.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import AnchorError

Config = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """What a field may hold. `needs` completes the sentence "it must be ..."."""

    accepts: Callable[[Any], bool]
    needs: str


@dataclass(frozen=True)
class NetworkKind:
    """A class that may be built: its library, its name, the fields of its config, names it had before."""

    library: str
    name: str
    fields: Mapping[str, Rule]
    aliases: tuple[str, ...] = ()
    key_prefix: str = ""
    """Stands before the names of the weights in older files (transformers before 5)."""


def _whole(low: int, high: int) -> Rule:
    return Rule(lambda v: type(v) is int and low <= v <= high, f"a whole number from {low} to {high}")


def _number(low: float, high: float) -> Rule:
    return Rule(
        lambda v: type(v) in (int, float) and low <= v <= high,  # nan lies in no range
        f"a number from {low:g} to {high:g}",
    )


def _choice(*choices: Any) -> Rule:
    return Rule(
        lambda v: any(v is c or (type(v) is type(c) and v == c) for c in choices), f"one of {choices}"
    )


def _each(rule: Rule, most: int = 8) -> Rule:
    return Rule(
        lambda v: isinstance(v, (list, tuple)) and 1 <= len(v) <= most and all(map(rule.accepts, v)),
        f"a list of 1 to {most}, each {rule.needs}",
    )


def _either(*rules: Rule) -> Rule:
    return Rule(lambda v: any(r.accepts(v) for r in rules), " or ".join(r.needs for r in rules))


_FLAG = _choice(True, False)
_NONE = _choice(None)
_CHANNELS = _whole(1, 8192)
_ACTIVATION = _choice("silu", "swish", "gelu", "relu", "mish")
_DENOISER: dict[str, Rule] = {
    "in_channels": _whole(1, 256),
    "block_out_channels": _each(_CHANNELS),
    "down_block_types": _each(_choice("CrossAttnDownBlock2D", "DownBlock2D")),
    "mid_block_type": _choice("UNetMidBlock2DCrossAttn"),
    "layers_per_block": _either(_whole(1, 8), _each(_whole(1, 8))),
    "cross_attention_dim": _either(_CHANNELS, _each(_CHANNELS)),
    "attention_head_dim": _either(_whole(1, 256), _each(_whole(1, 256))),
    "transformer_layers_per_block": _either(_whole(1, 16), _each(_whole(1, 16))),
    "only_cross_attention": _either(_FLAG, _each(_FLAG)),
    "norm_num_groups": _whole(1, 1024),
    "norm_eps": _number(0, 1),
    "act_fn": _ACTIVATION,
    "use_linear_projection": _FLAG,
    "upcast_attention": _either(_FLAG, _NONE),
    "flip_sin_to_cos": _FLAG,
    "freq_shift": _number(0, 1),
    "downsample_padding": _whole(0, 1),
    "mid_block_scale_factor": _number(0, 100),
}
_CLIP: dict[str, Rule] = {
    "hidden_size": _CHANNELS,
    "intermediate_size": _whole(1, 32768),
    "num_hidden_layers": _whole(1, 64),
    "num_attention_heads": _whole(1, 128),
    "hidden_act": _choice("quick_gelu", "gelu", "gelu_new", "relu", "silu"),
    "layer_norm_eps": _number(0, 1),
}
_SIDES = _either(_whole(1, 8192), _each(_whole(1, 8192), most=2), _NONE)

UNET = NetworkKind(
    "diffusers",
    "UNet2DConditionModel",
    {
        **_DENOISER,
        "out_channels": _whole(1, 256),
        "up_block_types": _each(_choice("CrossAttnUpBlock2D", "UpBlock2D")),
        "sample_size": _SIDES,
        "center_input_sample": _FLAG,
    },
    aliases=("UNet3DConditionModel",),
)
CONTROLNET = NetworkKind(
    "diffusers",
    "ControlNetModel",
    {
        **_DENOISER,
        "conditioning_channels": _whole(1, 64),
        "conditioning_embedding_out_channels": _each(_CHANNELS),
        "controlnet_conditioning_channel_order": _choice("rgb"),
    },
    aliases=("ControlNetModel3D",),
)
VAE = NetworkKind(
    "diffusers",
    "AutoencoderKL",
    {
        "in_channels": _whole(1, 64),
        "out_channels": _whole(1, 64),
        "block_out_channels": _each(_CHANNELS),
        "down_block_types": _each(_choice("DownEncoderBlock2D")),
        "up_block_types": _each(_choice("UpDecoderBlock2D")),
        "layers_per_block": _whole(1, 8),
        "act_fn": _ACTIVATION,
        "latent_channels": _whole(1, 256),
        "norm_num_groups": _whole(1, 1024),
        "sample_size": _SIDES,
        "scaling_factor": _number(1e-6, 1e6),
        "shift_factor": _either(_number(-1e3, 1e3), _NONE),
        "force_upcast": _FLAG,
        "use_quant_conv": _FLAG,
        "use_post_quant_conv": _FLAG,
        "mid_block_add_attention": _FLAG,
    },
)
VISION = NetworkKind(
    "transformers",
    "CLIPVisionModel",
    {**_CLIP, "num_channels": _whole(1, 16), "image_size": _whole(1, 2048), "patch_size": _whole(1, 256)},
    key_prefix="vision_model.",
)
TEXT = NetworkKind(
    "transformers",
    "CLIPTextModel",
    {
        **_CLIP,
        "vocab_size": _whole(1, 10**6),
        "max_position_embeddings": _whole(1, 4096),
        "bos_token_id": _whole(0, 10**6),
        "eos_token_id": _whole(0, 10**6),
    },
    key_prefix="text_model.",
)


def clean_config(kind: NetworkKind, config: object, source: str) -> Config:
    """The config with only the fields that are known, checked, in today's form.

    source: where it comes from, for the message. Raises AnchorError that names the first bad field.
    """
    if not isinstance(config, Mapping):
        raise AnchorError(
            f"The config of {source} is not a JSON object: use the config.json that belongs to it."
        )
    _check_class(kind, config, source)
    config = {key: value for key, value in config.items() if not key.startswith("_")}
    if kind in (UNET, CONTROLNET):
        config = _modern_denoiser(config)
    for key, rule in kind.fields.items():
        if key in config and not rule.accepts(config[key]):
            shown = repr(config[key])[:80]
            raise AnchorError(f"The config of {source} says {key} = {shown}; it must be {rule.needs}.")
    if kind.library == "diffusers":
        _check_unlisted(kind, config, source)
    clean = {key: value for key, value in config.items() if key in kind.fields}
    _check_divisors(clean, source)
    return clean


def _check_class(kind: NetworkKind, config: Mapping[str, Any], source: str) -> None:
    name = config.get("_class_name")
    if name is not None and name not in (kind.name, *kind.aliases):
        raise AnchorError(
            f"The config of {source} describes a {str(name)[:60]}; a {kind.name} is needed here."
        )


def _modern_denoiser(config: Config) -> Config:
    """Older and inflated forms of the same network.

    `attention_head_dim` means the NUMBER of heads in the Stable Diffusion family (8 heads of 40 to 160
    channels); where a config has `num_attention_heads` too, that one counts, so it is moved into the first.
    """
    config = dict(config)
    heads = config.pop("num_attention_heads", None)
    if heads is not None:
        config["attention_head_dim"] = heads
    for key in ("down_block_types", "up_block_types", "mid_block_type"):
        if isinstance(config.get(key), str):
            config[key] = config[key].replace("3D", "2D")
        elif isinstance(config.get(key), (list, tuple)):
            config[key] = [str(block).replace("3D", "2D") for block in config[key]]
    return config


def _check_unlisted(kind: NetworkKind, config: Mapping[str, Any], source: str) -> None:
    parameters = inspect.signature(_network_class(kind).__init__).parameters
    for key in sorted(set(config) - set(kind.fields)):
        default = parameters[key].default if key in parameters else None
        if config[key] != default and config[key] not in (None, False):
            raise AnchorError(
                f"The config of {source} uses {key[:60]} = {repr(config[key])[:60]}, "
                "which this pack does not know: use weights of the Stable Diffusion 1.5 family."
            )


def _check_divisors(config: Config, source: str) -> None:
    """Numbers that are fine alone and impossible together."""
    channels = config.get("block_out_channels", [])
    for key in ("down_block_types", "up_block_types", "attention_head_dim", "only_cross_attention"):
        value = config.get(key)
        if channels and isinstance(value, (list, tuple)) and len(value) != len(channels):
            raise AnchorError(
                f"The config of {source} has {len(value)} entries in {key} and {len(channels)} in "
                "block_out_channels: they must be equally many."
            )
    groups = config.get("norm_num_groups", 1)
    if any(width % groups for width in channels):
        raise AnchorError(
            f"The config of {source} divides {list(channels)} channels into {groups} groups: impossible."
        )
    heads, width = config.get("num_attention_heads", 1), config.get("hidden_size", 0)
    if width % heads:
        raise AnchorError(f"The config of {source} divides {width} channels among {heads} heads: impossible.")


def build_empty(kind: NetworkKind, config: Config) -> nn.Module:
    """The network without memory for its weights (meta device), in no time; `weights.fill` fills it.

    config: of `clean_config`.
    """
    try:
        with torch.device("meta"):
            return _build(kind, config)
    except Exception as error:  # numbers that are fine alone and impossible together fail anywhere
        raise AnchorError(
            f"A {kind.name} of this config cannot be built ({error}): use the config of these weights."
        ) from error


def _build(kind: NetworkKind, config: Config) -> Any:
    if kind.library == "diffusers":
        return _network_class(kind)(**config)
    import transformers

    config_class = {"CLIPVisionModel": "CLIPVisionConfig", "CLIPTextModel": "CLIPTextConfig"}[kind.name]
    return _network_class(kind)(getattr(transformers, config_class)(**config))


def read_config(kind: NetworkKind, network: Any) -> Config:
    """The clean config of a living network."""
    config = network.config
    values = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    clean = clean_config(kind, values, type(network).__name__)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in clean.items()}


def _network_class(kind: NetworkKind) -> Any:
    if kind.library == "diffusers":
        import diffusers

        return getattr(diffusers, kind.name)
    import transformers

    return getattr(transformers, kind.name)
