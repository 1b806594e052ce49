"""Appearance tokens against the published processor and tower, and pictures of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anchor_core.errors import AnchorError
from anchor_core.sgdm.appearance import (
    appearance_tokens,
    encode_appearance,
    null_appearance,
    preprocess_appearance,
)


@pytest.fixture(scope="module")
def vision(goldens: Path) -> Any:
    from transformers import CLIPVisionModel

    return CLIPVisionModel.from_pretrained(goldens / "models/clip_vision").eval()


@pytest.mark.parametrize("name", ["square_320", "wide_240x400", "small_100x60"])
def test_published_pixels_and_tokens(goldens: Path, vision: Any, name: str) -> None:
    picture = np.load(goldens / "d_clip_vision/inputs_uint8.npz")[name]
    expected = load_file(goldens / "d_clip_vision/outputs.safetensors")
    if f"{name}.pixel_values" in expected:
        pixels = preprocess_appearance(picture[None])
        torch.testing.assert_close(pixels, expected[f"{name}.pixel_values"], rtol=0, atol=1e-6)
    tokens = encode_appearance(vision, picture[None])
    torch.testing.assert_close(tokens, expected[f"{name}.last_hidden_state"], rtol=0, atol=2e-5)
    as_floats = encode_appearance(vision, torch.from_numpy(picture)[None] / 255)
    assert torch.equal(as_floats, tokens)


def test_wrong_layers_are_told_apart(goldens: Path, vision: Any) -> None:
    picture = np.load(goldens / "d_clip_vision/inputs_uint8.npz")["square_320"]
    tokens = encode_appearance(vision, picture[None])
    wrong = {
        key: value
        for key, value in load_file(goldens / "d_clip_vision/outputs.safetensors").items()
        if key.endswith("WRONG")
    }
    assert len(wrong) == 2
    assert all((tokens - value).norm() / value.norm() > 0.05 for value in wrong.values())


def test_null_tokens_are_the_start_of_the_empty_prompt(goldens: Path) -> None:
    from transformers import CLIPTextModel

    text_model = CLIPTextModel.from_pretrained(goldens / "models/clip_text").eval()
    expected = load_file(goldens / "d_uncond_text/tensors.safetensors")
    torch.testing.assert_close(
        null_appearance(text_model), expected["empty_prompt_50_tokens"], rtol=0, atol=1e-5
    )
    torch.testing.assert_close(
        null_appearance(text_model, 17), expected["empty_prompt_77_tokens"][:, :17], rtol=0, atol=1e-5
    )
    with pytest.raises(AnchorError, match="Asked for 78 tokens and the text model takes 1 to 77"):
        null_appearance(text_model, 78)


def test_tower_of_another_size() -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=64,
        patch_size=16,
    )
    tower = CLIPVisionModel(config).eval()
    pictures = torch.rand(2, 90, 70, 3)
    assert encode_appearance(tower, pictures).shape == (2, 17, 64)
    tokens = appearance_tokens(tower, preprocess_appearance(pictures, 64))
    tokens.square().mean().backward()
    assert any(parameter.grad is not None for parameter in tower.parameters())


def test_grey_alpha_and_single_pixel() -> None:
    rgb = torch.randint(0, 256, (1, 40, 60, 3), dtype=torch.uint8)
    alpha = torch.randint(0, 256, (1, 40, 60, 1), dtype=torch.uint8)
    assert torch.equal(preprocess_appearance(torch.cat([rgb, alpha], 3)), preprocess_appearance(rgb))
    assert torch.equal(preprocess_appearance(alpha), preprocess_appearance(alpha.expand(-1, -1, -1, 3)))
    pixel = preprocess_appearance(torch.full((1, 1, 1, 3), 255, dtype=torch.uint8))
    assert pixel.shape == (1, 3, 224, 224)
    assert (pixel.amax((2, 3)) == pixel.amin((2, 3))).all()


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (torch.zeros(40, 60, 3), r"has shape \(40, 60, 3\): give \(N, H, W, C\)"),
        (torch.zeros(1, 40, 60, 2), r"with 1 \(grey\), 3 \(RGB\) or 4 \(RGBA\)"),
        (torch.zeros(0, 40, 60, 3), r"has shape \(0, 40, 60, 3\)"),
        (torch.zeros(1, 40, 60, 3, dtype=torch.int64), "give uint8, or floats"),
    ],
)
def test_what_is_no_picture(picture: torch.Tensor, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        preprocess_appearance(picture)
