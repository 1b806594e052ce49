"""Which files an anchor is made of, and how they become networks in the host's care."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..anchor_core.errors import AnchorError
from . import _folders, _host

if TYPE_CHECKING:
    from ..anchor_core.anchor.file import Anchor
    from ._anchor import LoadedAnchor

logger = logging.getLogger("anchor")

AUTO = "auto"


@dataclass(frozen=True)
class AnchorSource:
    """Where an anchor lies: its file or folder, and files of the parts that it does not hold itself.

    text_encoder: None also where no file was found; only guidance needs it.
    """

    path: Path
    vae: Path | None = None
    clip_vision: Path | None = None
    text_encoder: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All of them."""
        found = (self.path, self.vae, self.clip_vision, self.text_encoder)
        return [path for path in found if path is not None]


def find_source(
    path: Path, vae: str = AUTO, clip_vision: str = AUTO, text_encoder: str = AUTO
) -> AnchorSource:
    """The files of an anchor: chosen ones, its own parts, else the first that fits in the host's folders.

    Raises AnchorError where a VAE or a vision tower is nowhere to be found.
    """
    from ..anchor_core.anchor import base_parts
    from ..anchor_core.anchor.file import read_parts

    own: Sequence[str] = () if path.is_dir() else read_parts(path)
    found_vae = _part("vae" in own, vae, _folders.VAE_FOLDERS, base_parts.find_vae)
    vision = _part("vision" in own, clip_vision, _folders.VISION_FOLDERS, base_parts.find_vision)
    try:
        has_null, find = "null_appearance" in own, base_parts.find_text_encoder
        null = _part(has_null, text_encoder, _folders.TEXT_FOLDERS, find)
    except AnchorError as error:
        if text_encoder != AUTO:
            raise
        # Only guidance needs it; the sampler says so where it is used.
        logger.warning("%s Until then only cfg 1 works with this anchor.", error)
        null = None
    return AnchorSource(path, found_vae, vision, null)


def load_source(source: AnchorSource, precision: str = AUTO) -> LoadedAnchor:
    """Read the files, hand the networks to the host."""
    stored, computed = _host.network_types(precision)
    loaded = _host.manage(_completed(_read(source.path, stored), source), computed)
    return replace(loaded, source=source)


def _read(path: Path, dtype: Any) -> Anchor:
    from ..anchor_core.anchor.file import load_anchor, read_link
    from ..anchor_core.anchor.published import load_published

    if path.is_dir():
        return load_published(path, dtype)
    link = read_link(path)
    # Beside the file the core looks by itself; the host may have further folders of anchors.
    return load_anchor(path, dtype, base=None if link is None else _folders.other_anchor(link.name, path))


def _completed(anchor: Anchor, source: AnchorSource) -> Anchor:
    """The anchor with the parts of the other files."""
    from ..anchor_core.anchor import base_parts

    given: dict[str, Any] = {}
    if source.vae is not None:
        given["vae"] = base_parts.load_vae(source.vae)
    if source.clip_vision is not None:
        given["vision"] = base_parts.load_vision(source.clip_vision)
    if source.text_encoder is not None:
        given["null_appearance"] = base_parts.load_null_appearance(source.text_encoder)
    return replace(anchor, **given)


def _part(own: bool, choice: str, folders: tuple[str, ...], find: Callable[..., Path]) -> Path | None:
    if choice != AUTO:
        return _folders.model_path(folders, choice)
    return None if own else find(_folders.model_folders(folders))
