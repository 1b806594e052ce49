"""Appearance tokens: a CLIP vision tower's view of one picture of the person (section 3.2).

Tokens are those of the last encoder layer before pooling: class token and patches, without the norm
that follows the class token, without projection. The unconditional tokens are not those of a picture:
the published inference takes the first rows of the text encoder's embedding of the empty prompt.
"""

from __future__ import annotations

from typing import Any

import torch

from ..errors import AnchorError
from .pictures import Pictures, check_pictures, resized

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def preprocess_appearance(images: Pictures, size: int = 224) -> torch.Tensor:
    """Pictures as the vision tower takes them, (N, 3, size, size) float32: CLIPImageProcessor, exactly.

    images: (N, H, W, C) uint8, or float in [0, 1]; 1 (grey), 3 or 4 channels (alpha is dropped). The shortest
    edge becomes `size` (bicubic, 8 bits), the centre is cut out, CLIP's mean and deviation are applied.
    Raises AnchorError on shapes.
    """
    pictures = check_pictures(images, "The appearance picture")
    mean, std = torch.tensor(CLIP_MEAN), torch.tensor(CLIP_STD)
    crops = torch.stack([_centre_square(picture, size) for picture in pictures])
    return ((crops.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def _centre_square(picture: torch.Tensor, size: int) -> torch.Tensor:
    """(H, W, C) to uint8 (size, size, 3)."""
    from PIL import Image

    height, width = picture.shape[:2]
    short = min(height, width)
    new_height, new_width = size * height // short, size * width // short
    image = resized(picture, new_width, new_height, Image.Resampling.BICUBIC)
    top, left = (new_height - size) // 2, (new_width - size) // 2
    return torch.from_numpy(image[top : top + size, left : left + size].copy())


def appearance_tokens(vision: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Tokens (N, T, D) of preprocessed pictures (N, 3, size, size); gradients flow, for joint training."""
    weight = next(vision.parameters())
    return vision(pixel_values=pixels.to(weight.device, weight.dtype)).last_hidden_state


@torch.no_grad()
def encode_appearance(vision: Any, images: Pictures) -> torch.Tensor:
    """Appearance tokens of pictures, (N, T, D), T = 1 + patches: 50 x 768 for CLIP ViT-B/32.

    vision: `CLIPVisionModel` of any size; images: as for `preprocess_appearance`. Runs on the device and in
    the precision of `vision`; the published code uses float32.
    """
    pixels = preprocess_appearance(images, int(vision.config.image_size))
    return appearance_tokens(vision, pixels)


@torch.no_grad()
def null_appearance(text_model: Any, n_tokens: int = 50) -> torch.Tensor:
    """Unconditional tokens (1, n_tokens, D): the empty prompt, padded to as many tokens as a picture has.

    text_model: `CLIPTextModel`; needs no tokenizer, start and end are the last two words of CLIP's vocabulary
    (the token ids in the config of Stable Diffusion 1.5 are wrong). Raises AnchorError when it takes
    fewer tokens.
    """
    longest = int(text_model.config.max_position_embeddings)
    if not 1 <= n_tokens <= longest:
        raise AnchorError(
            f"Asked for {n_tokens} tokens and the text model takes 1 to {longest}: ask for fewer."
        )
    end = int(text_model.config.vocab_size) - 1
    token_ids = torch.full((1, n_tokens), end, device=next(text_model.parameters()).device)
    token_ids[:, 0] = end - 1
    return text_model(input_ids=token_ids).last_hidden_state
