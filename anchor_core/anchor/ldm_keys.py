"""Names of the VAE's weights in latent-diffusion, as rules from its names to those of diffusers.

In a Stable Diffusion checkpoint they stand under `first_stage_model.`. The levels of the decoder count from
the finest in one layout and from the coarsest in the other; the attention of the middle is written as 1x1
convolutions. Diffusers itself had other names for that attention before 2023 (`query`, `proj_attn`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_RULES: tuple[tuple[str, str], ...] = (
    (r"\.down\.(\d+)\.block\.", r".down_blocks.\1.resnets."),
    (r"\.down\.(\d+)\.downsample\.", r".down_blocks.\1.downsamplers.0."),
    (r"\.up\.(\d+)\.block\.", r".up_blocks.\1.resnets."),
    (r"\.up\.(\d+)\.upsample\.", r".up_blocks.\1.upsamplers.0."),
    (r"\.mid\.block_1\.", r".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", r".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.norm\.", r".mid_block.attentions.0.group_norm."),
    (r"\.mid\.attn_1\.([qkv])\.", r".mid_block.attentions.0.to_\1."),
    (r"\.mid\.attn_1\.proj_out\.", r".mid_block.attentions.0.to_out.0."),
    (r"\.norm_out\.", r".conv_norm_out."),
    (r"\.nin_shortcut\.", r".conv_shortcut."),
)
_OLD_ATTENTION: tuple[tuple[str, str], ...] = (
    (r"(attentions\.0)\.query\.", r"\1.to_q."),
    (r"(attentions\.0)\.key\.", r"\1.to_k."),
    (r"(attentions\.0)\.value\.", r"\1.to_v."),
    (r"(attentions\.0)\.proj_attn\.", r"\1.to_out.0."),
)


def is_ldm_vae(names: Iterable[str]) -> bool:
    """Whether the names are those of latent-diffusion."""
    return any(".mid.block_1." in name for name in names)


def diffusers_names(names: Iterable[str]) -> dict[str, str]:
    """{name in diffusers: name as given} for a VAE of either layout."""
    listed = list(names)
    if not is_ldm_vae(listed):
        return {_apply(_OLD_ATTENTION, name): name for name in listed}
    levels = 1 + max((int(m[1]) for name in listed if (m := re.search(r"\.up\.(\d+)\.", name))), default=0)
    return {_apply(_RULES, _count_from_coarsest(name, levels)): name for name in listed}


def _count_from_coarsest(name: str, levels: int) -> str:
    return re.sub(r"\.up\.(\d+)\.", lambda match: f".up.{levels - 1 - int(match[1])}.", name)


def _apply(rules: tuple[tuple[str, str], ...], name: str) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
