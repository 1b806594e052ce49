"""The picture of an alignment: the mesh's outline on the worst and best frames, and the fit over the lag."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..render.caption import captioned
from .alignment import Example, grown
from .verdict import Alignment

_COLUMNS, _TILE = 4, 288  # tiles in a row, pixels of the longer side of each
_GAP = 8
_FONT_PX, _LINE = 14, 20
_CURVE = 120  # pixels of the curve's height
_PAPER, _FIELD, _GRID = (24, 24, 24), (38, 38, 38), (84, 84, 84)
_INK, _FAINT = (235, 235, 235), (160, 160, 160)
_GOOD, _BAD = (128, 216, 136), (255, 176, 64)
_OUTLINE, _SHADOW = (0, 230, 255), (0, 0, 0)
_CHARACTERS = 140  # in a line of the verdict


def draw_alignment(result: Alignment, examples: Sequence[Example], title: str = "") -> np.ndarray:
    """What the check saw, (H, W, 3) uint8 sRGB: verdict, worst and best frames with outlines, fit per lag."""
    rows = [[one for one in examples if one.good is good] for good in (False, True)]
    bands = [_heading(result, title)]
    for name, row in zip(("worst frames", "best frames"), rows, strict=True):
        if row:
            bands += [_label(name), _row(row, result.fps)]
    if result.profile:
        bands += [_label(_curve_name(result)), _curve(result)]
    return np.concatenate(bands)


def _width() -> int:
    return _COLUMNS * (_TILE + _GAP) + _GAP


def _heading(result: Alignment, title: str) -> np.ndarray:
    """Title, the numbers, and the sentences of the verdict."""
    facts = [f"{result.frames} frames", f"{result.change_share:.0%} of the change in the silhouette"]
    facts.append(f"fit {result.score:.2f}")
    if result.matched:
        facts.append(f"shift {result.shift[0]:+.1f}, {result.shift[1]:+.1f} px, lag {result.lag:+d} frames")
    facts += [] if result.iou is None else [f"{result.iou:.0%} of the matte's area shared"]
    lines = [(f"{title}   " * bool(title) + ", ".join(facts), _FAINT)]
    ink = _GOOD if result.good else _BAD
    for sentence in result.verdict:
        lines += [(line, ink) for line in textwrap.wrap(sentence, _CHARACTERS)]
    band = _band(len(lines) * _LINE + 2 * _GAP)
    return _written(band, [((_GAP, _GAP + i * _LINE), text, ink) for i, (text, ink) in enumerate(lines)])


def _label(text: str) -> np.ndarray:
    return _written(_band(_LINE + _GAP), [((_GAP, _GAP), text, _INK)])


def _row(examples: Sequence[Example], fps: float) -> np.ndarray:
    tiles = [_tile(one, fps) for one in examples[:_COLUMNS]]
    band = _band(tiles[0].shape[0])
    for column, tile in enumerate(tiles):
        left = _GAP + column * (_TILE + _GAP)
        band[:, left : left + tile.shape[1]] = tile
    return band


def _tile(example: Example, fps: float) -> np.ndarray:
    from PIL import Image

    height, width = example.solid.shape
    scale = _TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = np.array(Image.fromarray(example.picture).resize(size, Image.Resampling.LANCZOS))
    solid = np.asarray(Image.fromarray(example.solid.astype(np.uint8) * 255).resize(size)) > 127
    line = grown(solid, 1) & ~solid
    picture[grown(line, 1)] = _SHADOW  # a dark seam keeps the line legible on a bright picture
    picture[line] = _OUTLINE
    text = f"frame {example.index}   {example.index / fps:.2f} s   "
    return captioned(picture, text, f"{example.score:.0%} inside", _FONT_PX)


def _curve_name(result: Alignment) -> str:
    found = f"best: {result.lag:+d}" if result.matched else "none stands out"
    return f"fit of the changes if the mesh came ... frames later ({found})"


def _curve(result: Alignment) -> np.ndarray:
    """Score over lag as bars; the axis ends at the best score, 0.1 at least."""
    band = _band(_CURVE + _LINE)
    field = band[:_CURVE, _GAP:-_GAP]
    field[:] = _FIELD
    profile = np.array(result.profile)
    longest, top = len(profile) // 2, max(0.1, float(profile.max()))
    step = field.shape[1] / len(profile)
    marks = []
    for i, score in enumerate(profile):
        left, right = round(i * step), max(round(i * step) + 1, round((i + 1) * step) - 2)
        tall = round(max(0.0, float(score)) / top * (_CURVE - 4))
        color = _GOOD if i - longest == result.lag and result.matched else _GRID
        field[_CURVE - tall :, left:right] = color
        if (i - longest) % 5 == 0:
            marks.append(((_GAP + left, _CURVE + 2), f"{i - longest:+d}" if i != longest else "0", _FAINT))
    return _written(band, [*marks, ((_GAP + 4, 4), f"{top:.2f}", _FAINT)])


def _band(height: int) -> np.ndarray:
    return np.full((height, _width(), 3), _PAPER, np.uint8)


def _written(band: np.ndarray, texts: Sequence[tuple[tuple[int, int], str, Any]]) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(band)
    draw: Any = ImageDraw.Draw(image)
    font: Any = ImageFont.load_default(size=_FONT_PX)
    for place, text, ink in texts:
        draw.text(place, text, ink, font)
    return np.array(image)
