"""A low-rank anchor: what one person adds to another anchor file, in some tens of megabytes.

Names: `body.unet.<layer>.down`, `.up`, ... as in `sgdm/low_rank.py`, after the stage; card and pictures as
in a whole anchor. VAE, vision tower, tokens of no appearance and the networks that are updated come from the
base, whose name, size and SHA-256 stand in the metadata. A stage that is not updated shows the base's
person, so it is left out where the cards name different ones, and so are the base's pictures. Loading gives
an ordinary anchor: whoever uses it sees no difference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import AnchorError
from ..files import atomic_path
from ..sgdm.low_rank import add_low_rank, layers_of
from .base_file import LOW_RANK_KEY, describe_base, find_base, read_base
from .file import (
    PICTURES,
    STAGES,
    TENSORS,
    Anchor,
    check_name,
    check_null,
    check_stages,
    fidelity_of,
    load_anchor,
    load_tensor,
    picture_tensors,
    read_metadata,
    read_parts,
    stored,
)
from .kinds import ANCHOR_KEY
from .weights import Header, TensorFile, open_tensors, read_header, without_prefix


def save_lora(
    anchor: Anchor,
    updates: Mapping[str, Mapping[str, Tensor]],
    base: str | os.PathLike[str],
    path: str | os.PathLike[str],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write the updates of stages with the anchor's card and pictures into one small .safetensors file.

    anchor: its card and those of its tokens and pictures that are not None are written, its networks not.
    updates: {"body" or "face": tensors of `lora_tensors`}. base: the anchor file that they were trained on.
    Raises AnchorError when that is no whole anchor file, or another than the one of the updates.
    """
    from safetensors.torch import save_file

    check_name(path)
    link = describe_base(base)
    _check_updates(updates, read_header(base), link.name)
    null = anchor.null_appearance is not None or "null_appearance" in link.parts
    check_null(anchor.card, null, Path(path))
    tensors = picture_tensors(anchor, dtype)
    for stage, update in updates.items():
        tensors |= {f"{stage}.{name}": stored(tensor, dtype, name) for name, tensor in update.items()}
    facts = {"card": anchor.card.to_dict(), "configs": {}, LOW_RANK_KEY: link.to_dict()}
    with atomic_path(path) as partial:
        metadata = {ANCHOR_KEY: json.dumps(facts, ensure_ascii=False)}
        save_file(tensors, str(partial), metadata=metadata)


def load_lora(
    path: str | os.PathLike[str],
    dtype: torch.dtype = torch.float32,
    *,
    need: Sequence[str] = ("body",),
    base: str | os.PathLike[str] | None = None,
) -> Anchor:
    """The base with the updates added: an ordinary anchor with the low-rank file's card.

    base: the file it stands on, by default looked for beside it. Raises AnchorError when that is not found
    or is another, and for anything else than updates of its layers.
    """
    path, header = Path(path), read_header(path)
    card, _ = read_metadata(header, path)
    link = read_base(header, path)
    if link is None:
        raise AnchorError(f"{path.name} is a whole anchor and stands on no other: load it as it is.")
    check_stages((part for part in read_parts(path) if "." in part), need, path)
    with open_tensors(path) as source:
        updates = _updates(source)
        names = [name for name in TENSORS if name in source.shapes]
        tensors = {name: load_tensor(source, name, dtype) for name in names}
    anchor = load_anchor(find_base(link, path, base), dtype, need=())
    others: dict[str, Any] = {} if link.person == card.name else dict.fromkeys((*STAGES, *PICTURES))
    own = others | tensors | {stage: _updated(anchor, stage, updates[stage], path) for stage in updates}
    anchor = replace(anchor, card=card, **own)
    for stage in STAGES:
        if (sgdm := getattr(anchor, stage)) is not None:
            sgdm.fidelity = fidelity_of(card, stage)
    check_null(card, anchor.null_appearance is not None, path)
    return anchor


def _updated(anchor: Anchor, stage: str, update: Mapping[str, Tensor], path: Path) -> Any:
    sgdm = getattr(anchor, stage)
    if sgdm is None:
        raise AnchorError(
            f"{path.name} changes a {stage} network, which its base does not have: save it again."
        )
    add_low_rank(sgdm, update, path.name)
    return sgdm


def read_updates(path: str | os.PathLike[str]) -> dict[str, dict[str, Tensor]]:
    """{"body" or "face": tensors} of a low-rank anchor, as `save_lora` takes them: to add another stage."""
    if read_base(read_header(path), Path(path)) is None:
        raise AnchorError(
            f"{Path(path).name} is no low-rank anchor: there are no updates in it to take over."
        )
    with open_tensors(path) as source:
        return _updates(source)


def _updates(source: TensorFile) -> dict[str, dict[str, Tensor]]:
    stages = {stage: without_prefix(source.shapes, f"{stage}.") for stage in STAGES}
    known = {name for names in stages.values() for name in names.values()}
    loose = [name for name in source.shapes if name not in known and name not in TENSORS]
    if loose:
        raise AnchorError(
            f"{source.path.name} holds {len(loose)} tensors of no known part ({loose[0][:80]}): "
            "save it again."
        )
    # Copies, not the file's memory map: the file can be replaced while they live.
    return {
        stage: {name: source.read(full).clone() for name, full in names.items()}
        for stage, names in stages.items()
        if names
    }


def _check_updates(updates: Mapping[str, Mapping[str, Tensor]], base: Header, name: str) -> None:
    for stage, update in updates.items():
        layers = layers_of(update, "the low-rank training")
        absent = [layer for layer in layers if f"{stage}.{layer}.weight" not in base.shapes]
        if stage not in STAGES or not layers or absent:
            what = f"the layer {absent[0]}" if absent else "any update"
            raise AnchorError(
                f"{name} has no {stage} network with {what}: name the anchor file that was trained on."
            )
    if not updates:
        raise AnchorError("There are no low-rank updates to save: train them first.")
