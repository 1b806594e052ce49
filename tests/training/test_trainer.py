"""The trainer learns, resumes exactly, drops the condition, and keeps samples inside one recording."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.sampling.schedulers import STABLE_DIFFUSION, ZERO_TERMINAL_SNR
from anchor_core.training.config import PUBLISHED, SGDMConfig
from anchor_core.training.loop import CHECKPOINT
from anchor_core.training.trainer import (
    DenoisingObjective,
    min_snr_weights,
    prediction_target,
    train_sgdm,
)

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
    assert rest == straight[3:]


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
    config = replace(config, batch_size=4000)
    ours = objective(new_sgdm(), training_set, config)
    draw = ours.draw(0, torch.Generator().manual_seed(0))
    tokens = ours.appearance(draw.frames[:, 0], draw.keep)
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


@pytest.fixture
def perturbed_set(training_set):
    """Frames with two perturbed meshes each, told apart by their values."""
    pose = training_set.pose.clone().fill_(10)
    return replace(training_set, pose=pose, perturbed=torch.stack([pose + 10, pose + 20], dim=1))


def test_some_samples_see_perturbed_meshes(new_sgdm, perturbed_set):
    """A quarter here, either mesh alike, and all frames of a sample the same one."""
    config = SGDMConfig(steps=1, batch_size=4000, clip_length=2, perturbation=0.25)
    ours = objective(new_sgdm(), perturbed_set, config)
    draw = ours.draw(0, torch.Generator().manual_seed(0))
    seen = ours.pose(draw).unflatten(0, (4000, 2))
    assert (seen == seen[:, :1, :1, :1, :1]).all()
    values = seen[:, 0, 0, 0, 0]
    shares = [(values == value).float().mean().item() for value in (10, 20, 30)]
    assert shares == pytest.approx([0.75, 0.125, 0.125], abs=0.02)
    assert (perturbed_set.pose == 10).all()


def test_the_perturbed_mesh_is_that_of_the_frame(new_sgdm, training_set):
    data = replace(training_set, perturbed=torch.stack([255 - training_set.pose] * 2, dim=1))
    ours = objective(new_sgdm(), data, replace(CONFIG, perturbation=1.0))
    draw = ours.draw(3, torch.Generator().manual_seed(0))
    assert torch.equal(ours.pose(draw), 255 - training_set.pose[draw.frames.flatten()])


def test_perturbation_leaves_the_other_draws_alone(new_sgdm, perturbed_set):
    draws = [
        objective(new_sgdm(), perturbed_set, replace(CONFIG, perturbation=share)).draw(
            0, torch.Generator().manual_seed(0)
        )
        for share in (0.0, 0.5)
    ]
    for name in ("frames", "latents", "timesteps", "noise", "keep"):
        assert torch.equal(getattr(draws[0], name), getattr(draws[1], name))
    assert (draws[0].mesh == -1).all()


def test_perturbation_needs_perturbed_meshes(new_sgdm, training_set):
    with pytest.raises(
        AnchorError, match=r"perturbation is 0.5 and .* no perturbed meshes; prepare the data"
    ):
        objective(new_sgdm(), training_set, replace(CONFIG, perturbation=0.5))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_min_snr_weighs_all_predictions_alike(kind):
    """An error of the clean latents costs min(SNR, gamma) times its square, whatever the network says."""
    alpha = torch.tensor([0.999, 0.9, 0.5, 0.01]).view(-1, 1, 1, 1, 1)
    latents, noise = torch.randn(4, 1, 4, 4, 4), torch.randn(4, 1, 4, 4, 4)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    wrong = latents + 0.1
    # What a network says that believes in `wrong`, seeing `noisy`.
    belief = (noisy - alpha.sqrt() * wrong) / (1 - alpha).sqrt()
    error = prediction_target(kind, wrong, belief, alpha) - prediction_target(kind, latents, noise, alpha)
    weighted = (min_snr_weights(kind, alpha, 5.0) * error.square()).flatten(1).mean(1)
    snr = (alpha / (1 - alpha)).flatten()
    torch.testing.assert_close(weighted, 0.01 * snr.clamp(max=5.0), rtol=1e-3, atol=1e-6)


def test_min_snr_is_what_the_loss_is_weighted_by(new_sgdm, training_set):
    sgdm = new_sgdm()
    plain = objective(sgdm, training_set, replace(CONFIG, batch_size=1), STABLE_DIFFUSION)
    weighted = objective(
        sgdm, training_set, replace(CONFIG, batch_size=1, min_snr_gamma=5.0), STABLE_DIFFUSION
    )
    for step in range(4):
        draw = plain.draw(step, torch.Generator().manual_seed(step))
        alpha = plain.alphas[draw.timesteps]
        factor = min(1.0, float(5 * (1 - alpha) / alpha))
        ours, unweighted = weighted.loss(draw).item(), plain.loss(draw).item()
        assert ours == pytest.approx(factor * unweighted, rel=1e-4)


def test_min_snr_needs_a_schedule_that_ends_above_noise(new_sgdm, training_set):
    with pytest.raises(AnchorError, match=r"min_snr_gamma is 5.0 and the schedule ends in pure noise"):
        objective(new_sgdm(), training_set, replace(CONFIG, min_snr_gamma=5.0))


def test_recomputed_activations_give_the_same_training(new_sgdm, training_set, tmp_path):
    config = SGDMConfig(steps=3, batch_size=4)
    plain, sgdm = new_sgdm(), new_sgdm()
    losses = train_sgdm(plain, None, training_set, ZERO_TERMINAL_SNR, config, tmp_path / "plain")
    computed = []
    sgdm.unet.down_blocks[0].resnets[0].register_forward_pre_hook(lambda *_: computed.append(1))
    config = replace(config, gradient_checkpointing=True)
    again = train_sgdm(sgdm, None, training_set, ZERO_TERMINAL_SNR, config, tmp_path / "again")
    assert again == losses
    assert len(computed) == 6  # twice in each step
    assert not sgdm.unet.is_gradient_checkpointing
    assert not sgdm.controlnet.is_gradient_checkpointing
    assert not any(module.training for module in sgdm.modules())


def test_windows_cannot_be_recomputed(new_sgdm, training_set):
    config = replace(CONFIG, gradient_checkpointing=True, clip_length=2)
    with pytest.raises(AnchorError, match=r"gradient_checkpointing is on and clip_length is 2"):
        objective(new_sgdm(), training_set, config)


def test_low_rank_layers_are_trained_and_nothing_else(new_sgdm, training_set, tmp_path):
    config = replace(CONFIG, lora_rank=2, gradient_checkpointing=True, checkpoint_every=20)
    sgdm = new_sgdm()
    before = {name: value.clone() for name, value in sgdm.state_dict().items()}
    losses = train_sgdm(sgdm, None, training_set, ZERO_TERMINAL_SNR, config, tmp_path)
    assert sum(losses[-10:]) < sum(losses[:10])
    after = sgdm.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert any(bool(value.any()) for name, value in after.items() if name.endswith("up"))
    saved = torch.load(tmp_path / CHECKPOINT, weights_only=True)["network"]
    assert sum(map(torch.numel, saved.values())) < 0.2 * sum(map(torch.numel, before.values()))


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
