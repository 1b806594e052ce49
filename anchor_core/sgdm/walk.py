"""A forward pass through the networks of diffusers for guided windows: nothing is computed twice.

A guided window is seen under several contexts (the null one and the appearance). Its frames are the same
in all of them until the first cross-attention has looked at a context, so everything before it is computed
once: the first convolution, the pose, the first ResNet block, the first attention over all frames and the
queries of the first cross-attention. From there on tensors hold one row per context, window and frame,
((B W F), C, h, w). Up to rounding the result is that of the networks' own forward passes on B copies.

Only for inference: tensors are changed in place where nothing else holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .attention import KeysValues
from .deep import DeepFeatures
from .far_keys import Grid
from .window import Window


@dataclass(frozen=True)
class Pass:
    """What stays the same in one pass through one network.

    window: F frames long, entered. images: frames of all windows, (W F). time: the time embedding, (1, D).
    keys_values: of each cross-attention layer, by `WindowAttention.number`. feed_forward_chunk: images that
    the feed-forward layers take at a time, 0: all. far_keys, deep: see `SGDM.guided`. alike: whether the
    frames of each window equal each other, as they do where a clip starts from one noise.
    """

    window: Window
    images: int
    time: Tensor
    keys_values: Sequence[KeysValues]
    feed_forward_chunk: int = 0
    far_keys: int = 1
    deep: DeepFeatures | None = None
    alike: bool = False

    @property
    def reuses(self) -> bool:
        """Whether deep features of a step before stand for everything but the outermost layers."""
        return self.deep is not None and self.deep.filled

    @property
    def contexts(self) -> int:
        """B, how many contexts every window is seen under."""
        return len(self.keys_values[0][0])

    def shared(self, features: Tensor) -> bool:
        """Whether `features` still are the same under all contexts."""
        return len(features) == self.images and self.contexts > 1

    def spread(self, features: Tensor) -> Tensor:
        """One row per context: ((B W F), ...)."""
        return features.repeat(self.contexts, 1, 1, 1) if self.shared(features) else features


@dataclass(frozen=True)
class Control:
    """What the ControlNet says: a tensor per skip connection and the mid block's, before `scale` (W_c).

    Where deep features are reused: for the first skip connection alone.
    """

    down: list[Tensor]
    mid: Tensor | None
    scale: float


def embed_time(network: Any, timestep: Tensor | float, latents: Tensor) -> Tensor:
    """Time embedding (1, D) of one time step; the activation of the ResNet blocks is still to come."""
    time = torch.as_tensor(timestep, device=latents.device).reshape(1)
    embedded = network.time_embedding(network.time_proj(time).to(latents.dtype))
    act = getattr(network, "time_embed_act", None)
    return act(embedded) if act is not None else embedded


def control(controlnet: Any, latents: Tensor, poses: Tensor, scale: float, run: Pass) -> Control:
    """The ControlNet's pass. latents: ((W F), C, h, w); poses: features of the same images."""
    features = controlnet.conv_in(latents) + poses
    if run.reuses:
        return Control([controlnet.controlnet_down_blocks[0](features)], None, scale)
    features, skips = _down(controlnet, features, run)
    features = _mid(controlnet.mid_block, features, run)
    down = [conv(skip) for conv, skip in zip(controlnet.controlnet_down_blocks, skips, strict=True)]
    return Control(down, controlnet.controlnet_mid_block(features), scale)


def denoise(unet: Any, sample: Tensor, said: Control | None, aliased: bool, run: Pass) -> Tensor:
    """The U-Net's pass, ((B W F), C, h, w). sample: ((W F), C + C_extra, h, w).

    aliased: the mid block sees the last residual too, see `network`.
    """
    if unet.config.center_input_sample:
        sample = 2 * sample - 1
    features = unet.conv_in(sample)
    inside = _outermost if run.reuses else _inside
    features = run.spread(inside(unet, features, said, aliased, run))
    if unet.conv_norm_out:
        features = unet.conv_act(unet.conv_norm_out(features))
    return unet.conv_out(features)


class Passes(NamedTuple):
    """`control` and `denoise`, or compiled ones, see `engine`."""

    control: Callable[..., Control]
    denoise: Callable[..., Tensor]


PLAIN = Passes(control, denoise)


def _inside(unet: Any, features: Tensor, said: Control | None, aliased: bool, run: Pass) -> Tensor:
    """Everything between the first and the last convolution."""
    features, skips = (_down_of_one if run.alike else _down)(unet, features, run)
    if said is not None:
        skips = [_plus(skip, extra, said.scale, run) for skip, extra in zip(skips, said.down, strict=True)]
        features = skips[-1] if aliased else features
    features = _mid(unet.mid_block, features, run)
    if said is not None and said.mid is not None:
        features = _plus(features, said.mid, said.scale, run)
    return _up(unet, features, skips, run)


def _outermost(unet: Any, features: Tensor, said: Control | None, aliased: bool, run: Pass) -> Tensor:
    """The same, where what enters the last layer is reused from a step before."""
    assert run.deep is not None  # `run.reuses` has seen it
    if said is not None:
        features = _plus(features, said.down[0], said.scale, run)
    joined = torch.cat([run.spread(run.deep.on(features.device)), run.spread(features)], dim=1)
    return _layer(*_layers(unet.up_blocks[-1])[-1], joined, run)


def _down(network: Any, features: Tensor, run: Pass) -> tuple[Tensor, list[Tensor]]:
    skips = [features]
    for block in network.down_blocks:
        for resnet, transformer in _layers(block):
            features = _layer(resnet, transformer, features, run)
            skips.append(features)
        for downsampler in block.downsamplers or ():
            features = downsampler(features)
            skips.append(features)
    return features, skips


def _down_of_one(unet: Any, features: Tensor, run: Pass) -> tuple[Tensor, list[Tensor]]:
    """`_down` where all frames of a window are alike: of one of them, in a window of its own.

    Statistics and attention are those of that frame, and no pose reaches the U-Net on its way down.
    """
    frames = run.window.frames
    run.window.frames = 1
    try:
        features, skips = _down(unet, features[::frames], replace(run, images=run.images // frames))
    finally:
        run.window.frames = frames
    # Copied with channels last, as `_to_image` leaves them.
    skips = [skip.permute(0, 2, 3, 1).repeat_interleave(frames, 0).permute(0, 3, 1, 2) for skip in skips]
    return skips[-1], skips


def _mid(block: Any, features: Tensor, run: Pass) -> Tensor:
    features = _resnet(block.resnets[0], features, run.time)
    for transformer, resnet in zip(block.attentions, block.resnets[1:], strict=True):
        features = _resnet(resnet, transform(transformer, features, run), run.time)
    return features


def _up(unet: Any, features: Tensor, skips: Sequence[Tensor], run: Pass) -> Tensor:
    left = list(skips)
    for block in unet.up_blocks:
        for resnet, transformer in _layers(block):
            if len(left) == 1 and run.deep is not None:
                run.deep.keep(features)
            joined = torch.cat([run.spread(features), run.spread(left.pop())], dim=1)
            features = _layer(resnet, transformer, joined, run)
        for upsampler in block.upsamplers or ():
            # As large as the skip that comes next: sides need not be divisible by two.
            features = upsampler(features, left[-1].shape[2:])
    return features


def _layers(block: Any) -> list[tuple[nn.Module, nn.Module | None]]:
    """ResNet blocks, each with the transformer that follows it, if there is one."""
    transformers = getattr(block, "attentions", None) or [None] * len(block.resnets)
    return list(zip(block.resnets, transformers, strict=True))


def _layer(resnet: Any, transformer: Any | None, features: Tensor, run: Pass) -> Tensor:
    features = _resnet(resnet, features, run.time)
    return features if transformer is None else transform(transformer, features, run)


def _resnet(block: Any, features: Tensor, time: Tensor) -> Tensor:
    """A ResNet block of diffusers, without its division by 1 and with fewer tensors in memory."""
    if block.time_embedding_norm != "default" or block.skip_time_act or block.upsample or block.downsample:
        return block(features, time)
    hidden = block.conv1(_activated(block, block.norm1(features)))
    hidden += block.time_emb_proj(block.nonlinearity(time))[:, :, None, None]
    hidden = block.conv2(block.dropout(_activated(block, block.norm2(hidden))))
    hidden += features if block.conv_shortcut is None else block.conv_shortcut(features)
    return hidden if block.output_scale_factor == 1 else hidden.div_(block.output_scale_factor)


def _activated(block: Any, normed: Tensor) -> Tensor:
    if isinstance(block.nonlinearity, nn.SiLU):
        return functional.silu(normed, inplace=True)
    return block.nonlinearity(normed)


def transform(transformer: Any, features: Tensor, run: Pass) -> Tensor:
    """A transformer of diffusers on (N, C, h, w), N = (W F) or (B W F), to ((B W F), C, h, w)."""
    grid = Grid(*features.shape[2:])
    tokens = _to_tokens(transformer, features)
    for block in transformer.transformer_blocks:
        tokens = _block(block, tokens, grid, run)
    return _add(_to_image(transformer, tokens, *grid), features, run)


def _to_tokens(transformer: Any, features: Tensor) -> Tensor:
    """(N, C, h, w) to (N, (h w), C)."""
    features = transformer.norm(features)
    if not transformer.use_linear_projection:
        features = transformer.proj_in(features)
    tokens = features.permute(0, 2, 3, 1).flatten(1, 2)
    return transformer.proj_in(tokens) if transformer.use_linear_projection else tokens


def _to_image(transformer: Any, tokens: Tensor, height: int, width: int) -> Tensor:
    """(N, (h w), C) to (N, C, h, w), channels last in memory."""
    if transformer.use_linear_projection:
        tokens = transformer.proj_out(tokens)
    image = tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)
    return image if transformer.use_linear_projection else transformer.proj_out(image)


def _block(block: Any, tokens: Tensor, grid: Grid, run: Pass) -> Tensor:
    # No name holds a tensor that has done its work: memory peaks here.
    tokens = _add(_attend_first(block, block.norm1(tokens), grid, run), tokens, run)
    tokens = _add(_attend(block.attn2, block.norm2(tokens), run), tokens, run)
    for part in tokens.split(run.feed_forward_chunk or len(tokens)):
        part += _feed_forward(block.ff, block.norm3(part))
    return tokens


def _feed_forward(layers: Any, tokens: Tensor) -> Tensor:
    """The feed-forward layers of diffusers; the gate is applied in place."""
    first, *others = layers.net
    hidden = _gated(first, tokens) if type(first).__name__ == "GEGLU" else first(tokens)
    for layer in others:
        hidden = layer(hidden)
    return hidden


def _gated(first: Any, tokens: Tensor) -> Tensor:
    hidden, gate = first.proj(tokens).chunk(2, dim=-1)
    return functional.gelu(gate).mul_(hidden)


def _attend_first(block: Any, tokens: Tensor, grid: Grid, run: Pass) -> Tensor:
    if block.only_cross_attention:
        return _attend(block.attn1, tokens, run)
    return block.attn1.processor.attend_own(block.attn1, tokens, grid, run.far_keys)


def _attend(attn: Any, tokens: Tensor, run: Pass) -> Tensor:
    keys_values = run.keys_values[attn.processor.number]
    return attn.processor.attend_to_contexts(attn, tokens, keys_values, run.shared(tokens))


def _add(fresh: Tensor, before: Tensor, run: Pass) -> Tensor:
    """fresh += before, for each context where they share what was before. Nobody else may hold `fresh`."""
    if len(fresh) == len(before):
        return fresh.add_(before)
    fresh.unflatten(0, (-1, run.images)).add_(before)
    return fresh


def _plus(features: Tensor, extra: Tensor, scale: float, run: Pass) -> Tensor:
    """features + scale * extra; whichever is shared by the contexts counts for each of them."""
    if len(features) == len(extra):
        return torch.add(features, extra, alpha=scale)
    grouped = (tensor.unflatten(0, (-1, run.images)) for tensor in (features, extra))
    return torch.add(*grouped, alpha=scale).flatten(0, 1)
