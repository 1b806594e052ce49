"""What a result says about how it was made: videos of this pack carry the settings of their sampling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..anchor.card import AnchorCard
from ..errors import AnchorError
from ..video.read import read_info
from .steadiness import Windows


def windows_of(result: Path, card: AnchorCard | None = None) -> Windows | None:
    """The windows of a result's denoising: by its own tags, else by the anchor's card; None if neither."""
    settings = _settings(result)
    try:
        return Windows(int(settings["window_size"]), int(settings["overlap"]), str(settings["schedule"]))
    except (KeyError, TypeError, ValueError):
        return None if card is None else Windows(card.window_size, card.overlap)


def parse_windows(text: str) -> Windows:
    """ "16/4", or "16/4/reference" for another schedule than static. Raises AnchorError."""
    size, _, rest = text.partition("/")
    overlap, _, schedule = rest.partition("/")
    try:
        numbers = int(size), int(overlap)
    except ValueError:
        raise AnchorError(
            f"windows are {text!r}: give SIZE/OVERLAP in frames, as 16/4, or SIZE/OVERLAP/SCHEDULE"
        ) from None
    return Windows(*numbers, schedule or "static")


def _settings(result: Path) -> dict[str, Any]:
    """The sampling settings in the tags of a video; empty where there are none."""
    if not result.is_file():
        return {}
    try:
        settings = json.loads(read_info(result).tags.get("comment", ""))["settings"]
    except (ValueError, TypeError, LookupError):
        return {}
    return settings if isinstance(settings, dict) else {}
