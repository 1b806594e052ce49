"""Training of the SGDM (section 3.1, equation 1): take the noise out of frames, given mesh and person.

    latents of a frame + noise of a random step -> U-Net and ControlNet -> the noise (or v), squared error

As published, samples are single frames (`clip_length` 1) although sampling works on windows; the weights of
equation 1 are one. Deviations, each by configuration: v-prediction, 10 % of the samples see the null
tokens, all gradients are clipped together, weights are averaged, steps of a batch are stratified.

The same trainer makes both stages: pre-training on many people, where the vision tower may be trained
along (`train_vision`), and fine-tuning on one, where it is frozen and its tokens are computed once.

It also makes the face network, an SGDM whose U-Net has 1 + C input channels more, of a set with masks: the
loss is, as published, that of the whole crop, painted and kept.
"""

from __future__ import annotations

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


def train_sgdm(
    sgdm: SGDM,
    vision: Any,
    data: TrainingSet,
    noise_schedule: NoiseSchedule,
    config: SGDMConfig,
    folder: Path,
    progress: Progress | None = None,
) -> list[float]:
    """Train `sgdm` (and `vision` if the config says so) in place; returns the losses of the steps made now.

    sgdm, data: of the body, or of the face: a U-Net with inpainting channels and a set with masks.
    folder: of checkpoint and loss log; a training that was stopped goes on from there.
    Raises AnchorError when network and set are not of one kind.
    """
    trained: Any = nn.ModuleDict({"sgdm": sgdm, **({"vision": vision} if config.train_vision else {})})
    # Convolutions of small networks are 1.4 times as fast in this layout, on the CPU too.
    trained.to(memory_format=torch.channels_last)
    objective = DenoisingObjective(sgdm, vision, data, noise_schedule, config)
    return fit(trained, objective, config, folder, progress)


class DenoisingObjective:
    """Equation 1 as a function of the step."""

    def __init__(
        self, sgdm: SGDM, vision: Any, data: TrainingSet, noise_schedule: NoiseSchedule, config: SGDMConfig
    ) -> None:
        check_masks(sgdm, data)
        self.sgdm, self.vision, self.data, self.config = sgdm, vision, data, config
        self.prediction_type = noise_schedule.prediction_type
        self.alphas = make_scheduler("ddim", noise_schedule).alphas_cumprod.to(
            torch.float32
        )  # (train_steps,)
        self.starts = data.starts(config.clip_length)

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        """Loss of one batch."""
        device = self.config.device
        frames = self.draw_frames(step)  # (B, F)
        latents = self.draw_latents(frames, generator)  # (B, F, C, h, w)
        timesteps = self.draw_timesteps(len(frames), generator)  # (B,)
        noise = self.draw_noise(latents, generator)
        alpha = self.alphas[timesteps].view(-1, 1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        target = prediction_target(self.prediction_type, latents, noise, alpha)
        appearance = self.appearance(frames[:, 0], generator)
        pose = self.data.pose[frames.flatten()].to(device).float().div(255)
        features = self.sgdm.embed_pose(pose.contiguous(memory_format=torch.channels_last))
        features = features.unflatten(0, frames.shape)
        inpaint = None if self.data.inpaint is None else self.data.inpaint[frames].to(device)
        prediction = self.sgdm(noisy.to(device), timesteps.to(device), appearance, features, inpaint=inpaint)
        return functional.mse_loss(prediction, target.to(device))

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

    def appearance(self, first_frames: Tensor, generator: torch.Generator) -> Tensor:
        """Tokens of the references of a batch, (B, T, D), some replaced by the null tokens."""
        reference = self.data.reference[self.data.which[first_frames]].to(self.config.device)
        tokens = appearance_tokens(self.vision, reference) if self.config.train_vision else reference
        keep = torch.rand(len(tokens), 1, 1, generator=generator) >= self.config.null_probability
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


def prediction_target(prediction_type: str, latents: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """What the network shall say: the noise, v (Salimans and Ho 2022), or the clean latents."""
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "v_prediction":
        return alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    return latents
