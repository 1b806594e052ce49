"""The VAE trainer learns, and whitening changes the latents without changing the pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anchor_core.training.config import VAEConfig
from anchor_core.training.data import Pictures, encode_targets
from anchor_core.training.decoder import train_decoder
from anchor_core.training.vae import ReconstructionObjective, train_vae, whiten


def new_vae():
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )


@pytest.fixture(scope="module")
def pictures():
    """Smooth coloured pictures; the "person" is a square in the middle."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (10, 6, 6, 3)).astype(np.uint8)
    target = coarse.repeat(8, axis=1).repeat(8, axis=2)  # 48 pixels
    source = np.zeros_like(target)
    source[:, 16:32, 16:32] = 200
    rows = torch.zeros(10, dtype=torch.int64)
    return Pictures(source, target, target[:1], rows, rows)


def test_reduces_the_loss_and_resumes(pictures, tmp_path):
    config = VAEConfig(steps=60, batch_size=8, crop_size=16, learning_rate=1e-2, checkpoint_every=60)
    vae = new_vae()
    losses = train_vae(vae, [pictures], config, tmp_path)
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    again = new_vae()
    assert train_vae(again, [pictures], config, tmp_path) == []
    assert torch.equal(vae.quant_conv.weight, again.quant_conv.weight)


def test_decoder_alone_improves_and_latents_stay(pictures, tmp_path):
    vae = new_vae()
    before, _ = encode_targets(vae, pictures.target)
    config = VAEConfig(steps=30, batch_size=8, crop_size=16, learning_rate=1e-2)
    losses = train_decoder(vae, [pictures], config, tmp_path)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    torch.testing.assert_close(encode_targets(vae, pictures.target)[0], before)


@torch.no_grad()
def test_whitening_keeps_the_pictures(pictures):
    vae = new_vae()
    vae.quant_conv.bias += 3  # latents far from zero mean
    frames = torch.from_numpy(pictures.target[:2]).permute(0, 3, 1, 2) / 127.5 - 1
    before_latents = vae.encode(frames).latent_dist
    before = vae.decode(before_latents.mean).sample
    whiten(vae, pictures.target)
    after_latents = vae.encode(frames).latent_dist
    torch.testing.assert_close(vae.decode(after_latents.mean).sample, before, atol=1e-4, rtol=1e-4)
    mean, deviation = encode_targets(vae, pictures.target)
    torch.testing.assert_close(mean.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(mean.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)
    # The posterior is scaled along: its deviation relative to the spread of the means stays.
    assert (deviation > 0).all()
    scale = before_latents.std / after_latents.std
    torch.testing.assert_close(scale, scale.mean(dim=(0, 2, 3), keepdim=True).expand_as(scale))


def test_crops_lie_on_the_person_if_asked(pictures):
    config = VAEConfig(steps=10, crop_size=8, person_share=1.0)
    objective = ReconstructionObjective(new_vae(), [pictures], config)
    person = Pictures(pictures.source, pictures.source, pictures.reference, pictures.which, pictures.clip)
    objective.pictures = [person]
    crops = objective.draw_crops(0, torch.Generator().manual_seed(0))
    assert crops.shape == (16, 3, 8, 8)
    assert (crops[:, :, 3:5, 3:5] == 200).float().mean() > 0.9


def test_last_crops_are_whole_frames_with_as_many_pixels(pictures):
    config = VAEConfig(steps=10, crop_size=16, whole_share=0.2)
    objective = ReconstructionObjective(new_vae(), [pictures], config)
    generator = torch.Generator().manual_seed(0)
    assert objective.draw_crops(7, generator).shape == (16, 3, 16, 16)
    assert objective.draw_crops(8, generator).shape == (2, 3, 48, 48)
