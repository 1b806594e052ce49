"""Low-rank updates of an SGDM's layers (LoRA, Hu et al. 2021): W + up @ down, with few numbers per layer.

An update is a pair of tensors under the layer's name in the SGDM, such as
`unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.down` (r, in) and `.up` (out, r). For a
convolution, `down` is (r, in, kh, kw): r filters whose answers `up` mixes. Scales are inside of `up`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import AnchorError

DOWN, UP = ".down", ".up"
_SHOWN = 3  # names that a message lists


@torch.no_grad()
def add_low_rank(sgdm: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Add updates to the weights themselves, in place, in the weights' own number type.

    tensors: {layer + ".down" or ".up": tensor}; source: where they come from, for the message. Everything
    is compared before any weight is changed. Raises AnchorError for layers that the network does not have,
    shapes that do not fit, and sums that are not finite.
    """
    pairs = {layer: check_pair(sgdm, layer, tensors, source) for layer in layers_of(tensors, source)}
    for layer, (down, up) in pairs.items():
        weight = sgdm.get_submodule(layer).weight
        assert isinstance(weight, Tensor)  # `check_pair` has seen its shape
        update = (up.float() @ down.float().flatten(1)).view(weight.shape)
        total = (weight.float() + update.to(weight.device)).to(weight.dtype)
        if not bool(torch.isfinite(total).all()):
            raise AnchorError(
                f"{source} makes {layer} not finite in {weight.dtype}: load it in float32, or save it again."
            )
        weight.copy_(total)


def layers_of(tensors: Mapping[str, object], source: str) -> list[str]:
    """Names of the layers that are updated; AnchorError where one half of a pair is missing."""
    halves = {end: {name.removesuffix(end) for name in tensors if name.endswith(end)} for end in (DOWN, UP)}
    odd = sorted(halves[DOWN] ^ halves[UP]) + [name for name in tensors if not name.endswith((DOWN, UP))]
    if odd:
        raise AnchorError(
            f"{source} holds {len(odd)} low-rank tensors without their other half ({odd[0][:80]}): "
            "download or save it again."
        )
    return sorted(halves[DOWN])


def check_pair(
    sgdm: nn.Module, layer: str, tensors: Mapping[str, Tensor], source: str
) -> tuple[Tensor, Tensor]:
    """The two halves of a layer's update; AnchorError unless the layer exists and they fit its weight."""
    try:
        module: nn.Module | None = sgdm.get_submodule(layer)
    except AttributeError:
        module = None
    if not isinstance(module, nn.Linear | nn.Conv2d):
        raise AnchorError(
            f"{source} changes the layer {layer[:120]}, which its base does not have: "
            "use the base that it was trained on."
        )
    down, up = tensors[layer + DOWN], tensors[layer + UP]
    shape = tuple(module.weight.shape)
    fits = up.ndim == 2 and up.shape == (shape[0], len(down)) and tuple(down.shape[1:]) == shape[1:]
    if not fits or not math.prod(up.shape) or not (down.is_floating_point() and up.is_floating_point()):
        raise AnchorError(
            f"{source} holds {list(up.shape)} x {list(down.shape)} for {layer[:120]}, whose weight is "
            f"{list(shape)}: use the base that it was trained on."
        )
    return down, up
