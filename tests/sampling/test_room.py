"""What denoising takes: counted on meta against counted on real tensors, and what follows from that."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from anchor_core.sampling import room
from anchor_core.sampling.live import LiveBytes
from anchor_core.sampling.predictor import Predictor
from anchor_core.sampling.room import Room, Work, estimate, fitting, free_on, proposal, room_table
from anchor_core.sampling.settings import Memory, SamplerSettings
from anchor_core.sgdm.network import SGDM, build_sgdm

GIB = 2**30
BLOCKS = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
CONTROLNET = {
    "in_channels": 4,
    "down_block_types": BLOCKS,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "conditioning_embedding_out_channels": (16, 32, 96, 256),
}
UNET = {
    **{key: value for key, value in CONTROLNET.items() if not key.startswith("conditioning")},
    "out_channels": 4,
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
}
BODY = Work(UNET, CONTROLNET, SamplerSettings(), (512, 512), 300, torch.float16, VAE)
"""Ten seconds of Stable Diffusion's size."""


def narrow(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same network with few channels."""
    return {**config, "block_out_channels": (16, 32, 32), "norm_num_groups": 4, "attention_head_dim": 2,
            "cross_attention_dim": 24, "layers_per_block": 1, **changes}  # fmt: skip


SMALL_CONTROLNET = narrow(
    CONTROLNET, down_block_types=BLOCKS[1:], conditioning_embedding_out_channels=(4, 8, 8, 16)
)
SMALL_UNET = narrow(UNET, down_block_types=BLOCKS[1:], up_block_types=UNET["up_block_types"][:3])
SMALL = Work(
    SMALL_UNET, SMALL_CONTROLNET, SamplerSettings(window_size=6, overlap=2), (256, 192), 20, torch.float32
)


@pytest.fixture(scope="module")
def small() -> SGDM:
    """The network of SMALL, with weights."""
    return build_sgdm(SMALL_UNET, SMALL_CONTROLNET).eval()


def alive(network: SGDM, contexts: int, windows: int, chunk: int) -> int:
    """Bytes alive at the fullest moment of a prediction on the CPU."""
    network.feed_forward_chunk = chunk
    with torch.no_grad(), LiveBytes() as live, network.one_clip():
        latents, poses = torch.randn(windows, 6, 4, 24, 32), torch.randn(windows, 6, 16, 24, 32)
        network.guided(latents, torch.tensor(500.0), torch.randn(contexts, 50, 24), poses, 1.0)
    return live.most


@pytest.mark.parametrize(
    ("split", "windows", "chunk"), [(False, 1, 0), (True, 1, 0), (False, 2, 0), (False, 1, 4)]
)
def test_window_is_what_a_real_prediction_takes(small: SGDM, split: bool, windows: int, chunk: int) -> None:
    memory = Memory(split_guidance=split, windows_at_once=windows, feed_forward_chunk=chunk)
    real = alive(small, 1 if split else 2, windows, chunk)
    assert estimate(SMALL, memory).window == pytest.approx(real, rel=0.03)


def test_weights_and_pose_features_are_those_of_the_network(small: SGDM) -> None:
    found = estimate(SMALL)
    assert found.weights == sum(weight.nbytes for weight in small.parameters())
    with torch.no_grad():
        assert found.pose == small.embed_pose(torch.zeros(1, 3, 192, 256)).nbytes * 20
    assert estimate(SMALL, Memory(pose_gib=0.0)).pose == 0
    assert found.total == found.weights + found.pose + max(found.window, found.embedding)


def test_bytes_follow_the_number_type_and_short_clips() -> None:
    half = estimate(replace(SMALL, dtype=torch.float16))
    assert [2 * part for part in vars(half).values()] == list(vars(estimate(SMALL)).values())
    one = estimate(replace(SMALL, n_frames=1))
    assert one.window < estimate(SMALL).window / 4


PUBLISHED = [(2, 1, 16, 5.4), (1, 1, 16, 4.1), (2, 1, 32, 8.0), (2, 4, 16, 13.2)]
"""Contexts, windows, frames, and GiB of weights and window in the measurements that the design rests on."""
TWICE = 0.5
"""GiB of the linear layers' weights, which those measurements count a second time: their rows are 0.5 and
1.1 for each 16 frames."""


@pytest.fixture(scope="module")
def diffusion() -> SGDM:
    """Stable Diffusion's size, without numbers."""
    sgdm = build_sgdm(UNET, CONTROLNET, empty=True).half().eval()
    sgdm.set_attention(lambda query, key, value: torch.empty_like(query))
    return sgdm


@pytest.mark.parametrize(("contexts", "windows", "frames", "gib"), PUBLISHED)
def test_the_plain_batch_takes_what_was_measured_before(
    diffusion: SGDM, contexts: int, windows: int, frames: int, gib: float
) -> None:
    batch = contexts * windows
    with torch.device("meta"), torch.no_grad(), LiveBytes() as live:
        shapes = ((batch, frames, 4, 64, 64), (batch, 50, 768), (batch, frames, 320, 64, 64))
        latents, tokens, poses = (torch.empty(*shape, dtype=torch.float16) for shape in shapes)
        diffusion(latents, torch.zeros(()), tokens, poses, 1.0)
    weights = sum(weight.nbytes for weight in diffusion.parameters())
    assert (weights + live.most) / GIB == pytest.approx(gib - TWICE, rel=0.03)


@pytest.mark.parametrize(("contexts", "windows", "frames", "gib"), PUBLISHED)
def test_the_shared_walk_takes_no_more(contexts: int, windows: int, frames: int, gib: float) -> None:
    work = replace(BODY, settings=SamplerSettings(window_size=frames))
    found = estimate(work, Memory(split_guidance=contexts == 1, windows_at_once=windows))
    assert 0.7 * gib < (found.weights + found.window) / GIB < 1.03 * (gib - TWICE)


def test_eight_gigabytes_run_the_published_settings() -> None:
    free = 8e9 - 1.0 * GIB  # a card of 8 GB without what its driver takes
    memory = fitting(BODY, free)
    assert memory is not None
    assert estimate(BODY, memory).total <= free


def test_savings_come_in_the_order_of_their_price() -> None:
    plain = estimate(SMALL).total
    assert fitting(SMALL, plain) == Memory()
    found = [fitting(SMALL, share * plain) for share in (0.99, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)]
    steps = [
        (m.feed_forward_chunk > 0) + (m.pose_gib == 0) + 2 * m.split_guidance for m in found if m is not None
    ]
    assert steps == sorted(steps)
    assert max(steps) > 1
    for share, memory in zip((0.99, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4), found, strict=True):
        assert memory is None or estimate(SMALL, memory).total <= share * plain


def test_what_does_not_fit_gets_a_proposal_that_does() -> None:
    least = estimate(SMALL, Memory(0.0, True, 1, 4))
    free = least.weights + 0.9 * max(least.window, least.embedding)
    assert fitting(SMALL, free) is None
    assert proposal(SMALL, free) == "windows of 4 frames (window_size 4, overlap 1) at 256x192 pixels fit"
    fits = replace(SMALL, settings=SamplerSettings(window_size=4, overlap=1))
    assert fitting(fits, free) is not None


def test_smaller_pictures_are_proposed_where_no_window_fits() -> None:
    work = replace(SMALL, settings=SamplerSettings(window_size=1, overlap=0))
    least = estimate(work, Memory(0.0, True, 1, 4))
    assert "at 192x128 pixels fit" in proposal(work, least.weights + 0.7 * max(least.window, least.embedding))


def test_nothing_fits_into_nothing() -> None:
    assert proposal(SMALL, 0.0) == (
        "no window of these networks fits: choose half precision, another device, or the CPU"
    )


def test_the_table_says_what_is_taken_and_what_was_chosen() -> None:
    table = room_table({"body": SMALL}, math.inf, "the memory of mps")
    assert "body: 20 frames of 256x192 pixels, windows of 6, float32" in table
    assert "a window, at its fullest moment" in table
    assert "fits without savings" in table
    assert table.endswith("the memory of mps: what is free cannot be told here")
    refused = room_table({"body": SMALL}, 1000.0, "a small card")
    assert "DOES NOT FIT" in refused
    assert "no window of these networks fits" in refused


def test_the_face_network_has_more_inputs_and_is_counted_too() -> None:
    face = replace(SMALL, unet={**SMALL_UNET, "in_channels": 9})
    assert estimate(face).weights > estimate(SMALL).weights
    assert isinstance(estimate(face), Room)


def test_living_networks_give_their_work(small: SGDM) -> None:
    work = Work.of(small, SMALL.settings, (256, 192), 20, torch.float32)
    assert estimate(work) == estimate(SMALL)


def test_free_memory_is_told_by_the_device() -> None:
    free, name = free_on("cpu")
    assert free > 1e6
    assert name == "the memory of cpu"


def test_a_gpu_that_is_too_small_gets_the_proposal(small: SGDM, monkeypatch: pytest.MonkeyPatch) -> None:
    least = estimate(SMALL, Memory(0.0, True, 1, 4))
    free = 0.9 * max(least.window, least.embedding)
    monkeypatch.setattr(room, "free_on", lambda device: (free, "a small card"))  # beside the weights
    predictor = object.__new__(Predictor)
    predictor.device, predictor._network = torch.device("cuda"), small
    predictor._conditioning = SimpleNamespace(pixels=(192, 256), n_frames=20)  # type: ignore[assignment]
    predictor._settings, predictor._place = SMALL.settings, (predictor.device, torch.float32)
    assert predictor._instead(6).startswith("windows of 4 frames (window_size 4, overlap 1)")
    predictor._network = SimpleNamespace(unet=small.unet)  # of another kind: nothing to count
    assert predictor._instead(6) == "set window_size below 6, or make a smaller picture"
