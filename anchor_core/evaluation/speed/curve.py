"""A few lines in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...files import write_png
from ..plots import steps

_WIDTH, _HEIGHT = 960, 540
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 20, 20, 50  # pixels around the field
_INK, _GRID = (40, 40, 40), (225, 225, 225)
_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167))  # Okabe and Ito: told apart by all


@dataclass(frozen=True)
class Line:
    """A name and points (x, y), x rising."""

    name: str
    points: Sequence[tuple[float, float]]


def draw_lines(path: Path, lines: Sequence[Line], below: str, beside: str) -> None:
    """Write a PNG; both axes begin at 0. below, beside: what they count."""
    from PIL import Image, ImageDraw

    drawn = [line for line in lines if line.points]
    most = [max((point[axis] for line in drawn for point in line.points), default=1.0) for axis in (0, 1)]
    image = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    right, low = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (right - _LEFT) * x / most[0], low - (low - _TOP) * y / (1.05 * most[1])

    for value in steps(0, 1.05 * most[1], 6):
        y = place(0, value)[1]
        pen.line((_LEFT, y, right, y), fill=_GRID)
        pen.text((_LEFT - 8, y), f"{value:g}", fill=_INK, anchor="rm")
    for value in steps(0, most[0], 8):
        x = place(value, 0)[0]
        pen.text((x, low + 8), f"{value:g}", fill=_INK, anchor="ma")
    pen.text((right, _HEIGHT - 8), below, fill=_INK, anchor="rs")
    pen.text((8, 4), beside, fill=_INK, anchor="la")
    for number, line in enumerate(drawn):
        colour = _COLOURS[number % len(_COLOURS)]
        pen.line([place(*point) for point in line.points], fill=colour, width=2)
        pen.text((_LEFT + 12, low - 16 - 18 * (len(drawn) - 1 - number)), line.name, fill=colour, anchor="lm")
    write_png(path, np.asarray(image))
