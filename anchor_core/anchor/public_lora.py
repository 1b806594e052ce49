"""Low-rank updates in the files that people share (LoRA, Hu et al. 2021), added to the networks of an anchor.

Files of kohya's sd-scripts (`lora_unet_<layer with _>.lora_down.weight`, `.alpha`), of diffusers in all its
spellings, and of ComfyUI (`diffusion_model.<layer>`) for Stable Diffusion 1.5. They are data: safetensors
only. What they say of the text encoder is left out, as an anchor looks at pictures. Such updates were not
trained on the anchor; the reason to have them are those that distil the steps (LCM-LoRA, Luo et al. 2023,
arXiv 2311.05556).
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from ..errors import AnchorError
from ..sgdm.low_rank import DOWN, UP, add_low_rank, check_pair, layers_of
from .base_unet import diffusers_unet_names
from .kinds import ANCHOR_KEY, describe
from .weights import TensorFile, open_tensors, read_header

if TYPE_CHECKING:
    from .file import Anchor

logger = logging.getLogger("anchor")

ALPHA = ".alpha"
_ENDS: tuple[tuple[str, str], ...] = (
    (r"\.lora_down(\.default)?\.weight", DOWN),
    (r"\.lora_up(\.default)?\.weight", UP),
    (r"\.lora_A(\.\w+)?\.weight", DOWN),
    (r"\.lora_B(\.\w+)?\.weight", UP),
    (r"(\.lora\.|_lora\.)down\.weight", DOWN),
    (r"(\.lora\.|_lora\.)up\.weight", UP),
    (r"\.alpha", ALPHA),
)
_TEXT = ("lora_te_", "lora_te1_", "lora_te2_", "text_encoder.", "text_encoder_2.")
_UNET = ("lora_unet_", "unet.", "base_model.model.unet.", "base_model.model.", "diffusion_model.", "")
_CONTROL = ("lora_controlnet_", "controlnet.", "base_model.model.controlnet.")
_ADAPTER_KEY = "lora_adapter_metadata"  # where diffusers writes what peft knows of the updates


class _Entry(NamedTuple):
    """layer: its name in the SGDM; part: `.down`, `.up` or `.alpha`."""

    layer: str
    part: str


def add_public_lora(
    anchor: Anchor,
    path: str | os.PathLike[str],
    scale: float = 1.0,
    stages: Sequence[str] = ("body", "face"),
) -> None:
    """Add a shared file's updates, times `scale`, to the networks of those stages that the anchor has.

    The weights in memory are changed, no file. Raises AnchorError for a file that is no LoRA of this kind of
    network, and for a scale that is no number; then nothing has been changed.
    """
    if not math.isfinite(scale) or abs(scale) > 10:
        raise AnchorError(f"The LoRA's scale is {scale}: need a number from -10 to 10; usual is 1.")
    networks = [network for stage in stages if (network := getattr(anchor, stage)) is not None]
    for network, updates in [(network, read_public_lora(network, path, scale)) for network in networks]:
        add_low_rank(network, updates, Path(path).name)


def read_public_lora(sgdm: nn.Module, path: str | os.PathLike[str], scale: float = 1.0) -> dict[str, Tensor]:
    """The updates of a shared file by the names of `sgdm/low_rank.py`, scales inside of `.up`."""
    path, header = Path(path), read_header(path)
    if ANCHOR_KEY in header.metadata:
        raise AnchorError(f"{path.name} is an anchor and no LoRA of another program: load it as the anchor.")
    with open_tensors(path) as source:
        entries = _entries(sgdm, source)
        tensors = {entry.layer + entry.part: source.read(name).float() for name, entry in entries.items()}
    halves = {name: tensor for name, tensor in tensors.items() if not name.endswith(ALPHA)}
    alpha = _default_alpha(header.metadata)
    updates: dict[str, Tensor] = {}
    for layer in layers_of(halves, path.name):
        weight = sgdm.get_submodule(layer).weight
        assert isinstance(weight, Tensor)  # `_spellings` lists no other layers
        down, up = _shaped(halves[layer + DOWN], halves[layer + UP], weight.shape)
        check_pair(sgdm, layer, {layer + DOWN: down, layer + UP: up}, path.name)
        own = tensors.get(layer + ALPHA)
        strength = float(own.reshape(-1)[0]) if own is not None else len(down) if alpha is None else alpha
        updates |= {layer + DOWN: down, layer + UP: up * (scale * strength / len(down))}
    return updates


def _entries(sgdm: nn.Module, source: TensorFile) -> dict[str, _Entry]:
    """{name in the file: what it is}, without the text encoder."""
    spellings = _spellings(sgdm)
    entries, text, odd = {}, 0, []
    for name in source.shapes:
        if name.startswith(_TEXT):
            text += 1
        elif (entry := _entry(name, spellings, sgdm)) is None:
            odd.append(name)
        else:
            entries[name] = entry
    if odd or not entries:
        raise AnchorError(_refusal(source, odd))
    if text:
        logger.info("%s: %d tensors of the text encoder are left out", source.path.name, text)
    return entries


def _refusal(source: TensorFile, odd: list[str]) -> str:
    kind = describe(source.shapes, source.metadata)
    what = "it changes no U-Net"
    if odd:
        what = f"{len(odd)} of {len(source.shapes)} tensors fit no layer of this anchor ({odd[0][:100]})"
    return (
        f"{source.path.name} is {kind}; {what}: give a LoRA of Stable"
        " Diffusion 1.5 in kohya's or diffusers' names, or one that was trained on this anchor."
    )


def _entry(name: str, spellings: Mapping[str, str], sgdm: nn.Module) -> _Entry | None:
    for ending, part in _ENDS:
        layer = re.sub(ending + "$", "", name)
        if layer == name:
            continue
        for prefixes, network in ((_CONTROL, "controlnet."), (_UNET, "unet.")):
            for prefix in prefixes:
                rest = _plain(layer.removeprefix(prefix), sgdm)
                if layer.startswith(prefix) and network + rest in spellings:
                    return _Entry(spellings[network + rest], part)
    return None


def _plain(layer: str, sgdm: nn.Module) -> str:
    """A layer's name in the spelling that `_spellings` lists."""
    layer = re.sub(r"\.processor\.(to_[qkv])$", r".\1", layer)  # diffusers before 2024
    layer = re.sub(r"(\.processor)?\.to_out$", ".to_out.0", layer)
    if layer.startswith(("input_blocks.", "output_blocks.", "middle_block.", "time_embed.", "out.")):
        layers = int(sgdm.unet.config.layers_per_block)  # type: ignore[union-attr, arg-type]
        with suppress(IndexError):  # a block that no U-Net of this kind has
            (layer,) = diffusers_unet_names([layer + ".weight"], layers)
        layer = layer.removesuffix(".weight")
    return layer


def _spellings(sgdm: nn.Module) -> dict[str, str]:
    """{network and a spelling of the layer: the layer's name}; kohya writes every dot as _."""
    layers = [name for name, module in sgdm.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    both: dict[str, str] = {}
    for layer in layers:
        network, _, rest = layer.partition(".")
        both |= {layer: layer, f"{network}.{rest.replace('.', '_')}": layer}
    return both


def _shaped(down: Tensor, up: Tensor, weight: Sequence[int]) -> tuple[Tensor, Tensor]:
    """1 x 1 convolutions are written with and without their sides; what fits no way is left to the check."""
    if up.ndim == 4 and up.shape[2:] == (1, 1):
        up = up.flatten(1)
    if len(down) and down[0].numel() == math.prod(weight[1:]) and down.ndim in (2, 4):
        down = down.reshape(len(down), *weight[1:])
    return down, up


def _default_alpha(metadata: Mapping[str, str]) -> float | None:
    """The alpha of layers that have none of their own, where diffusers wrote one; None: the rank."""
    try:
        facts: Any = json.loads(metadata.get(_ADAPTER_KEY, "{}"))
        value = facts.get("unet.lora_alpha")
        return None if value is None else float(value)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
