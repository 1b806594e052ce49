"""What is timed: networks of three sizes with random weights, and clips that fit them.

cpu-tiny   5 million parameters, 128 x 128 pixels: a minute or two on one core
cpu-small  49 million parameters, 128 x 128 pixels
gpu-sd15   the size of Stable Diffusion 1.5 in half precision, 512 x 512 pixels

All have the published topology: four levels, two layers each, attention in the first three. Time does not
depend on what weights say, so no file is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from ...errors import AnchorError
from ...sampling.conditioning import Conditioning
from ...sampling.noise import draw_noise
from ...sampling.sampler import SamplerSettings
from ...sgdm.network import SGDM, build_sgdm

EMBEDDING = (16, 32, 96, 256)
"""Channels of the published ControlNet's condition embedding."""
SMALL_EMBEDDING = (8, 16, 48, 128)
"""Of the smallest networks: else it would weigh far more than at full size, and so would remembering it."""
_TOKENS = 50  # CLIP ViT-B/32: one of the class, 7 x 7 of the picture
_SEED = 0


@dataclass(frozen=True)
class Profile:
    """Networks, a clip and how often it is made.

    channels: of the four levels. heads: of every attention layer; Stable Diffusion 1.5 has 8. width: of the
    appearance tokens. groups: of GroupNorm. pixels: side of the square picture. dtype: of the networks.
    frames, steps, overlap: of the clip. repeats: times that every way to make it is timed. embedding:
    channels of the condition embedding. as_written: whether attention that holds all scores fits into memory.
    whole: frames and steps of a clip that is made once.
    """

    name: str
    device: str
    channels: tuple[int, int, int, int]
    heads: int
    width: int
    groups: int
    pixels: int
    dtype: torch.dtype
    frames: int
    steps: int
    repeats: int
    overlap: int = 4
    embedding: tuple[int, ...] = EMBEDDING
    as_written: bool = True
    whole: tuple[int, int] | None = None

    @property
    def settings(self) -> SamplerSettings:
        """As published."""
        return SamplerSettings(steps=self.steps, overlap=self.overlap, schedule="reference")


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            *("cpu-tiny", "cpu", (32, 64, 64, 64), 4, 64, 16, 128, torch.float32, 48, 4, 3),
            embedding=SMALL_EMBEDDING,
            whole=(28, 20),
        ),
        Profile(
            *("cpu-small", "cpu", (64, 128, 256, 256), 8, 128, 32, 128, torch.float32, 32, 2, 3),
            overlap=0,  # whole windows, without a tail
        ),
        Profile(
            *("gpu-sd15", "cuda", (320, 640, 1280, 1280), 8, 768, 32, 512, torch.float16, 32, 2, 10),
            overlap=0,
            as_written=False,  # 16 frames of 64 x 64 tokens: 137 GB of scores
            whole=(300, 20),
        ),
    )
}


def choose_profile(name: str) -> Profile:
    """A profile by name; "auto": gpu-sd15 where there is a CUDA GPU, else cpu-tiny.

    Raises AnchorError for other names, and for a GPU's profile where there is none.
    """
    has_gpu = torch.cuda.is_available()
    if name == "auto":
        name = "gpu-sd15" if has_gpu else "cpu-tiny"
    if name not in PROFILES:
        raise AnchorError(f"the profile is {name!r}: need auto or one of {', '.join(PROFILES)}")
    if PROFILES[name].device == "cuda" and not has_gpu:
        raise AnchorError(
            f"profile {name} needs a CUDA GPU and there is none here: choose cpu-tiny or cpu-small"
        )
    return PROFILES[name]


@dataclass(frozen=True)
class Problem:
    """A clip to make. tokens: (2, T, D) [null, appearance]; noise: (N, 4, h, w); pose: (N, H, W, 3) uint8."""

    profile: Profile
    settings: SamplerSettings
    pose: torch.Tensor
    tokens: torch.Tensor
    noise: torch.Tensor

    @property
    def conditioning(self) -> Conditioning:
        """For `sample`."""
        return Conditioning(self.pose, self.tokens[1:], self.tokens[:1])


def make_problem(
    profile: Profile, frames: int | None = None, pixels: int | None = None, *, shared: bool = False
) -> Problem:
    """A clip of random pictures and tokens; frames, pixels: other than the profile's.

    shared: all frames start from one noise, as they do for users. That makes the first step cheaper, which in
    a clip of few steps would count for too much.
    """
    generator = torch.Generator().manual_seed(_SEED)
    frames, side = frames or profile.frames, pixels or profile.pixels
    pose = torch.randint(0, 256, (frames, side, side, 3), generator=generator, dtype=torch.uint8)
    tokens = torch.randn(2, _TOKENS, profile.width, generator=generator)
    noise = draw_noise(_SEED, frames, 4, side // 8, side // 8, shared=shared)
    return Problem(profile, profile.settings, pose, tokens, noise)


def small_problem(profile: Profile) -> Problem:
    """A clip on which equality shows at little cost: several windows, the last one short."""
    problem = make_problem(profile, frames=6, pixels=64, shared=True)
    return replace(problem, settings=replace(problem.settings, steps=2, window_size=4, overlap=1))


def make_network(profile: Profile) -> SGDM:
    """Random weights in the type and on the device of the profile, with the published mid block."""
    denoiser: dict[str, Any] = {
        "in_channels": 4,
        "block_out_channels": profile.channels,
        "layers_per_block": 2,
        "norm_num_groups": profile.groups,
        "cross_attention_dim": profile.width,
        "attention_head_dim": profile.heads,  # number of heads, as in Stable Diffusion's configs
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    }
    unet = {**denoiser, "out_channels": 4, "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3}
    control = {**denoiser, "conditioning_embedding_out_channels": profile.embedding}
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        with torch.device(profile.device):
            sgdm = build_sgdm(unet, control, fidelity="reference", init_control="half")
    return sgdm.to(dtype=profile.dtype).eval()
