"""Training of the SGDM (section 3.1, equation 1): take the noise out of frames, given mesh and person.

    latents of a frame + noise of a random step -> U-Net and ControlNet -> the noise (or v), squared error

As published, samples are single frames (`clip_length` 1) although sampling works on windows; the weights of
equation 1 are one. Deviations, each by configuration: v-prediction, 10 % of the samples see the null
tokens, some see a perturbed mesh, steps are weighted by min-SNR, low-rank layers are trained instead of the
networks. Always: all gradients are clipped together, weights are averaged, steps of a batch are stratified.

The same trainer makes both stages: pre-training on many people, where the vision tower may be trained
along (`train_vision`), and fine-tuning on one, where it is frozen and its tokens are computed once.

It also makes the face network, an SGDM whose U-Net has 1 + C input channels more, of a set with masks: the
loss is, as published, that of the whole crop, painted and kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import AnchorError
from ..progress import Progress
from ..sampling.schedulers import NoiseSchedule, make_scheduler
from ..sgdm.appearance import appearance_tokens
from ..sgdm.network import SGDM
from .config import SGDMConfig
from .data import TrainingSet
from .loop import batch_indices, fit
from .report import Watch
from .workers import join_workers


def train_sgdm(
    sgdm: SGDM,
    vision: Any,
    data: TrainingSet,
    noise_schedule: NoiseSchedule,
    config: SGDMConfig,
    folder: Path,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> list[float]:
    """Train `sgdm` (and `vision` if the config says so) in place; returns the losses of the steps made now.

    sgdm, data: of the body, or of the face: a U-Net with inpainting channels and a set with masks. With
    `lora_rank` low-rank layers in `sgdm` are trained and the rest stays as it is.
    folder: of checkpoint and loss log; a training that was stopped goes on from there, see `fit`.
    Raises AnchorError when network, set and configuration do not fit each other.
    """
    config = replace(config, device=join_workers(config.device).device)
    objective = DenoisingObjective(sgdm, vision, data, noise_schedule, config)
    trained = trained_part(sgdm, vision, config)
    with recomputing(sgdm, vision, config):
        losses = fit(trained, objective, config, folder, progress, watch)
    sgdm.eval()
    return losses


def trained_part(sgdm: SGDM, vision: Any, config: SGDMConfig) -> nn.Module:
    """The module whose parameters are trained; all networks on the device of the training, ready for it."""
    # Convolutions of small networks are 1.4 times as fast in this layout, on the CPU too.
    networks: Any = sgdm
    networks.to(config.device, memory_format=torch.channels_last).train()
    if config.lora_rank:
        from .lora import attach_lora

        layers, seed = config.lora_layers, config.seed
        return attach_lora(sgdm, config.lora_rank, config.lora_alpha, layers=layers, seed=seed)
    trained: Any = nn.ModuleDict({"sgdm": sgdm, **({"vision": vision} if config.train_vision else {})})
    return trained.to(memory_format=torch.channels_last)


@contextmanager
def recomputing(sgdm: SGDM, vision: Any, config: SGDMConfig) -> Iterator[None]:
    """Gradient checkpointing during the block, if the configuration asks for it."""
    if not config.gradient_checkpointing:
        yield
        return
    denoisers = (sgdm.unet, sgdm.controlnet)
    for network in denoisers:
        network.enable_gradient_checkpointing()
    if config.train_vision:
        vision.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        for network in denoisers:
            network.disable_gradient_checkpointing()
        if config.train_vision:
            vision.gradient_checkpointing_disable()


@dataclass(frozen=True)
class Draw:
    """All that is random in a batch of B samples of F frames.

    frames: (B, F) indices; latents, noise: (B, F, C, h, w); timesteps: (B,); keep: (B, 1, 1) bool, false
    where the null tokens are seen; mesh: (B,) number of the perturbed mesh, -1 for the estimated one.
    """

    frames: Tensor
    latents: Tensor
    timesteps: Tensor
    noise: Tensor
    keep: Tensor
    mesh: Tensor

    def __len__(self) -> int:
        return len(self.frames)

    def part(self, rows: Tensor) -> Draw:
        """Some of the samples; rows: int64."""
        return Draw(**{name: value[rows] for name, value in vars(self).items()})


class DenoisingObjective:
    """Equation 1 as a function of the step."""

    def __init__(
        self, sgdm: SGDM, vision: Any, data: TrainingSet, noise_schedule: NoiseSchedule, config: SGDMConfig
    ) -> None:
        check_masks(sgdm, data)
        check_options(data, noise_schedule, config)
        self.sgdm, self.vision, self.data, self.config = sgdm, vision, data, config
        self.prediction_type = noise_schedule.prediction_type
        self.alphas = make_scheduler("ddim", noise_schedule).alphas_cumprod.to(
            torch.float32
        )  # (train_steps,)
        self.starts = data.starts(config.clip_length)

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        """Loss of one batch."""
        return self.loss(self.draw(step, generator))

    def draw(self, step: int, generator: torch.Generator) -> Draw:
        """Everything random of a batch, on the CPU."""
        frames = self.draw_frames(step)
        latents = self.draw_latents(frames, generator)
        timesteps = self.draw_timesteps(len(frames), generator)
        noise = self.draw_noise(latents, generator)
        keep = torch.rand(len(frames), 1, 1, generator=generator) >= self.config.null_probability
        return Draw(frames, latents, timesteps, noise, keep, self.draw_mesh(len(frames), generator))

    def loss(self, draw: Draw) -> Tensor:
        """Mean loss of the samples."""
        device = self.config.device
        alpha = self.alphas[draw.timesteps].view(-1, 1, 1, 1, 1)
        noisy = alpha.sqrt() * draw.latents + (1 - alpha).sqrt() * draw.noise
        target = prediction_target(self.prediction_type, draw.latents, draw.noise, alpha)
        appearance = self.appearance(draw.frames[:, 0], draw.keep)
        pose = self.pose(draw).to(device).float().div(255)
        features = self.sgdm.embed_pose(pose.contiguous(memory_format=torch.channels_last))
        features = features.unflatten(0, draw.frames.shape)
        inpaint = None if self.data.inpaint is None else self.data.inpaint[draw.frames].to(device)
        prediction = self.sgdm(
            noisy.to(device), draw.timesteps.to(device), appearance, features, inpaint=inpaint
        )
        if not self.config.min_snr_gamma:
            return functional.mse_loss(prediction, target.to(device))
        weights = min_snr_weights(self.prediction_type, alpha, self.config.min_snr_gamma)
        return (weights.to(device) * (prediction.float() - target.to(device)).square()).mean()

    def draw_frames(self, step: int) -> Tensor:
        """Indices of the frames of a batch, (B, F): F neighbours of one recording each."""
        chosen = batch_indices(len(self.starts), self.config.batch_size, step, self.config.seed)
        return self.starts[chosen][:, None] + torch.arange(self.config.clip_length)

    def draw_latents(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        """A sample of the VAE's posterior, drawn anew each time the frame is seen."""
        mean, deviation = self.data.mean[frames], self.data.deviation[frames]
        return mean + deviation * torch.randn(mean.shape, generator=generator)

    def draw_timesteps(self, batch: int, generator: torch.Generator) -> Tensor:
        """Uniform over all training steps, one in each of B equal strata: less noise in the gradient."""
        places = (torch.randperm(batch, generator=generator) + torch.rand(batch, generator=generator)) / batch
        return (places * len(self.alphas)).long().clamp_(max=len(self.alphas) - 1)

    def draw_noise(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        """Noise of the shape of the latents; the frames of a sample share it if the config says so."""
        if not self.config.shared_noise:
            return torch.randn(latents.shape, generator=generator)
        one = torch.randn(latents[:, :1].shape, generator=generator)
        return one.expand(latents.shape)

    def draw_mesh(self, batch: int, generator: torch.Generator) -> Tensor:
        """Which mesh each of B samples sees, (B,): -1 the estimated one, k its perturbation k."""
        if not self.config.perturbation or self.data.perturbed is None:
            return torch.full((batch,), -1)
        which = torch.randint(self.data.perturbed.shape[1], (batch,), generator=generator)
        seen = torch.rand(batch, generator=generator) < self.config.perturbation
        return torch.where(seen, which, -1)

    def pose(self, draw: Draw) -> Tensor:
        """Mesh pictures of the frames, ((B F), 3, H, W) uint8; all frames of a sample see the same mesh."""
        pose = self.data.pose[draw.frames.flatten()]
        mesh = draw.mesh.repeat_interleave(draw.frames.shape[1])  # (B F)
        rows = (mesh >= 0).nonzero()[:, 0]
        if self.data.perturbed is not None and len(rows):
            pose[rows] = self.data.perturbed[draw.frames.flatten()[rows], mesh[rows]]
        return pose

    def appearance(self, first_frames: Tensor, keep: Tensor) -> Tensor:
        """Tokens of the references of B samples, (B, T, D); null tokens where keep, (B, 1, 1), is false."""
        reference = self.data.reference[self.data.which[first_frames]].to(self.config.device)
        tokens = appearance_tokens(self.vision, reference) if self.config.train_vision else reference
        null = torch.zeros(()) if self.data.null is None else self.data.null
        return torch.where(keep.to(tokens.device), tokens, null.to(tokens))


def check_masks(sgdm: SGDM, data: TrainingSet) -> None:
    """Raise AnchorError unless a face network gets a set with masks, and a body network one without."""
    if sgdm.inpaint_channels and data.inpaint is None:
        raise AnchorError(
            f"the U-Net takes {sgdm.inpaint_channels} inpainting channels and the training set has no masks;"
            " a face network needs one per frame; add the key 'mask' to the manifest or train a body network"
        )
    if data.inpaint is not None and not sgdm.inpaint_channels:
        raise AnchorError(
            "the training set has masks and the U-Net takes no inpainting channels; masks need a face network"
            f" with {data.inpaint.shape[1]} of them; train that, or remove the key 'mask' from the manifest"
        )


def check_options(data: TrainingSet, noise_schedule: NoiseSchedule, config: SGDMConfig) -> None:
    """Raise AnchorError for options that need other data, another schedule, or exclude each other."""
    if config.perturbation and data.perturbed is None:
        raise AnchorError(
            f"perturbation is {config.perturbation} and the training set has no perturbed meshes; prepare the"
            " data with --perturbed 1 or more, or set perturbation to 0"
        )
    if config.min_snr_gamma and noise_schedule.zero_terminal_snr:
        raise AnchorError(
            f"min_snr_gamma is {config.min_snr_gamma} and the schedule ends in pure noise; such weights never"
            " train the step that sampling starts from; set min_snr_gamma to 0"
        )
    if config.gradient_checkpointing and config.clip_length > 1:
        raise AnchorError(
            f"gradient_checkpointing is on and clip_length is {config.clip_length}; activations can be"
            " computed again for single frames alone; set clip_length to 1, or raise accumulation instead"
        )


def prediction_target(prediction_type: str, latents: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """What the network shall say: the noise, v (Salimans and Ho 2022), or the clean latents."""
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "v_prediction":
        return alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    return latents


def min_snr_weights(prediction_type: str, alpha: Tensor, gamma: float) -> Tensor:
    """Weights of the squared error by the signal-to-noise ratio, in the shape of alpha: Hang et al. 2023.

    All predictions get the weight min(SNR, gamma) of an error of the clean latents; an error of the noise
    is SNR times as large as that, one of v SNR + 1 times.
    """
    snr = alpha / (1 - alpha)
    if prediction_type == "epsilon":
        return (gamma / snr).clamp(max=1)
    if prediction_type == "v_prediction":
        return snr.clamp(max=gamma) / (snr + 1)
    return snr.clamp(max=gamma)
