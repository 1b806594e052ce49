"""Parts that anchors of the Stable Diffusion 1.5 family share, from files that a user of it has already.

The VAE from a whole checkpoint or a VAE file (latent-diffusion or diffusers names) or folder; CLIP ViT-B/32
from a transformers file or folder, also inside of a full CLIP; the text encoder, which is needed only for
the empty prompt, from a checkpoint or a folder. A file alone needs no config: the standard models' are here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import AnchorError
from .configs import TEXT, VAE, VISION, Config, NetworkKind, build_empty, clean_config
from .kinds import describe
from .ldm_keys import diffusers_names
from .published import read_json
from .weights import Header, TensorFile, fill, open_tensors, read_header, without_prefix

VAE_CONFIG: Config = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}
VISION_CONFIG: Config = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
}
TEXT_CONFIG: Config = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
}
_SEARCH_DEPTH = 4  # folders below a model folder: <folder>/stable-diffusion-v1-5/vae/file
_WEIGHT_NAMES = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
)
_OTHER_FAMILY = "a checkpoint of Stable Diffusion XL"

logger = logging.getLogger("anchor")


@dataclass(frozen=True)
class BasePart:
    """One part: how it is called, how its file is recognised, where its weights stand in larger files."""

    title: str
    kind: NetworkKind
    config: Config
    prefixes: tuple[str, ...]
    """What may stand before the names of its weights, the longest first; "" in a file of its own."""
    heads: tuple[str, ...]
    """How the names begin after that; everything else in the file is of no use here."""
    probe: tuple[str, tuple[int, ...]]
    """A tensor by which the part is found, and its shape in the standard model."""
    subfolder: str
    nested: str
    """Under which name the config of a larger model holds this part's."""
    advice: str


VAE_PART = BasePart(
    title="VAE of Stable Diffusion 1.5",
    kind=VAE,
    config=VAE_CONFIG,
    prefixes=("first_stage_model.", ""),
    heads=("encoder.", "decoder.", "quant_conv.", "post_quant_conv."),
    probe=("decoder.conv_in.weight", (512, 4, 3, 3)),
    subfolder="vae",
    nested="",
    advice="a Stable Diffusion 1.5 checkpoint, or vae-ft-mse-840000-ema-pruned.safetensors",
)
VISION_PART = BasePart(
    title="CLIP vision model ViT-B/32",
    kind=VISION,
    config=VISION_CONFIG,
    prefixes=("vision_model.", ""),
    heads=("embeddings.", "encoder.", "pre_layrnorm.", "post_layernorm."),
    probe=("embeddings.patch_embedding.weight", (768, 3, 32, 32)),
    subfolder="image_encoder",
    nested="vision_config",
    advice="model.safetensors of openai/clip-vit-base-patch32",
)
TEXT_PART = BasePart(
    title="text encoder of Stable Diffusion 1.5",
    kind=TEXT,
    config=TEXT_CONFIG,
    prefixes=("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer.", "text_model.", ""),
    heads=("embeddings.", "encoder.", "final_layer_norm."),
    probe=("embeddings.token_embedding.weight", (49408, 768)),
    subfolder="text_encoder",
    nested="text_config",
    advice="a Stable Diffusion 1.5 checkpoint, or its text_encoder folder",
)


def load_vae(
    path: str | os.PathLike[str], dtype: torch.dtype = torch.float32, config: Config | None = None
) -> Any:
    """AutoencoderKL from a checkpoint, a VAE file or a folder.

    config: diffusers config of a VAE that is not the standard one and has no config.json beside it.
    Raises AnchorError when the file holds no VAE, or one of another model.
    """
    return _load(VAE_PART, path, dtype, config)


def load_vision(
    path: str | os.PathLike[str], dtype: torch.dtype = torch.float32, config: Config | None = None
) -> Any:
    """CLIPVisionModel from a transformers file or folder, alone or inside of a full CLIP."""
    return _load(VISION_PART, path, dtype, config)


def load_text_encoder(
    path: str | os.PathLike[str], dtype: torch.dtype = torch.float32, config: Config | None = None
) -> Any:
    """CLIPTextModel from a checkpoint, or from a file or folder of the text encoder."""
    return _load(TEXT_PART, path, dtype, config)


def load_null_appearance(
    path: str | os.PathLike[str], n_tokens: int = 50, config: Config | None = None
) -> Tensor:
    """Tokens of the empty prompt, (1, n_tokens, D) float32, from the text encoder at `path`."""
    from ..sgdm.appearance import null_appearance

    tokens: Tensor = null_appearance(load_text_encoder(path, config=config), n_tokens)
    return tokens


def find_vae(folders: Iterable[str | os.PathLike[str]]) -> Path:
    """The smallest file in these folders that holds the VAE of Stable Diffusion 1.5."""
    return _find(VAE_PART, folders)


def find_vision(folders: Iterable[str | os.PathLike[str]]) -> Path:
    """The first file in these folders that holds CLIP ViT-B/32."""
    return _find(VISION_PART, folders)


def find_text_encoder(folders: Iterable[str | os.PathLike[str]]) -> Path:
    """The first file in these folders that holds the text encoder of Stable Diffusion 1.5."""
    return _find(TEXT_PART, folders)


def _load(part: BasePart, path: str | os.PathLike[str], dtype: torch.dtype, config: Config | None) -> Any:
    file = _file_of(part, Path(path))
    chosen = clean_config(part.kind, config or _config_beside(part, file) or part.config, f"the {part.title}")
    with open_tensors(file) as source:
        names = _names(part, source)
        if not names:
            what = describe(source.shapes, source.metadata)
            raise AnchorError(f"{file.name} is {what} and holds no {part.title}: choose {part.advice}.")
        if part.kind is VAE and "xl" in file.stem.lower():
            logger.warning("%s looks like the VAE of Stable Diffusion XL: colours will be wrong", file.name)
        network = build_empty(part.kind, chosen)
        fill(network, source, names, dtype, f"the {part.title}", part.kind.key_prefix)
    return network


def _names(part: BasePart, source: TensorFile | Header) -> dict[str, str]:
    """{name in the network: name in the file}; empty when the part is not in the file."""
    if describe(source.shapes, source.metadata) == _OTHER_FAMILY:
        return {}
    for prefix in part.prefixes:
        names = without_prefix(source.shapes, prefix)
        if part.probe[0] in names:
            own = {
                k: v for k, v in names.items() if k.startswith(part.heads) and not k.endswith("position_ids")
            }
            return {new: own[old] for new, old in diffusers_names(own).items()} if part.kind is VAE else own
    return {}


def _file_of(part: BasePart, path: Path) -> Path:
    if not os.path.isdir(path):
        return path
    for folder in (path, path / part.subfolder):
        for name in _WEIGHT_NAMES:
            if (folder / name).is_file():
                return folder / name
    raise AnchorError(
        f"{path} holds no weights of the {part.title} ({_WEIGHT_NAMES[0]}): choose {part.advice}."
    )


def _config_beside(part: BasePart, file: Path) -> Any:
    """The config.json of a folder in the layout of diffusers or transformers; a loose file has none."""
    path = file.parent / "config.json"
    if file.name not in _WEIGHT_NAMES or not path.is_file():
        return None
    config = read_json(path)
    return config.get(part.nested, config) if isinstance(config, dict) else config


def _find(part: BasePart, folders: Iterable[str | os.PathLike[str]]) -> Path:
    searched = [Path(folder) for folder in folders]
    for file in sorted(_weight_files(searched), key=lambda file: file.stat().st_size):
        if _holds_standard(part, file):
            return file
    listed = ", ".join(map(str, searched)) or "no folder"
    raise AnchorError(f"No {part.title} was found (searched: {listed}): put {part.advice} there.")


def _weight_files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for depth in range(_SEARCH_DEPTH):
            yield from folder.glob("*/" * depth + "*.safetensors")


def _holds_standard(part: BasePart, file: Path) -> bool:
    if part.kind is VAE and "xl" in file.stem.lower():  # the same shapes, other latents
        return False
    try:
        header = read_header(file)
    except AnchorError as error:
        logger.debug("passed over: %s", error)
        return False
    names = _names(part, header)
    return part.probe[0] in names and header.shapes[names[part.probe[0]]] == part.probe[1]
