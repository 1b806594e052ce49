"""The evaluation as one picture, for where no page can be opened: table, curves, frames side by side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .page import columns
from .plots import scale_of, steps, thinned
from .report import Curve, Evaluation, Example

_WIDTH, _MARGIN, _ROW = 1000, 24, 26  # pixels, after `_FINE`
_PLOT, _LEFT, _HEAD = 150, 64, 30
_TILE, _GAP = 232, 8
_FINE = 2  # drawn this much larger, then reduced: smooth lines from PIL
_PAPER, _INK, _FAINT = (20, 23, 31), (234, 237, 243), (138, 146, 164)
_GRID, _MARK = (48, 54, 68), (150, 96, 44)
_COLOURS = {"red": (224, 90, 90), "green": (70, 180, 130), "blue": (100, 150, 240)}
_LINES = ((92, 205, 190), (240, 160, 80), (180, 150, 240))
_TABLE = (0, 190, 300, 400, 500)  # left ends of the columns, pixels from the margin
_SHOWN = 4
"""Frames side by side; the page has all."""


def draw_evaluation(evaluation: Evaluation) -> np.ndarray:
    """A picture (H, W, 3) uint8, 1000 pixels wide."""
    from PIL import Image

    examples = evaluation.examples[:_SHOWN]
    tiles = [_tile_height(example) + _HEAD for example in examples]
    height = 2 * _MARGIN + _HEAD + _ROW * (len(evaluation.measurements) + 1)
    height += len(evaluation.curves) * (_PLOT + 2 * _HEAD) + sum(tiles)
    sheet = _Sheet(height)
    top = _draw_table(sheet, evaluation)
    for curve in evaluation.curves.values():
        _draw_curve(sheet, curve, top + _HEAD)
        top += _PLOT + 2 * _HEAD
    small = sheet.image.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    for example, tall in zip(examples, tiles, strict=True):
        _paste_example(sheet, small, example, top)
        top += tall
    return np.array(small)


class _Sheet:
    """Draws in pixels of the result."""

    def __init__(self, height: int) -> None:
        from PIL import Image, ImageDraw

        self.image = Image.new("RGB", (_WIDTH * _FINE, height * _FINE), _PAPER)
        self._draw: Any = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, colour: Any = _INK, size: int = 14, at: str = "lm") -> None:
        write(self._draw, (x * _FINE, y * _FINE), text, colour, size * _FINE, at)

    def line(self, points: list[tuple[float, float]], colour: Any, width: float = 1) -> None:
        if len(points) > 1:
            scaled = [(x * _FINE, y * _FINE) for x, y in points]
            self._draw.line(scaled, fill=colour, width=round(width * _FINE))


def write(draw: Any, place: tuple[float, float], text: str, colour: Any, size: int, at: str = "lm") -> None:
    """Text in the font that ships with PIL, which knows Latin letters only."""
    from PIL import ImageFont

    plain = text.replace("–", "-").replace("∞", "infinite").replace("±", "+-").replace("é", "e")
    draw.text(place, plain, colour, ImageFont.load_default(size=size), anchor=at)


def _draw_table(sheet: _Sheet, evaluation: Evaluation) -> float:
    """The measurements; returns where they end."""
    facts, top = evaluation.facts, float(_MARGIN + _HEAD / 2)
    width, height = facts["size"]
    sheet.text(_MARGIN, top, f"{facts['frames']} frames of {width} x {height} pixels", size=17)
    top += _HEAD
    for one in evaluation.measurements:
        colour = _FAINT if math.isnan(one.value) else _INK
        cells = (one.kind.name, one.shown, one.kind.unit, one.kind.better, one.note)
        for left, cell, tint in zip(_TABLE, cells, (colour, colour, _FAINT, _FAINT, _FAINT), strict=True):
            sheet.text(_MARGIN + left, top, cell[:70], tint)
        top += _ROW
    return top


def _draw_curve(sheet: _Sheet, curve: Curve, top: float) -> None:
    lines = {name: np.asarray(line, np.float64) for name, line in curve.values.items()}
    count = max(len(line) for line in lines.values())
    low, high = scale_of(np.concatenate(list(lines.values())))
    right = _WIDTH - _MARGIN

    def at(frame: float, value: float) -> tuple[float, float]:
        share = min(max((value - low) / (high - low), 0), 1)
        x = _LEFT + _MARGIN + (right - _LEFT - _MARGIN) * frame / max(1, count - 1)
        return x, top + _PLOT - _PLOT * share

    unit = f" ({curve.unit})" if curve.unit else ""
    sheet.text(_MARGIN, top - _HEAD / 2, curve.name + unit)
    for value in steps(low, high, 4):
        y = at(0, value)[1]
        sheet.line([(_LEFT + _MARGIN, y), (right, y)], _GRID)
        sheet.text(_LEFT + _MARGIN - 8, y, f"{value:.5g}", _FAINT, 12, "rm")
    for mark in curve.marks:
        x = at(mark + 0.5, low)[0]
        sheet.line([(x, top), (x, top + _PLOT)], _MARK)
    place = 480.0
    for index, (name, line) in enumerate(lines.items()):
        colour = _COLOURS.get(name, _LINES[index % len(_LINES)])
        for part in _pieces(line):
            sheet.line([at(*point) for point in part], colour, 1.5)
        sheet.text(place, top - _HEAD / 2, name, colour)
        place += 90


def _pieces(line: np.ndarray) -> list[list[tuple[float, float]]]:
    """Its points, broken where there is no number."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for frame, value in thinned(line):
        if math.isfinite(value):
            pieces[-1].append((frame, value))
        elif pieces[-1]:
            pieces.append([])
    return pieces


def _tile_height(example: Example) -> int:
    height, width = example.result.shape[:2]
    return round(_TILE * height / width)


def _paste_example(sheet: _Sheet, image: Any, example: Example, top: float) -> None:
    from PIL import Image, ImageDraw

    kind = ", one of the worst" if example.worst else ""
    shown = columns(example)
    title = f"frame {example.index}: {example.psnr:.2f} dB{kind}   ({', '.join(shown)})"
    write(ImageDraw.Draw(image), (_MARGIN, top + _HEAD / 2), title, _INK, 14)
    for column, picture in enumerate(shown.values()):
        tile = Image.fromarray(picture).resize((_TILE, _tile_height(example)), Image.Resampling.LANCZOS)
        image.paste(tile, (round(_MARGIN + column * (_TILE + _GAP)), round(top + _HEAD)))
