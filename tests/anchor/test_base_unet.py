"""The base model's U-Net: names as diffusers converts them, its ControlNet, its way to a face network."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from anchor_core.anchor.base_unet import (
    PREFIX,
    UNET_CONFIG,
    as_face_unet,
    base_unet_config,
    controlnet_from,
    diffusers_unet_names,
    load_base_unet,
)
from anchor_core.errors import AnchorError

from . import models

RESNET = ("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3")
ATTENTION = ("norm", "proj_in", "proj_out", "transformer_blocks.0.attn2.to_k", "transformer_blocks.0.norm3")


def checkpoint_names():
    """Places of the weights in a Stable Diffusion 1.5 checkpoint."""
    places = ["time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2"]
    for number in range(1, 12):
        if number % 3 == 0:
            places.append(f"input_blocks.{number}.0.op")
            continue
        places += [f"input_blocks.{number}.0.{part}" for part in RESNET]
        if number < 9:
            places += [f"input_blocks.{number}.1.{part}" for part in ATTENTION]
    places += [f"input_blocks.{number}.0.skip_connection" for number in (4, 7)]
    for number in range(12):
        places += [f"output_blocks.{number}.0.{part}" for part in (*RESNET, "skip_connection")]
        if number >= 3:
            places += [f"output_blocks.{number}.1.{part}" for part in ATTENTION]
    places += [f"output_blocks.{number}.{part}.conv" for number, part in ((2, 1), (5, 2), (8, 2))]
    places += [f"middle_block.{number}.{part}" for number in (0, 2) for part in RESNET]
    places += [f"middle_block.1.{part}" for part in ATTENTION]
    return [place + end for place in places for end in (".weight", ".bias")]


def test_names_are_those_that_diffusers_converts_to():
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    names = checkpoint_names()
    numbered = {PREFIX + name: torch.tensor(number) for number, name in enumerate(names)}
    config = {**UNET_CONFIG, "class_embed_type": None, "addition_embed_type": None}
    converted = convert_ldm_unet_checkpoint(dict(numbered), config)
    wanted = {name: names[int(number)] for name, number in converted.items()}
    assert diffusers_unet_names(names) == wanted


def test_no_unet_inside(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"first_stage_model.encoder.conv_in.weight": torch.zeros(1)}, path)
    with pytest.raises(AnchorError, match=r"other\.safetensors is a VAE and holds no U-Net of Stable"):
        load_base_unet(path)


def test_inpainting_is_told_by_its_shape(tmp_path):
    path = tmp_path / "sd.safetensors"
    save_file({PREFIX + "input_blocks.0.0.weight": torch.zeros(320, 9, 3, 3)}, path)
    assert base_unet_config(path)["in_channels"] == 9
    with pytest.raises(AnchorError, match=r"sd\.safetensors does not fit the U-Net of Stable Diffusion 1\.5"):
        load_base_unet(path)


def inputs(channels):
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, channels, 16, 16, generator=generator)
    return sample, torch.tensor([10]), torch.randn(1, 5, 12, generator=generator)


def test_controlnet_starts_as_the_encoder_and_says_nothing():
    torch.manual_seed(0)
    unet = models.tiny_unet(in_channels=9).eval()
    controlnet = controlnet_from(unet)
    assert controlnet.config.in_channels == 4
    assert torch.equal(controlnet.conv_in.weight, unet.conv_in.weight[:, :4])
    for name, tensor in controlnet.down_blocks.state_dict().items():
        assert torch.equal(tensor, unet.down_blocks.state_dict()[name])
    sample, step, tokens = inputs(4)
    stride = 2 ** (len(controlnet.config.conditioning_embedding_out_channels) - 1)
    pose = torch.rand(1, 3, 16 * stride, 16 * stride)
    down, mid = controlnet(sample, step, tokens, pose, return_dict=False)
    assert not any(tensor.any() for tensor in (*down, mid))


def test_a_plain_unet_is_widened_without_a_change():
    torch.manual_seed(0)
    unet = models.tiny_unet().eval()
    sample, step, tokens = inputs(4)
    with torch.no_grad():
        before = unet(sample, step, tokens).sample
        wide = as_face_unet(unet)
        after = wide(torch.cat([sample, torch.randn(1, 5, 16, 16)], 1), step, tokens).sample
    assert wide.config.in_channels == 9
    torch.testing.assert_close(after, before)


def test_an_inpainting_unet_learns_that_one_is_kept():
    torch.manual_seed(0)
    unet = models.tiny_unet(in_channels=9).eval()
    sample, _, _ = inputs(9)
    paint = (torch.rand(1, 1, 16, 16) > 0.5).float()
    with torch.no_grad():
        before = unet.conv_in(torch.cat([sample[:, :4], paint, sample[:, 5:]], 1))
        after = as_face_unet(unet).conv_in(torch.cat([sample[:, :4], 1 - paint, sample[:, 5:]], 1))
    torch.testing.assert_close(after[:, :, 1:-1, 1:-1], before[:, :, 1:-1, 1:-1])
