"""The face: masks in manifests, what the network sees of the surroundings, and its training."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from anchor_core.demo.networks import LATENT_CHANNELS, new_face_sgdm
from anchor_core.errors import AnchorError
from anchor_core.sampling.schedulers import STABLE_DIFFUSION, ZERO_TERMINAL_SNR
from anchor_core.sgdm.vae import encode_frames, latent_stride
from anchor_core.training.config import PUBLISHED, SGDMConfig
from anchor_core.training.data import encode_surroundings, join_sets, load_pictures, prepare
from anchor_core.training.manifest import read_grey, read_manifest
from anchor_core.training.trainer import DenoisingObjective, train_sgdm

CONFIG = SGDMConfig(steps=60, batch_size=12, learning_rate=6e-3, warmup_steps=5)


def picture(folder, name, value, size=(16, 16)):
    """Write a picture of one value, or of an array, and give back its name."""
    pixels = np.broadcast_to(np.asarray(value, np.uint8), (*size[::-1], 3))
    Image.fromarray(np.ascontiguousarray(pixels)).save(folder / name)
    return name


def face_line(folder, index, **more):
    """A line whose target is dark and whose mask paints the left half."""
    target = picture(folder, f"target{index}.png", 40 + index)
    half = np.where(np.arange(16) < 8, 0, 255)[None, :, None]
    line = {"source": target, "target": target, "reference": target}
    return {**line, "mask": picture(folder, f"mask{index}.png", half), **more}


def manifest(folder, lines):
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture
def vae():
    """A tiny VAE of stride 2."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    )


@pytest.fixture
def vision():
    from transformers import CLIPVisionConfig, CLIPVisionModel

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=16, patch_size=8))


def test_masks_are_one_channel_and_the_target_is_the_context(tmp_path):
    pictures = load_pictures(manifest(tmp_path, [face_line(tmp_path, 0), face_line(tmp_path, 1)]))
    assert pictures.mask.shape == (2, 16, 16)
    assert np.unique(pictures.mask[:, :, :8]).tolist() == [0]
    assert np.unique(pictures.mask[:, :, 8:]).tolist() == [255]
    assert pictures.context is None


def test_lines_without_a_context_show_the_target(tmp_path):
    lines = [face_line(tmp_path, 0, context=picture(tmp_path, "soft.png", 90)), face_line(tmp_path, 1)]
    assert load_pictures(manifest(tmp_path, lines)).context[:, 0, 0, 0].tolist() == [90, 41]


def test_coloured_masks_are_read_as_their_luma(tmp_path):
    picture(tmp_path, "red.png", (255, 0, 0))
    assert np.unique(read_grey(tmp_path / "red.png")).tolist() == [76]


def test_manifests_of_the_body_have_no_masks(tmp_path, vae, vision):
    line = face_line(tmp_path, 0)
    del line["mask"]
    path = manifest(tmp_path, [line])
    (sample,) = read_manifest(path)
    assert (sample.mask, sample.context) == (None, None)
    pictures = load_pictures(path)
    assert (pictures.mask, pictures.context) == (None, None)
    assert prepare(pictures, vae, vision, train_vision=False).inpaint is None


def test_some_lines_without_masks_are_refused(tmp_path):
    lines = [face_line(tmp_path, 0), face_line(tmp_path, 1)]
    del lines[1]["mask"]
    with pytest.raises(AnchorError, match=r"mask for other lines and none for the target .*target1.png"):
        read_manifest(manifest(tmp_path, lines))


@pytest.mark.parametrize(("key", "value"), [("mask", 7), ("context", None)])
def test_further_keys_are_file_names(tmp_path, key, value):
    with pytest.raises(AnchorError, match=rf"line 1 of .* has {value} as its {key}; need a file name"):
        read_manifest(manifest(tmp_path, [face_line(tmp_path, 0, **{key: value})]))


@pytest.mark.parametrize("key", ["mask", "context"])
def test_missing_files_are_named(tmp_path, key):
    with pytest.raises(AnchorError, match=rf"names the {key} .*none.png, which does not exist"):
        read_manifest(manifest(tmp_path, [face_line(tmp_path, 0, **{key: "none.png"})]))


@pytest.mark.parametrize("key", ["mask", "context"])
def test_sizes_agree_with_the_target(tmp_path, key):
    large = picture(tmp_path, "large.png", 255, size=(24, 16))
    with pytest.raises(AnchorError, match=rf"the {key}s of .* have 24x16 pixels and the targets 16x16"):
        load_pictures(manifest(tmp_path, [face_line(tmp_path, 0, **{key: large})]))


def test_channels_equal_the_published_ones(goldens):
    """Order, polarity, threshold (rows of 128 and 127), grid and grey, at the mode of the posterior."""
    from diffusers import AutoencoderKL

    folder = goldens / "c_face_inpaint_B2_cfg1"
    images = np.load(folder / "images_uint8.npz")
    wanted = load_file(folder / "tensors.safetensors")["POSTERIOR_MODE.unet_input_step0_9ch"]
    vae = AutoencoderKL.from_pretrained(goldens / "models" / "vae").eval()
    ours = encode_surroundings(vae, images["face"], images["mask"][..., 0], chunk=1)
    assert torch.equal(ours[:, 0], wanted[:, 4])
    torch.testing.assert_close(ours, wanted[:, 4:], atol=1e-5, rtol=1e-5)


def test_swapped_masks_show_the_other_half(vae):
    generator = np.random.default_rng(0)
    context = generator.integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    mask = np.zeros((3, 16, 16), np.uint8)
    mask[:, :, :6] = 255
    channels, swapped = encode_surroundings(vae, context, mask), encode_surroundings(vae, context, 255 - mask)
    stride = latent_stride(vae)
    assert channels.shape == (3, 5, 16 // stride, 16 // stride)
    assert torch.equal(channels[:, 0], 1 - swapped[:, 0])
    assert channels[0, 0, 0].tolist() == [1] * 3 + [0] * 5
    grey = torch.full((3, 16, 16, 3), 0.5)
    for ours, first, last in ((channels, 0, 6), (swapped, 6, 16)):
        shown = grey.clone()
        shown[:, :, first:last] = torch.from_numpy(context[:, :, first:last]) / 255
        torch.testing.assert_close(ours[:, 1:], encode_frames(vae, shown))


def test_prepared_sets_show_the_context(tmp_path, vae, vision):
    lines = [face_line(tmp_path, 0, context=picture(tmp_path, "soft.png", 90))]
    pictures = load_pictures(manifest(tmp_path, lines))
    softer = prepare(pictures, vae, vision, train_vision=False)
    assert torch.equal(softer.inpaint, encode_surroundings(vae, pictures.context, pictures.mask))
    plain = prepare(replace(pictures, context=None), vae, vision, train_vision=False)
    assert torch.equal(plain.inpaint, encode_surroundings(vae, pictures.target, pictures.mask))
    assert torch.equal(softer.mean, plain.mean)


def test_joined_sets_keep_their_channels(face_set):
    other = replace(face_set, inpaint=-face_set.inpaint)
    joined = join_sets([face_set, other])
    assert torch.equal(joined.inpaint, torch.cat([face_set.inpaint, -face_set.inpaint]))


def test_sets_of_two_kinds_do_not_join(face_set, training_set):
    with pytest.raises(AnchorError, match="1 of 2 training sets have masks"):
        join_sets([face_set, training_set])
    assert join_sets([training_set, training_set]).inpaint is None


def test_sixty_steps_lower_the_loss(tiny_face_sgdm, face_set, tmp_path):
    losses = train_sgdm(tiny_face_sgdm(), None, face_set, ZERO_TERMINAL_SNR, CONFIG, tmp_path)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_surroundings_are_learned_from(tiny_face_sgdm, face_set, tmp_path):
    """Where poses say nothing, only the masked latents can tell the frames apart."""
    blind = replace(face_set, pose=torch.zeros_like(face_set.pose))
    sgdm = tiny_face_sgdm()
    train_sgdm(sgdm, None, blind, ZERO_TERMINAL_SNR, CONFIG, tmp_path)

    @torch.no_grad()
    def loss(data):
        objective = DenoisingObjective(sgdm, None, data, ZERO_TERMINAL_SNR, CONFIG)
        return float(objective(0, torch.Generator().manual_seed(0)))

    assert loss(blind) < 0.8 * loss(replace(blind, inpaint=blind.inpaint.roll(1, dims=0)))


def test_windows_and_published_settings(tiny_face_sgdm, face_set, tmp_path):
    windows = SGDMConfig(steps=2, batch_size=2, clip_length=4)
    train_sgdm(tiny_face_sgdm(), None, face_set, ZERO_TERMINAL_SNR, windows, tmp_path / "windows")
    published = SGDMConfig(steps=2, **PUBLISHED)
    losses = train_sgdm(tiny_face_sgdm(), None, face_set, STABLE_DIFFUSION, published, tmp_path / "published")
    assert len(losses) == 2


def test_face_networks_need_masks(tiny_face_sgdm, training_set, tmp_path):
    with pytest.raises(AnchorError, match=r"takes 5 inpainting channels and the training set has no masks;"):
        train_sgdm(tiny_face_sgdm(), None, training_set, ZERO_TERMINAL_SNR, CONFIG, tmp_path)


def test_body_networks_take_no_masks(new_sgdm, face_set, tmp_path):
    with pytest.raises(AnchorError, match=r"has masks and the U-Net takes no .*; train that, or remove"):
        train_sgdm(new_sgdm(), None, face_set, ZERO_TERMINAL_SNR, CONFIG, tmp_path)


def test_face_network_of_the_demo():
    sgdm = new_face_sgdm(0)
    assert sgdm.unet.config.in_channels == 2 * LATENT_CHANNELS + 1
    assert sgdm.controlnet.config.in_channels == sgdm.latent_channels == LATENT_CHANNELS
    assert torch.equal(sgdm.unet.conv_in.weight, new_face_sgdm(0).unet.conv_in.weight)
