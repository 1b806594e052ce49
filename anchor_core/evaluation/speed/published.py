"""The published sampling loop, written plainly: what every speed of this package is compared with.

Make-Your-Anchor (Huang et al., CVPR 2024) runs its networks on volumes (B, C, F, h, w): every convolution
folds the frames into the batch and unfolds them again, GroupNorm of the ResNet blocks works on the volume,
the transformers repeat the appearance tokens for every frame, and at each step each window is predicted on
the batch [unconditional, conditional] with the condition embedding computed anew for both. Sums of both are
kept apart, divided by how often a frame was seen, guided, and given to DDIM.

Neither slower nor faster than that: nothing is remembered between windows and nothing is done twice that
the published code does once. It walks over the weights of one of our SGDMs, so that both compute the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ...sampling.sampler import SamplerSettings
from ...sampling.schedulers import NoiseSchedule, make_scheduler
from ...sampling.windows import plan_windows
from ...sgdm.network import SGDM

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(query, key, value), each ((B heads), tokens, c), to the shape of the query."""


def written_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention as the published code has it without xformers: all scores are held."""
    shape = (query.shape[0], query.shape[1], key.shape[1])
    empty = torch.empty(shape, dtype=query.dtype, device=query.device)
    scores = torch.baddbmm(empty, query, key.transpose(1, 2), beta=0, alpha=query.shape[2] ** -0.5)
    return torch.bmm(scores.softmax(dim=-1).to(value.dtype), value)


def fused_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention by torch's kernel that holds no scores: what xformers does for the published code."""
    query, key, value = (one.contiguous()[None] for one in (query, key, value))  # B heads tokens c
    return functional.scaled_dot_product_attention(query, key, value)[0]


class PublishedNetworks:
    """A copy of the U-Net and the ControlNet of an SGDM, run as the published modules run.

    The copy is stored as torch stores weights by default: an SGDM in `channels_last` does not speed it up.
    """

    def __init__(self, sgdm: SGDM, attention: Attention = written_attention) -> None:
        self.unet, self.controlnet = (
            copy.deepcopy(part).to(memory_format=torch.contiguous_format).eval()
            for part in (sgdm.unet, sgdm.controlnet)
        )
        self.attention = attention

    def predict(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        tokens: torch.Tensor,
        pose: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """The noise in a window: sample (B, C, F, h, w), tokens (B, T, D), pose (B, 3, F, H, W) in [0, 1]."""
        down, mid = self.control(sample, timestep, tokens, pose, scale)
        return self.denoise(sample, timestep, tokens, down, mid)

    def control(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        tokens: torch.Tensor,
        pose: torch.Tensor,
        scale: float,
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Residuals of the ControlNet for the skip connections and the mid block, times `scale` (W_c)."""
        network = self.controlnet
        time = embed_time(network, timestep, len(sample))
        sample = convolve(network.conv_in, sample)
        sample += embed_condition(network.controlnet_cond_embedding, pose)
        skips, sample = self._down(network, sample, time, tokens, joined=False)
        sample = self._mid(network.mid_block, sample, time, tokens, joined=False)
        outputs = zip(skips, network.controlnet_down_blocks, strict=True)
        residuals = [convolve(output, skip) for skip, output in outputs]
        mid = convolve(network.controlnet_mid_block, sample)
        return [residual * scale for residual in residuals], mid * scale

    def denoise(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        tokens: torch.Tensor,
        residuals: list[torch.Tensor],
        mid: torch.Tensor,
    ) -> torch.Tensor:
        """The U-Net's prediction. Residuals are added in place: the last into the mid block's input too."""
        network = self.unet
        time = embed_time(network, timestep, len(sample))
        sizes = _sizes_to_tell(network, sample)
        skips, sample = self._down(network, convolve(network.conv_in, sample), time, tokens, joined=True)
        for skip, residual in zip(skips, residuals, strict=True):
            skip += residual
        sample = self._mid(network.mid_block, sample, time, tokens, joined=True)
        sample = sample + mid
        for block in network.up_blocks:
            sample = self._up(block, sample, skips, time, tokens, sizes)
        sample = functional.silu(normalize(network.conv_norm_out, sample))
        return convolve(network.conv_out, sample)

    def _down(
        self, network: Any, sample: torch.Tensor, time: torch.Tensor, tokens: torch.Tensor, joined: bool
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        skips = [sample]
        for block in network.down_blocks:
            for resnet, transformer in _layers(block):
                sample = resnet_block(resnet, sample, time)
                if transformer is not None:
                    sample = self._transformer(transformer, sample, tokens, joined)
                skips.append(sample)
            for downsampler in block.downsamplers or ():
                sample = convolve(downsampler.conv, sample)
                skips.append(sample)
        return skips, sample

    def _mid(
        self, block: Any, sample: torch.Tensor, time: torch.Tensor, tokens: torch.Tensor, joined: bool
    ) -> torch.Tensor:
        sample = resnet_block(block.resnets[0], sample, time)
        for transformer, resnet in zip(block.attentions, block.resnets[1:], strict=True):
            sample = self._transformer(transformer, sample, tokens, joined)
            sample = resnet_block(resnet, sample, time)
        return sample

    def _up(
        self,
        block: Any,
        sample: torch.Tensor,
        skips: list[torch.Tensor],
        time: torch.Tensor,
        tokens: torch.Tensor,
        sizes: bool,
    ) -> torch.Tensor:
        for resnet, transformer in _layers(block):
            sample = resnet_block(resnet, torch.cat([sample, skips.pop()], dim=1), time)
            if transformer is not None:
                sample = self._transformer(transformer, sample, tokens, joined=True)
        for upsampler in block.upsamplers or ():
            larger = upsample(sample, tuple(skips[-1].shape[2:]) if sizes else None)
            sample = convolve(upsampler.conv, larger)
        return sample

    def _transformer(
        self, module: Any, sample: torch.Tensor, tokens: torch.Tensor, joined: bool
    ) -> torch.Tensor:
        """Frame by frame but for the self-attention; joined: over all frames of the window."""
        frames = sample.shape[2]
        images = fold(sample)
        context = tokens[:, None].expand(-1, frames, -1, -1).reshape(-1, *tokens.shape[1:])  # (B F) T D
        count, _, height, width = images.shape
        hidden = normalize(module.norm, images)
        if isinstance(module.proj_in, nn.Conv2d):
            hidden = _conv(module.proj_in, hidden).permute(0, 2, 3, 1).reshape(count, height * width, -1)
        else:
            hidden = _linear(module.proj_in, hidden.permute(0, 2, 3, 1).reshape(count, height * width, -1))
        for block in module.transformer_blocks:
            hidden = (
                self._attend(block.attn1, _layer_norm(block.norm1, hidden), None, joined * frames) + hidden
            )
            hidden = self._attend(block.attn2, _layer_norm(block.norm2, hidden), context, 0) + hidden
            hidden = feed_forward(block.ff, _layer_norm(block.norm3, hidden)) + hidden
        if isinstance(module.proj_out, nn.Conv2d):
            hidden = hidden.reshape(count, height, width, -1).permute(0, 3, 1, 2).contiguous()
            hidden = _conv(module.proj_out, hidden)
        else:
            hidden = _linear(module.proj_out, hidden)
            hidden = hidden.reshape(count, height, width, -1).permute(0, 3, 1, 2).contiguous()
        return unfold(hidden + images, frames)

    def _attend(
        self, attn: Any, hidden: torch.Tensor, context: torch.Tensor | None, frames: int
    ) -> torch.Tensor:
        """((B F), tokens, c): over single images, or with `frames` over all tokens of so many of them."""
        source = hidden if context is None else context
        query = _linear(attn.to_q, hidden)
        key, value = _linear(attn.to_k, source), _linear(attn.to_v, source)
        if frames:  # (B F) T c -> B (F T) c
            query, key, value = (
                one.reshape(-1, frames * one.shape[1], one.shape[2]) for one in (query, key, value)
            )
        heads = (_heads_to_batch(one, attn.heads) for one in (query, key, value))
        attended = _batch_to_heads(self.attention(*heads), attn.heads)
        return _linear(attn.to_out[0], attended).reshape(hidden.shape)


@torch.no_grad()
def published_loop(
    networks: PublishedNetworks,
    pose: torch.Tensor,
    tokens: torch.Tensor,
    settings: SamplerSettings,
    noise_schedule: NoiseSchedule,
    noise: torch.Tensor,
) -> torch.Tensor:
    """Denoise a clip as published: (N, C, h, w) in the type of the networks, on their device.

    pose: (N, H, W, 3) uint8; tokens: (2, T, D) [null, appearance]; noise: (N, C, h, w). settings: steps,
    scales, window_size and overlap; the rest is as published (windows `reference`, DDIM, guidance on).
    """
    weight = networks.unet.conv_in.weight
    scheduler = make_scheduler("ddim", noise_schedule)
    scheduler.set_timesteps(settings.steps, device=weight.device)
    frames = pose.permute(3, 0, 1, 2)[None].to(weight.device, weight.dtype) / 255  # (1, 3, N, H, W)
    frames = torch.cat([frames] * 2)
    tokens = tokens.to(weight.device, weight.dtype)
    latents = noise.transpose(0, 1)[None].to(weight.device, weight.dtype) * scheduler.init_noise_sigma
    plan = plan_windows(len(pose), settings.window_size, settings.overlap, "reference")
    windows = [list(window) for window in plan]
    for timestep in scheduler.timesteps:
        if latents.is_cuda:
            torch.cuda.empty_cache()
        inputs = scheduler.scale_model_input(torch.cat([latents] * 2), timestep)
        null, conditional = torch.zeros_like(latents), torch.zeros_like(latents)
        count = torch.zeros((1, 1, latents.shape[2], 1, 1), device=latents.device)
        for ids in windows:
            both = networks.predict(
                inputs[:, :, ids], timestep, tokens, frames[:, :, ids], settings.condition_scale
            )
            of_null, of_conditional = both.chunk(2)
            conditional[:, :, ids] += of_conditional
            null[:, :, ids] += of_null
            count[:, :, ids] += 1
        conditional /= count
        null /= count
        guided = null + settings.guidance_scale * (conditional - null)
        latents = scheduler.step(guided, timestep, latents).prev_sample
    return latents[0].transpose(0, 1)


def fold(volume: torch.Tensor) -> torch.Tensor:
    """B C F h w -> (B F) C h w."""
    return volume.transpose(1, 2).reshape(-1, volume.shape[1], *volume.shape[3:])


def unfold(images: torch.Tensor, frames: int) -> torch.Tensor:
    """(B F) C h w -> B C F h w."""
    return images.reshape(-1, frames, *images.shape[1:]).transpose(1, 2)


def convolve(conv: Any, volume: torch.Tensor) -> torch.Tensor:
    """A 2-D convolution of a volume, image by image."""
    return unfold(_conv(conv, fold(volume)), volume.shape[2])


def normalize(norm: Any, sample: torch.Tensor) -> torch.Tensor:
    """GroupNorm of images, or of a volume: then with one mean and variance for all of its frames."""
    return functional.group_norm(sample, norm.num_groups, norm.weight, norm.bias, norm.eps)


def resnet_block(block: Any, volume: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """A ResNet block on a volume."""
    hidden = convolve(block.conv1, functional.silu(normalize(block.norm1, volume)))
    hidden = hidden + _linear(block.time_emb_proj, functional.silu(time))[:, :, None, None, None]
    hidden = convolve(block.conv2, functional.silu(normalize(block.norm2, hidden)))
    if block.conv_shortcut is not None:
        volume = convolve(block.conv_shortcut, volume)
    return (volume + hidden) / block.output_scale_factor


def upsample(volume: torch.Tensor, size: tuple[int, ...] | None) -> torch.Tensor:
    """Twice the height and width, or `size` (F, h, w), by repeating pixels."""
    if size is None:
        return functional.interpolate(volume, scale_factor=[1.0, 2.0, 2.0], mode="nearest")
    return functional.interpolate(volume, size=list(size), mode="nearest")


def embed_time(network: Any, timestep: torch.Tensor, batch: int) -> torch.Tensor:
    """(B, channels) of a time step."""
    return network.time_embedding(network.time_proj(timestep[None].expand(batch)).to(network.dtype))


def embed_condition(embedding: Any, pose: torch.Tensor) -> torch.Tensor:
    """(B, 3, F, H, W) pictures to a volume of features."""
    hidden = functional.silu(convolve(embedding.conv_in, pose))
    for block in embedding.blocks:
        hidden = functional.silu(convolve(block, hidden))
    return convolve(embedding.conv_out, hidden)


def feed_forward(module: Any, hidden: torch.Tensor) -> torch.Tensor:
    """GEGLU and a linear layer."""
    gated, _, linear = module.net
    hidden, gate = _linear(gated.proj, hidden).chunk(2, dim=-1)
    return _linear(linear, hidden * functional.gelu(gate))


def _layers(block: Any) -> list[tuple[Any, Any]]:
    """ResNet blocks of a level, each with the transformer behind it, if there are any."""
    attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
    return list(zip(block.resnets, attentions, strict=True))


def _sizes_to_tell(network: Any, sample: torch.Tensor) -> bool:
    """Whether halving and doubling would not lead back to the size of the latents."""
    factor = 2 ** (len(network.up_blocks) - 1)
    return any(side % factor for side in sample.shape[3:])


def _heads_to_batch(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """B T (heads c) -> (B heads) T c."""
    batch, length, width = tokens.shape
    split = tokens.reshape(batch, length, heads, width // heads).permute(0, 2, 1, 3)
    return split.reshape(batch * heads, length, width // heads)


def _batch_to_heads(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """(B heads) T c -> B T (heads c)."""
    count, length, width = tokens.shape
    joined = tokens.reshape(count // heads, heads, length, width).permute(0, 2, 1, 3)
    return joined.reshape(count // heads, length, heads * width)


def _conv(conv: Any, images: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(images, conv.weight, conv.bias, conv.stride, conv.padding)


def _linear(linear: Any, tokens: torch.Tensor) -> torch.Tensor:
    return functional.linear(tokens, linear.weight, linear.bias)


def _layer_norm(norm: Any, tokens: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(tokens, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
