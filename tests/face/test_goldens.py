"""The published face stage on its own tiny weights: masks, masked latents, sampling and decoding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anchor_core.face.align import CROP
from anchor_core.face.codec import Posterior, codec_of
from anchor_core.face.inpaint import face_conditioning, keep_mask, masked_pictures
from anchor_core.face.track import FaceTrack
from anchor_core.sampling.conditioning import Conditioning
from anchor_core.sampling.sampler import SamplerSettings, sample
from anchor_core.sampling.schedulers import STABLE_DIFFUSION

CASES = ["c_face_inpaint_B2_cfg1"]
TOLERANCE = 1e-5  # relative; the reference itself has 1.2e-6 between float32 and float64
WHERE: dict[Posterior, str] = {"sample": "", "mode": "POSTERIOR_MODE."}


class Case:
    """A golden folder: inputs, settings and the published result."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.tensors = load_file(folder / "tensors.safetensors")
        self.images = {name: torch.from_numpy(image) for name, image in self._images(folder)}
        self.models = folder / self.config["models"]["unet_9ch_and_controlnet"]
        self.vae = folder / self.config["models"]["vae"]

    @staticmethod
    def _images(folder: Path) -> Any:
        return np.load(folder / "images_uint8.npz").items()

    @property
    def paint(self) -> torch.Tensor:
        """The published mask, 255 = keep, as ours, 255 = paint."""
        return 255 - self.images["mask"][..., 0]

    @property
    def track(self) -> FaceTrack:
        """Frames that are their own crops."""
        count, size = self.images["face"].shape[:2]
        scale = CROP / size
        shift = 0.5 * scale - 0.5
        matrix = torch.tensor([[scale, 0, shift], [0, scale, shift]], dtype=torch.float64)
        return FaceTrack(
            points=torch.zeros(count, 5, 2, dtype=torch.float64),
            matrices=matrix.repeat(count, 1, 1),
            visibility=torch.ones(count),
            hidden=("",) * count,
            mesh=self.images["control"],
            mask=self.paint,
            frame_size=(size, size),
        )

    def autoencoder(self) -> Any:
        from diffusers import AutoencoderKL

        return AutoencoderKL.from_pretrained(self.vae).eval()

    def network(self) -> Any:
        from diffusers import ControlNetModel, UNet2DConditionModel

        from anchor_core.sgdm.network import SGDM

        unet = UNet2DConditionModel.from_pretrained(self.models / "unet")
        return SGDM(unet, ControlNetModel.from_pretrained(self.models / "controlnet")).eval()

    def conditioning(self, posterior: Posterior) -> Conditioning:
        tokens = [self.tensors[f"prompt_embeds_{name}"] for name in ("cond", "uncond")]
        assert all(torch.equal(token, token[:1].expand_as(token)) for token in tokens)
        codec = codec_of(self.autoencoder(), posterior)
        # A chunk of 1: the noise of a row must not depend on what it is encoded with.
        return face_conditioning(
            codec, self.images["face"], self.track, tokens[0][:1], tokens[1][:1], chunk=1
        )

    def sampled(self, posterior: Posterior) -> torch.Tensor:
        settings = SamplerSettings(
            steps=self.config["num_inference_steps"],
            guidance_scale=self.config["guidance_scale"],
            condition_scale=self.config["controlnet_conditioning_scale"],
            window_size=1,
            overlap=0,
        )
        noise = self.tensors["latents_init"]
        return sample(self.network(), self.conditioning(posterior), settings, STABLE_DIFFUSION, noise=noise)


def error(ours: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((ours - wanted).norm() / wanted.norm())


@pytest.fixture(params=CASES)
def case(goldens: Path, request: pytest.FixtureRequest) -> Case:
    return Case(goldens / request.param)


def test_the_mask_keeps_from_128_on(case: Case) -> None:
    assert torch.equal(keep_mask(case.paint), case.tensors["mask_binarized_fullres"])
    assert {127, 128} <= set(case.images["mask"].unique().tolist())


def test_the_masked_picture_is_grey_in_the_face(case: Case) -> None:
    ours = masked_pictures(case.images["face"] / 255, case.paint).permute(0, 3, 1, 2) * 2 - 1
    wanted = case.tensors["masked_image_minus1_1"]
    assert (ours - wanted).abs().max() < 1e-6
    assert torch.equal(ours == 0, wanted == 0)


@pytest.mark.parametrize("posterior", WHERE)
def test_inpainting_channels_equal_the_published_ones(case: Case, posterior: Posterior) -> None:
    wanted = case.tensors[f"{WHERE[posterior]}unet_input_step0_9ch"][-len(case.paint) :, 4:]
    ours = case.conditioning(posterior).inpaint
    assert ours is not None
    assert torch.equal(ours[:, 0], wanted[:, 0])
    assert error(ours[:, 1:], wanted[:, 1:]) < TOLERANCE


@pytest.mark.parametrize("posterior", WHERE)
def test_sampling_equals_the_published_one(case: Case, posterior: Posterior) -> None:
    latents = case.sampled(posterior)
    assert error(latents, case.tensors[f"{WHERE[posterior]}latents_final"]) < TOLERANCE


@pytest.mark.parametrize("posterior", WHERE)
def test_decoded_faces_equal_the_published_ones(case: Case, posterior: Posterior) -> None:
    faces = codec_of(case.autoencoder()).decode(case.sampled(posterior))
    wanted = case.tensors[f"{WHERE[posterior]}images_b_h_w_c_float01"]
    assert (faces - wanted).abs().max() < 1e-4
    if posterior == "sample":
        levels = (faces * 255).round().int() - case.images["output"].int()
        assert levels.abs().max() <= 1


def test_the_draw_repeats_every_30_crops(case: Case) -> None:
    vae = case.autoencoder()
    picture = case.images["face"][:1] / 255
    codec = codec_of(vae, "sample")
    clip = codec.encode(picture.expand(32, -1, -1, -1), 0)
    assert torch.allclose(clip[30], clip[0], atol=1e-5)
    assert not torch.allclose(clip[1], clip[0], atol=1e-2)
    assert torch.allclose(codec.encode(picture, 31), clip[1:2], atol=1e-5)
    noise = torch.randn(32, *clip.shape[1:], generator=torch.Generator().manual_seed(0))
    longer = codec_of(vae, "sample", batch=32).encode(picture.expand(32, -1, -1, -1), 0)
    spread = (longer - codec_of(vae).encode(picture, 0)) / noise  # deviation of the posterior
    assert torch.allclose(spread[31], spread[0], rtol=1e-2, atol=1e-3)


def test_guided_frames_equal_one_batch_of_plain_diffusers(goldens: Path) -> None:
    from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel

    case = Case(goldens / CASES[0])
    case.config["guidance_scale"] = 3.5
    unet = UNet2DConditionModel.from_pretrained(case.models / "unet").eval()
    controlnet = ControlNetModel.from_pretrained(case.models / "controlnet").eval()
    known = {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "steps_offset", "clip_sample"}
    options = {name: value for name, value in case.config["scheduler"].items() if name in known}
    scheduler = DDIMScheduler(**options, set_alpha_to_one=False)
    scheduler.set_timesteps(case.config["num_inference_steps"])
    tokens = torch.cat([case.tensors["prompt_embeds_uncond"], case.tensors["prompt_embeds_cond"]])
    mesh = (case.images["control"] / 255).permute(0, 3, 1, 2).repeat(2, 1, 1, 1)
    extra = case.tensors["POSTERIOR_MODE.unet_input_step0_9ch"][:2, 4:].repeat(2, 1, 1, 1)
    latents = case.tensors["latents_init"]
    for timestep in scheduler.timesteps:
        both = latents.repeat(2, 1, 1, 1)
        with torch.no_grad():
            down, mid = controlnet(both, timestep, tokens, mesh, return_dict=False)
            seen = torch.cat([both, extra], dim=1)
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
            null, conditional = unet(seen, timestep, tokens, **residuals).sample.chunk(2)
        latents = scheduler.step(null + 3.5 * (conditional - null), timestep, latents).prev_sample
    assert error(case.sampled("mode"), latents) < TOLERANCE
