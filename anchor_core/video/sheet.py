"""A contact sheet: what a clip looks like at one glance, evenly chosen frames in labelled rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AnchorError
from ..files import atomic_path
from .write import check_frame

if TYPE_CHECKING:
    from PIL import Image

_GAP = 2  # pixels between the pictures
_INK = (235, 235, 235)
_PAPER = (24, 24, 24)


def save_sheet(
    path: str | os.PathLike[str],
    rows: Mapping[str, Sequence[np.ndarray] | np.ndarray],
    n_columns: int = 8,
    tile_width: int = 192,
) -> None:
    """Write a PNG with one row per entry of `rows`, for example mesh over result over truth.

    rows: {label: frames}, frames (F, H, W, 3) uint8 sRGB or a sequence of (H, W, 3); rows may differ in size,
    not in length. n_columns: how many frames of the clip are shown; tile_width: pixels of each.
    Raises AnchorError when there is nothing to show or rows differ in length.
    """
    if Path(path).suffix.lower() != ".png":
        raise AnchorError(f"Contact sheets are written as .png, not as {Path(path).name!r}: change the name.")
    sheet = draw_sheet(rows, n_columns, tile_width)
    with atomic_path(path) as partial:
        sheet.save(partial)


def draw_sheet(
    rows: Mapping[str, Sequence[np.ndarray] | np.ndarray], n_columns: int, tile_width: int
) -> Image.Image:
    """The sheet as a picture; arguments as in `save_sheet`."""
    from PIL import Image, ImageDraw

    chosen = choose_frames(_length(rows), n_columns)
    strips = [_strip(frames, chosen, tile_width) for frames in rows.values()]
    heading = _line_height(tile_width)
    width = len(chosen) * (tile_width + _GAP) + _GAP
    height = sum(strip.height + heading + _GAP for strip in strips) + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw, y = ImageDraw.Draw(sheet), _GAP
    for label, strip in zip(rows, strips, strict=True):
        _letter(draw, label, chosen, y, tile_width)
        sheet.paste(strip, (0, y + heading))
        y += heading + strip.height + _GAP
    return sheet


def choose_frames(n_frames: int, n_columns: int) -> list[int]:
    """At most `n_columns` different frame numbers, evenly from the first to the last."""
    if n_columns < 1:
        raise AnchorError(f"n_columns is {n_columns}: show at least one frame.")
    return sorted({int(i) for i in np.linspace(0, n_frames - 1, min(n_columns, n_frames)).round()})


def _length(rows: Mapping[str, Sequence[np.ndarray] | np.ndarray]) -> int:
    lengths = {label: len(frames) for label, frames in rows.items()}
    if not lengths or not min(lengths.values()):
        raise AnchorError(
            "There is nothing to show on a contact sheet: give at least one row with one frame."
        )
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{label}: {length}" for label, length in lengths.items())
        raise AnchorError(
            f"The rows of a contact sheet differ in length ({listed}): give the same frames of each."
        )
    return next(iter(lengths.values()))


def _strip(frames: Sequence[np.ndarray] | np.ndarray, chosen: Sequence[int], tile_width: int) -> Image.Image:
    from PIL import Image

    height, width = frames[chosen[0]].shape[:2]
    tile_height = max(1, round(tile_width * height / width))
    strip = Image.new("RGB", (len(chosen) * (tile_width + _GAP) + _GAP, tile_height), _PAPER)
    for column, index in enumerate(chosen):
        check_frame(frames[index], (height, width), index)
        tile = Image.fromarray(frames[index])
        # Small frames are enlarged with their pixels visible: a sheet must not flatter.
        way = Image.Resampling.NEAREST if tile_width % width == 0 else Image.Resampling.LANCZOS
        strip.paste(tile.resize((tile_width, tile_height), way), (_GAP + column * (tile_width + _GAP), 0))
    return strip


def _line_height(tile_width: int) -> int:
    return max(12, tile_width // 11)


def _letter(draw: Any, label: str, chosen: Sequence[int], y: int, tile_width: int) -> None:
    """The row's label over its first picture, the frame's number over each, at the right."""
    from PIL import ImageFont

    size = _line_height(tile_width)
    font = ImageFont.load_default(size=size - 3)
    for column, index in enumerate(chosen):
        x = _GAP + column * (tile_width + _GAP)
        draw.text((x + tile_width - 2, y), str(index), _INK, font, anchor="ra")
    draw.text((_GAP, y), label, _INK, font)
