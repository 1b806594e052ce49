"""One file per person: every network of an anchor, its tokens and its card in one `.safetensors`.

Names: `body.unet.*`, `body.controlnet.*`, `face.unet.*`, `face.controlnet.*` as in diffusers; optionally
`vae.*` and `vision.*` for anchors that do not build on Stable Diffusion 1.5, and single tensors
(`null_appearance`, `reference`). The card and the configs are JSON in the metadata. Saving is
all or nothing; loading compares every name and shape before any weight is read.

A low-rank anchor (`lora.py`) holds only what differs from another file and is loaded by the same function.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import AnchorError
from ..files import atomic_path
from .base_file import BaseFile, read_base, updated_stages
from .card import AnchorCard
from .configs import (
    CONTROLNET,
    UNET,
    VAE,
    VISION,
    Config,
    NetworkKind,
    build_empty,
    clean_config,
    read_config,
)
from .kinds import ANCHOR_KEY, describe, describe_parts
from .weights import Header, TensorFile, fill, open_tensors, read_header, without_prefix

if TYPE_CHECKING:
    from ..sgdm.network import SGDM

NETWORKS: dict[str, NetworkKind] = {
    "body.unet": UNET,
    "body.controlnet": CONTROLNET,
    "face.unet": UNET,
    "face.controlnet": CONTROLNET,
    "vae": VAE,
    "vision": VISION,
}
TENSORS = ("null_appearance", "reference", "face_reference")
PICTURES = ("reference", "face_reference")
STAGES = ("body", "face")


@dataclass
class Anchor:
    """A digital presenter: networks of the two stages, and what they need.

    vae: AutoencoderKL; vision: CLIPVisionModel; both None when the anchor uses those of Stable Diffusion 1.5
    and CLIP ViT-B/32. null_appearance: (1, T, D) tokens of "no appearance"; reference, face_reference:
    pictures of the person, and of the aligned face, for the vision tower, (H, W, 3) uint8 sRGB.
    """

    card: AnchorCard
    body: SGDM | None = None
    face: SGDM | None = None
    vae: Any = None
    vision: Any = None
    null_appearance: Tensor | None = None
    reference: Tensor | None = None
    face_reference: Tensor | None = None


def save_anchor(anchor: Anchor, path: str | os.PathLike[str], dtype: torch.dtype = torch.float16) -> None:
    """Write the anchor into one .safetensors file; an older file stays until the new one is complete.

    Raises AnchorError for another suffix, when a part is missing, or weights are not finite in `dtype`.
    """
    from safetensors.torch import save_file

    check_name(path)
    networks = _networks(anchor)
    if not any(f"{stage}.unet" in networks for stage in STAGES):
        raise AnchorError("The anchor has neither a body nor a face network: there is nothing to save.")
    check_null(anchor.card, anchor.null_appearance is not None, Path(path))
    configs = {part: read_config(NETWORKS[part], network) for part, network in networks.items()}
    tensors = picture_tensors(anchor, dtype)
    for part, network in networks.items():
        tensors.update(_weights(part, network, dtype))
    facts = json.dumps({"card": anchor.card.to_dict(), "configs": configs}, ensure_ascii=False)
    with atomic_path(path) as partial:
        save_file(tensors, str(partial), metadata={ANCHOR_KEY: facts})


def load_anchor(
    path: str | os.PathLike[str],
    dtype: torch.dtype = torch.float32,
    *,
    need: Sequence[str] = ("body",),
    base: str | os.PathLike[str] | None = None,
) -> Anchor:
    """Read an anchor; networks are in eval mode, without gradients, on the CPU.

    need: stages without which the anchor is of no use to the caller ("body", "face"); all that the file holds
    is loaded. base: the file that a low-rank anchor stands on, by default looked for beside it.
    Raises AnchorError for any file that is not a complete anchor with these stages.
    """
    header = read_header(path)
    if read_base(header, Path(path)):
        from .lora import load_lora

        return load_lora(path, dtype, need=need, base=base)
    card, configs = read_metadata(header, Path(path))
    _check_parts(header, configs, need, Path(path))
    check_null(card, "null_appearance" in header.shapes, Path(path))
    with open_tensors(path) as source:
        loaded = {part: _load_network(part, config, source, dtype) for part, config in configs.items()}
        tensors = {name: load_tensor(source, name, dtype) for name in TENSORS if name in source.shapes}
    body, face = (_join(loaded, stage, card) for stage in STAGES)
    vae, vision = loaded.get("vae"), loaded.get("vision")
    return Anchor(card, body, face, vae, vision, **tensors)


def read_card(path: str | os.PathLike[str]) -> AnchorCard:
    """The card of an anchor file; reads only its header."""
    return read_metadata(read_header(path), Path(path))[0]


def read_parts(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """What an anchor file holds: "body.unet", "vae", "null_appearance", ...; reads only its header.

    Of a low-rank anchor: what there is when it is loaded.
    """
    header = read_header(path)
    card, configs = read_metadata(header, Path(path))
    known: Sequence[str] = list(configs)
    if base := read_base(header, Path(path)):
        others = set() if base.person == card.name else {*STAGES, *PICTURES} - set(updated_stages(header))
        known = [part for part in base.parts if part.split(".")[0] not in others]
    return (*known, *(name for name in TENSORS if name in header.shapes and name not in known))


def read_link(path: str | os.PathLike[str]) -> BaseFile | None:
    """The file that a low-rank anchor stands on; None for a whole anchor. Reads only the header."""
    return read_base(read_header(path), Path(path))


def join_networks(unet: Any, controlnet: Any, fidelity: str) -> SGDM:
    """U-Net and ControlNet as one SGDM, in eval mode."""
    from ..sgdm.network import SGDM

    sgdm = SGDM(unet, controlnet, fidelity=fidelity)  # type: ignore[arg-type]
    return sgdm.eval().requires_grad_(False)


def fidelity_of(card: AnchorCard, stage: str) -> str:
    """The published face stage runs as it was trained; the body's inference differs from its training."""
    return card.fidelity if stage == "body" else "trained"


def _networks(anchor: Anchor) -> dict[str, nn.Module]:
    networks: dict[str, nn.Module] = {}
    for stage in STAGES:
        sgdm = getattr(anchor, stage)
        if sgdm is not None:
            check_merged(sgdm, stage)
            networks[f"{stage}.unet"] = sgdm.unet
            networks[f"{stage}.controlnet"] = sgdm.controlnet
    return networks | {part: net for part in ("vae", "vision") if (net := getattr(anchor, part)) is not None}


def check_merged(sgdm: SGDM, stage: str) -> None:
    """Raise AnchorError where updates are attached: the weights alone would not be what was trained."""
    if hasattr(sgdm, "low_rank"):
        raise AnchorError(
            f"The {stage} network has low-rank layers beside its weights: merge them, or save a low-rank "
            "anchor."
        )


def _weights(part: str, network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    old = NETWORKS[part].key_prefix
    return {
        f"{part}.{name.removeprefix(old)}": stored(tensor, dtype, f"{part}.{name}")
        for name, tensor in network.state_dict().items()
        if not name.endswith("position_ids")
    }


def picture_tensors(anchor: Anchor, dtype: torch.dtype) -> dict[str, Tensor]:
    """The single tensors of an anchor, as they are stored."""
    given = {name: tensor for name in TENSORS if (tensor := getattr(anchor, name)) is not None}
    for name, tensor in given.items():
        _check_tensor(name, tuple(tensor.shape), "the anchor")
    return {
        name: tensor.detach().to("cpu", torch.uint8).contiguous()
        if name in PICTURES
        else stored(tensor, dtype, name)
        for name, tensor in given.items()
    }


def stored(tensor: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """A tensor as it is written; AnchorError unless it is finite in `dtype`."""
    tensor = tensor.detach().to("cpu", dtype).contiguous()
    if not torch.isfinite(tensor).all():
        raise AnchorError(
            f"{name} holds numbers that are not finite in {dtype}: the training diverged, or save as float32."
        )
    return tensor


def read_metadata(header: Header, path: Path) -> tuple[AnchorCard, dict[str, Config]]:
    """Card and checked configs of an anchor file; AnchorError when it is none, or damaged."""
    if ANCHOR_KEY not in header.metadata:
        raise AnchorError(
            f"{path.name} is {describe(header.shapes, header.metadata)}, not an anchor: use a file that this "
            "pack has saved, or convert the folder of a person's weights first."
        )
    try:
        facts = json.loads(header.metadata[ANCHOR_KEY])
        card, configs = AnchorCard.from_dict(facts["card"]), facts["configs"]
    except AnchorError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError):
        raise AnchorError(f"The card in {path.name} is damaged: download or save the file again.") from None
    if not isinstance(configs, Mapping) or not set(configs) <= set(NETWORKS):
        raise AnchorError(
            f"The configs in {path.name} are damaged or of a newer version: download or save the file again."
        )
    clean = {
        part: clean_config(NETWORKS[part], config, f"{part} in {path.name}")
        for part, config in configs.items()
    }
    return card, clean


def check_stages(parts: Iterable[str], need: Sequence[str], path: Path) -> None:
    """Raise AnchorError unless the needed stages are among the parts ("body" or "body.unet", ...)."""
    listed = list(parts)
    for stage in need:
        if stage not in {part.split(".")[0] for part in listed}:
            raise AnchorError(
                f"{path.name} is an anchor with {describe_parts(listed)} and without {stage}: "
                f"a {stage} network is needed here. Choose an anchor that was trained for the {stage}."
            )


def _check_parts(header: Header, configs: Mapping[str, Config], need: Sequence[str], path: Path) -> None:
    check_stages(configs, need, path)
    for stage in STAGES:
        if (f"{stage}.unet" in configs) != (f"{stage}.controlnet" in configs):
            raise AnchorError(
                f"{path.name} has only one half of its {stage} network: download or save it again."
            )
    prefixes = tuple(f"{part}." for part in configs)
    loose = [name for name in header.shapes if not name.startswith(prefixes) and name not in TENSORS]
    if loose:
        raise AnchorError(
            f"{path.name} holds {len(loose)} tensors of no known part ({loose[0][:80]}): save it again."
        )


def _load_network(part: str, config: Config, source: TensorFile, dtype: torch.dtype) -> Any:
    kind = NETWORKS[part]
    network = build_empty(kind, config)
    fill(network, source, without_prefix(source.shapes, f"{part}."), dtype, f"its {part}", kind.key_prefix)
    return network


def load_tensor(source: TensorFile, name: str, dtype: torch.dtype) -> Tensor:
    """One of `TENSORS` from an open file; AnchorError for another shape."""
    _check_tensor(name, source.shapes[name], source.path.name)
    return source.read(name).to(torch.uint8 if name in PICTURES else dtype, copy=True)


def _check_tensor(name: str, shape: tuple[int, ...], source: str) -> None:
    good = shape[2:] == (3,) if name in PICTURES else shape[:1] == (1,)
    if len(shape) != 3 or not good or 0 in shape:
        needed = "(H, W, 3)" if name in PICTURES else "(1, T, D)"
        raise AnchorError(f"{name} in {source} has the shape {list(shape)}; it must be {needed}.")


def _join(loaded: Mapping[str, Any], stage: str, card: AnchorCard) -> SGDM | None:
    if f"{stage}.unet" not in loaded:
        return None
    return join_networks(loaded[f"{stage}.unet"], loaded[f"{stage}.controlnet"], fidelity_of(card, stage))


def check_name(path: str | os.PathLike[str]) -> None:
    """Raise AnchorError unless the name is that of a .safetensors file."""
    if Path(path).suffix.lower() != ".safetensors":
        raise AnchorError(
            f"An anchor is saved as a .safetensors file, not as {Path(path).name}: change the name."
        )


def check_null(card: AnchorCard, has_tokens: bool, path: Path) -> None:
    """Raise AnchorError where the card promises tokens of no appearance and there are none."""
    if card.null_appearance == "stored" and not has_tokens:
        raise AnchorError(
            f"The card of {path.name} says that null_appearance is stored, but there is none: add the tokens."
        )
