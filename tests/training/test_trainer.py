"""The trainer learns, resumes exactly, drops the condition, and keeps samples inside one recording."""

from __future__ import annotations

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.sampling.schedulers import STABLE_DIFFUSION, ZERO_TERMINAL_SNR
from anchor_core.training.config import PUBLISHED, SGDMConfig
from anchor_core.training.trainer import DenoisingObjective, prediction_target, train_sgdm

CONFIG = SGDMConfig(steps=60, batch_size=12, learning_rate=6e-3, warmup_steps=5)


def objective(sgdm, training_set, config=CONFIG, schedule=ZERO_TERMINAL_SNR):
    return DenoisingObjective(sgdm, None, training_set, schedule, config)


def test_sixty_steps_halve_the_loss(new_sgdm, training_set, tmp_path):
    losses = train_sgdm(new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, CONFIG, tmp_path)
    assert len(losses) == 60
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_resumed_losses_are_bit_equal(new_sgdm, training_set, tmp_path):
    config = SGDMConfig(steps=5, batch_size=4, checkpoint_every=2)
    straight = train_sgdm(new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, config, tmp_path / "one")

    def stop(done, total, preview):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_sgdm(new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, config, tmp_path / "two", stop)
    rest = train_sgdm(new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, config, tmp_path / "two")
    assert rest == straight[2:]


def test_published_settings_train_epsilon(new_sgdm, training_set, tmp_path):
    config = SGDMConfig(steps=2, **PUBLISHED)
    losses = train_sgdm(new_sgdm(), None, training_set, STABLE_DIFFUSION, config, tmp_path)
    assert len(losses) == 2


def test_windows_of_frames_can_be_trained(new_sgdm, training_set, tmp_path):
    config = SGDMConfig(steps=2, batch_size=2, clip_length=4)
    assert len(train_sgdm(new_sgdm(), None, training_set, ZERO_TERMINAL_SNR, config, tmp_path)) == 2


def test_clips_stay_inside_one_recording(new_sgdm, training_set):
    config = SGDMConfig(steps=1, batch_size=6, clip_length=4)
    frames = torch.cat([objective(new_sgdm(), training_set, config).draw_frames(step) for step in range(4)])
    clips = training_set.clip[frames]
    assert (clips == clips[:, :1]).all()
    assert set(frames[:, 0].tolist()) == {0, 1, 2, 3, 7, 8}


def test_clips_longer_than_all_recordings(new_sgdm, training_set):
    with pytest.raises(AnchorError, match="no recording has 8 frames in a row"):
        objective(new_sgdm(), training_set, SGDMConfig(steps=1, clip_length=8))


def test_share_of_null_tokens(new_sgdm, training_set):
    config = SGDMConfig(steps=1, null_probability=0.25)
    tokens = objective(new_sgdm(), training_set, config).appearance(
        torch.zeros(4000, dtype=torch.int64), torch.Generator().manual_seed(0)
    )
    dropped = (tokens == 0).all(dim=(1, 2)).float().mean()
    assert dropped == pytest.approx(0.25, abs=0.03)


def test_steps_of_a_batch_are_stratified(new_sgdm, training_set):
    timesteps = objective(new_sgdm(), training_set).draw_timesteps(10, torch.Generator().manual_seed(0))
    assert sorted((timesteps // 100).tolist()) == list(range(10))


def test_frames_of_a_sample_share_noise_if_asked(new_sgdm, training_set):
    latents, generator = torch.zeros(2, 3, 4, 8, 8), torch.Generator().manual_seed(0)
    shared = objective(new_sgdm(), training_set).draw_noise(latents, generator)
    assert torch.equal(shared[:, 0], shared[:, 2])
    assert not torch.equal(shared[0], shared[1])
    own = SGDMConfig(steps=1, shared_noise=False)
    noise = objective(new_sgdm(), training_set, own).draw_noise(latents, generator)
    assert not torch.equal(noise[:, 0], noise[:, 2])


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_targets_agree_with_the_sampler(kind):
    """From noisy latents and the target, the sampler's formula finds the clean latents."""
    latents, noise = torch.randn(2, 1, 4, 4, 4), torch.randn(2, 1, 4, 4, 4)
    alpha = torch.tensor([0.9, 0.3]).view(-1, 1, 1, 1, 1)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    target = prediction_target(kind, latents, noise, alpha)
    clean = {
        "epsilon": (noisy - (1 - alpha).sqrt() * target) / alpha.sqrt(),
        "v_prediction": alpha.sqrt() * noisy - (1 - alpha).sqrt() * target,
        "sample": target,
    }[kind]
    torch.testing.assert_close(clean, latents)
