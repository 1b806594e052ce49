"""Weights as the published code and its training leave them: folders of diffusers, read into an Anchor.

`<person>/body/{unet,controlnet}` and `<person>/head/{unet,controlnet}`, or a folder that holds the two
networks of one stage itself. Converting is loading and `save_anchor`. Where the published loader prefers
the pickle, this one prefers safetensors. ControlNets of the inflated 3-D class carry `norm_temp` layers
that no code ever calls: they are dropped. Anything else that does not fit is an error.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch

from ..errors import AnchorError
from .card import AnchorCard
from .configs import CONTROLNET, UNET, Config, NetworkKind, build_empty, clean_config
from .face_card import FaceCard
from .file import Anchor, fidelity_of, join_networks
from .weights import fill, open_tensors

WEIGHT_NAMES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
)
_STAGE_FOLDERS = {"body": ("body",), "face": ("head", "face")}
_MAX_CONFIG = 2**20  # bytes
_UNUSED = ".norm_temp."


def load_published(
    folder: str | os.PathLike[str], dtype: torch.dtype = torch.float32, *, card: AnchorCard | None = None
) -> Anchor:
    """Read a person's folder; the card has the published settings unless one is given.

    Raises AnchorError when no networks are found there, or weights and configs do not fit.
    """
    root = Path(folder)
    stages = find_stages(root)
    card = card or AnchorCard(name=_person(root), face=FaceCard() if "face" in stages else None)
    networks = {stage: load_stage(place, dtype, fidelity_of(card, stage)) for stage, place in stages.items()}
    return Anchor(card, **networks)


def find_stages(root: Path) -> dict[str, Path]:
    """{"body": folder, "face": folder}: where a person's folder keeps the networks of each stage."""
    if not root.is_dir():
        raise AnchorError(f"There is no folder {root}: name the folder of a person (with body/unet in it).")
    if _is_stage(root):
        return {_stage_of(root): root}
    found = {
        stage: root / name
        for stage, names in _STAGE_FOLDERS.items()
        for name in names
        if _is_stage(root / name)
    }
    if not found:
        raise AnchorError(
            f"{root} holds no anchor: needed is body/unet and body/controlnet in it, or unet and "
            f"controlnet.{_checkpoint_hint(root)}"
        )
    return found


def load_stage(folder: Path, dtype: torch.dtype, fidelity: str) -> Any:
    """The SGDM of a folder with `unet` and `controlnet`."""
    unet = load_network(UNET, folder / "unet", dtype)
    controlnet = load_network(CONTROLNET, folder / "controlnet", dtype)
    return join_networks(unet, controlnet, fidelity)


def load_network(kind: NetworkKind, folder: Path, dtype: torch.dtype) -> Any:
    """One network of a diffusers folder: `config.json` and weights, a pickle only without safetensors."""
    network = build_empty(kind, read_config_file(kind, folder / "config.json"))
    with open_tensors(_weight_file(folder)) as source:
        names = {name: name for name in source.shapes if _UNUSED not in name or kind is not CONTROLNET}
        fill(network, source, names, dtype, f"the config of {folder.parent.name}/{folder.name}")
    return network


def read_config_file(kind: NetworkKind, path: Path) -> Config:
    """A checked config.json."""
    if not path.is_file():
        raise AnchorError(
            f"There is no {path.name} in {path.parent}: copy it from where the weights come from."
        )
    return clean_config(kind, read_json(path), str(path))


def read_json(path: Path) -> Any:
    """The values of a small JSON file."""
    if path.stat().st_size > _MAX_CONFIG:
        raise AnchorError(
            f"{path} is too large for a config: use the config.json that belongs to the weights."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise AnchorError(
            f"{path} is not readable JSON: copy it again from where the weights come from."
        ) from None


def _is_stage(folder: Path) -> bool:
    return (folder / "unet").is_dir() and (folder / "controlnet").is_dir()


def _stage_of(folder: Path) -> str:
    """A U-Net that takes more channels than it gives paints faces into masks."""
    config = read_config_file(UNET, folder / "unet" / "config.json")
    return "face" if config.get("in_channels", 4) > config.get("out_channels", 4) else "body"


def _weight_file(folder: Path) -> Path:
    for name in WEIGHT_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise AnchorError(
        f"There are no weights in {folder}: needed is {WEIGHT_NAMES[0]} (or {WEIGHT_NAMES[-1]})."
    )


def _checkpoint_hint(root: Path) -> str:
    """The training writes `checkpoint-<step>` folders before it is done."""
    steps = [
        int(match[1])
        for path in root.glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
    ]
    return (
        f" It holds checkpoints of a training: name one of them, the last is checkpoint-{max(steps)}."
        if steps
        else ""
    )


def _person(root: Path) -> str:
    root = root.resolve()
    names = {name for group in _STAGE_FOLDERS.values() for name in group}
    return (root.parent.name if root.name in names else root.name) or "anchor"
