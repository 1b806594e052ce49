"""Low-rank fine-tuning (LoRA, Hu et al. 2021, arXiv 2106.09685): a person in some tens of megabytes.

    layer(x) + alpha / rank * up(down(x)),   up = 0 at the start, the layer itself frozen

By default the projections of all attentions of U-Net and ControlNet are updated, as in the paper. The layers
of diffusers stay what and where they are: updates are added by hooks, so state dict, saving and sampling
know nothing of them.

    layers = attach_lora(sgdm, rank=16, alpha=16)   # exactly what is trained; also sgdm.low_rank
    fit(layers, ...)
    save_lora(anchor, {"body": lora_tensors(sgdm)}, base, path)   # anchor/lora.py: a small anchor file
    merge_lora(sgdm)                                # or: into the weights, for a whole anchor file
"""

from __future__ import annotations

import math
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import AnchorError
from ..sgdm.low_rank import DOWN, UP, add_low_rank
from ..sgdm.network import SGDM
from .config import LoraLayers

MAX_RANK = 1024
_PROJECTIONS = (".to_q", ".to_k", ".to_v", ".to_out.0")
_BLOCKS = (".down_blocks.", ".mid_block.", ".up_blocks.")


class LowRank(nn.Module):
    """The update of one layer: `down` (r, in[, kh, kw]) and `up` (out, r), float32."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, scale: float, seed: torch.Generator) -> None:
        super().__init__()
        weight = layer.weight
        if isinstance(layer, nn.Conv2d) and (layer.groups != 1 or layer.padding_mode != "zeros"):
            raise ValueError("convolutions with groups or padding of other values than zero are not known")
        bound = 1 / math.sqrt(math.prod(weight.shape[1:]))  # torch's own start of linear layers
        down = torch.empty(rank, *weight.shape[1:]).uniform_(-bound, bound, generator=seed)
        self.scale = scale
        self.down = nn.Parameter(down.to(weight.device))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank, device=weight.device))

    def add(self, layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Forward hook of the layer."""
        x = args[0]
        # Masters stay in float32 beside a base in half precision.
        down, up = self.down.to(x.dtype), self.up.to(x.dtype)
        if isinstance(layer, nn.Conv2d):
            hidden = functional.conv2d(x, down, None, layer.stride, layer.padding, layer.dilation)
            return output + self.scale * functional.conv2d(hidden, up[:, :, None, None])
        return output + self.scale * functional.linear(functional.linear(x, down), up)


class LowRankLayers(nn.Module):
    """The updates of a network: its parameters are exactly what is trained.

    updates: {name of the layer in the SGDM, with "/" for ".": LowRank}.
    """

    def __init__(self, updates: dict[str, LowRank]) -> None:
        super().__init__()
        self.updates = nn.ModuleDict({name.replace(".", "/"): update for name, update in updates.items()})
        self.hooks: list[torch.utils.hooks.RemovableHandle] = []

    def tensors(self) -> dict[str, Tensor]:
        """{layer + ".down" or ".up": tensor}, detached; scales are inside of `up`."""
        found = {}
        for key, update in self.updates.items():
            name, update = key.replace("/", "."), cast(LowRank, update)
            found[name + DOWN] = update.down.detach()
            found[name + UP] = update.up.detach() * update.scale
        return found


def attach_lora(
    sgdm: SGDM, rank: int, alpha: float, *, layers: LoraLayers = "attention", seed: int = 0
) -> LowRankLayers:
    """Freeze `sgdm` and give its layers low-rank updates; returns the module that holds exactly these.

    The updates are `sgdm.low_rank` from then on: they move with the network and act in its forward pass.
    rank: 1 to 1024; alpha: strength, the update is scaled by alpha / rank; seed: of their start.
    Raises AnchorError for numbers out of range, and for a ControlNet that has not been trained: its zero
    convolutions stay frozen, so nothing of the mesh would arrive.
    """
    _check(sgdm, rank, alpha, layers)
    sgdm.requires_grad_(False)
    generator = torch.Generator("cpu").manual_seed(seed)
    chosen = _chosen(sgdm, layers)
    updates = {name: LowRank(layer, rank, alpha / rank, generator) for name, layer in chosen.items()}
    low_rank = LowRankLayers(updates)
    low_rank.hooks = [layer.register_forward_hook(updates[name].add) for name, layer in chosen.items()]
    sgdm.low_rank = low_rank
    return low_rank


def lora_tensors(sgdm: SGDM) -> dict[str, Tensor]:
    """What a file of the attached updates holds: {layer + ".down" or ".up": tensor}."""
    return _attached(sgdm).tensors()


def merge_lora(sgdm: SGDM) -> None:
    """Add the attached updates to the weights and take them off; the network gives the same as before."""
    layers = _attached(sgdm)
    add_low_rank(sgdm, layers.tensors(), "the low-rank training")
    for hook in layers.hooks:
        hook.remove()
    del sgdm.low_rank


def low_rank_size(sgdm: SGDM, rank: int, layers: LoraLayers = "attention") -> int:
    """Numbers in the updates that `attach_lora` would give; `sgdm` may be without weights ("meta")."""
    shapes = [layer.weight.shape for layer in _chosen(sgdm, layers).values()]
    return sum(rank * (shape[0] + math.prod(shape[1:])) for shape in shapes)


def has_lora(sgdm: nn.Module) -> bool:
    """Whether updates are attached that are not yet merged."""
    return isinstance(getattr(sgdm, "low_rank", None), LowRankLayers)


def _attached(sgdm: SGDM) -> LowRankLayers:
    if not has_lora(sgdm):
        raise AnchorError("The network has no low-rank layers: attach them before the training.")
    return cast(LowRankLayers, sgdm.low_rank)


def _chosen(sgdm: SGDM, layers: LoraLayers) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers that get updates, by name."""
    known = {name: layer for name, layer in sgdm.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    if layers == "attention":
        return {name: layer for name, layer in known.items() if name.endswith(_PROJECTIONS)}
    return {name: layer for name, layer in known.items() if any(block in name for block in _BLOCKS)}


def _check(sgdm: SGDM, rank: int, alpha: float, layers: str) -> None:
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise AnchorError(f"lora_rank is {rank}; need a whole number from 1 to {MAX_RANK}; usual is 16")
    if not 0 < alpha <= MAX_RANK:
        raise AnchorError(
            f"lora_alpha is {alpha}; need more than 0 and at most {MAX_RANK}; usual is the rank"
        )
    if layers not in get_args(LoraLayers):
        raise AnchorError(f"lora_layers is {layers!r}; need 'attention' or 'all'; choose one of them")
    if has_lora(sgdm):
        raise AnchorError("the network has low-rank layers already; merge them first")
    outputs = [*sgdm.controlnet.controlnet_down_blocks, sgdm.controlnet.controlnet_mid_block]
    if not any(bool(parameter.any()) for output in outputs for parameter in output.parameters()):
        raise AnchorError(
            "the ControlNet has never been trained: all its outputs are zero, and low-rank layers would leave"
            " them so; start from a pre-trained anchor, or train all weights (lora_rank = 0)"
        )
