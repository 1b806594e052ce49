"""The loss of a training as a picture: every report as a dot, their trend as a line, on a log scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Point = tuple[float, float]

_PAPER, _INK, _FAINT, _GRID = (20, 23, 31), (234, 237, 243), (138, 146, 164), (48, 54, 68)
_DOT, _LINE = (70, 118, 122), (92, 205, 190)
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 28, 58, 52  # pixels around the plot, before `_FINE`
_FINE = 2  # drawn this much larger, then reduced: smooth edges from PIL
_MOST_POINTS = 1000
"""More reports are averaged in groups: no screen shows more."""
_TREND = 0.03  # width of the trend's window as a share of the steps shown


def draw_loss(
    losses: Mapping[int, float], steps: int, title: str = "loss", size: tuple[int, int] = (960, 540)
) -> np.ndarray:
    """A picture (H, W, 3) uint8 of losses by step.

    losses: {step: mean loss since the entry before}; entries that a log scale cannot show are left out.
    steps: right end of the axis. size: width and height in pixels, at least 320 x 200.
    """
    from PIL import Image, ImageDraw

    points = [
        (float(step), loss)
        for step, loss in sorted(losses.items())
        if loss > 0 and math.isfinite(loss) and step <= steps
    ]
    points = grouped(points, _MOST_POINTS)
    image = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), _PAPER)
    draw: Any = ImageDraw.Draw(image)
    plot = _Plot(draw, size, steps, *_limits([loss for _, loss in points]))
    if points:
        plot.axes()
    plot.text((_LEFT, 18), title, 17, _INK, "la")
    plot.dots(points)
    plot.stroke([(plot.x(step), plot.y(loss)) for step, loss in trend(points)], _LINE, 2)
    if not points:
        plot.text((size[0] / 2, size[1] / 2), "no loss yet", 17, _FAINT, "mm")
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


def grouped(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` points: means of neighbours, the losses' in the logarithm."""
    if len(points) <= most:
        return list(points)
    parts = np.array_split(np.array([(step, math.log(loss)) for step, loss in points]), most)
    return [(float(step), math.exp(loss)) for step, loss in (part.mean(axis=0) for part in parts)]


def trend(points: Sequence[Point], share: float = _TREND) -> list[Point]:
    """Local lines through the logarithms of the losses: follows a fall without lagging behind it.

    share: deviation of the Gaussian window as a share of the range of steps, at least 1.5 points.
    """
    if len(points) < 3:
        return list(points)
    steps, losses = np.array([(step, math.log(loss)) for step, loss in points]).T
    width = max(share * (steps[-1] - steps[0]), 1.5 * float(np.median(np.diff(steps))))
    away = (steps[None] - steps[:, None]) / width  # (points, neighbours)
    weight = np.exp(-0.5 * away**2)
    weight /= weight.sum(axis=1, keepdims=True)
    middle, mean = (weight * away).sum(axis=1), weight @ losses
    spread = (weight * away**2).sum(axis=1) - middle**2
    slope = ((weight * away) @ losses - middle * mean) / np.maximum(spread, 1e-9)
    return list(zip(steps.tolist(), np.exp(mean - slope * middle).tolist(), strict=True))


def ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Two to `most` round numbers from `low` to `high`: evenly spaced within a power of ten, else powers."""
    if high / low < 8:
        return _even_ticks(low, high, most)
    for leads in ((1, 2, 5), (1, 3), (1,)):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [lead * 10.0**power for power in powers for lead in leads]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) <= most:
            break
    return found


def _even_ticks(low: float, high: float, most: int) -> list[float]:
    unit = 10.0 ** (math.floor(math.log10(high - low)) - 1)
    for stride in (unit * lead for lead in (1, 2, 5, 10, 20, 50)):
        first, last = math.ceil(low / stride), math.floor(high / stride)
        if last - first < most:
            break
    return [number * stride for number in range(first, last + 1)]


def _limits(losses: Sequence[float]) -> tuple[float, float]:
    """Ends of the loss axis, some room included; never less than a factor of 1.6 apart."""
    if not losses:
        return 0.01, 1.0
    low, high = min(losses) / 1.1, max(losses) * 1.1
    middle, spread = math.sqrt(low * high), max(math.sqrt(high / low), math.sqrt(1.6))
    return middle / spread, middle * spread


class _Plot:
    """Places numbers on the picture; all pixels are those of the reduced picture."""

    def __init__(self, draw: Any, size: tuple[int, int], steps: int, low: float, high: float) -> None:
        self.draw, self.steps, self.low, self.high = draw, max(1, steps), low, high
        self.left, self.right = _LEFT, size[0] - _RIGHT
        self.top, self.bottom = _TOP, size[1] - _BOTTOM

    def x(self, step: float) -> float:
        return self.left + (self.right - self.left) * step / self.steps

    def y(self, loss: float) -> float:
        share = math.log(loss / self.low) / math.log(self.high / self.low)
        return self.bottom - (self.bottom - self.top) * share

    def axes(self) -> None:
        for tick in ticks(self.low, self.high):
            self.stroke([(self.left, self.y(tick)), (self.right, self.y(tick))], _GRID, 1)
            self.text((self.left - 10, self.y(tick)), f"{tick:.4g}", 14, _FAINT, "rm")
        for step in _round_steps(self.steps):
            self.stroke([(self.x(step), self.bottom), (self.x(step), self.bottom + 5)], _FAINT, 1)
            self.text((self.x(step), self.bottom + 10), f"{step:,}", 14, _FAINT, "ma")
        self.stroke([(self.left, self.bottom), (self.right, self.bottom)], _FAINT, 1)
        self.text((self.right, self.bottom + 29), "steps", 14, _FAINT, "ra")

    def dots(self, points: Sequence[Point]) -> None:
        radius = (2.5 if len(points) < 100 else 1.5) * _FINE
        for step, loss in points:
            x, y = self.x(step) * _FINE, self.y(loss) * _FINE
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_DOT)

    def stroke(self, places: Sequence[Point], color: tuple[int, int, int], width: int) -> None:
        if len(places) > 1:
            scaled = [(x * _FINE, y * _FINE) for x, y in places]
            self.draw.line(scaled, fill=color, width=width * _FINE, joint="curve")

    def text(self, place: Point, text: str, size: int, color: tuple[int, int, int], anchor: str) -> None:
        from PIL import ImageFont

        font = ImageFont.load_default(size=size * _FINE)
        self.draw.text((place[0] * _FINE, place[1] * _FINE), text, color, font, anchor=anchor)


def _round_steps(steps: int, most: int = 8) -> list[int]:
    """Round numbers of steps from 0 to the end."""
    unit = 10 ** max(0, math.floor(math.log10(steps)) - 1)
    stride = next(unit * n for n in (1, 2, 5, 10, 20, 50, 100) if steps // (unit * n) <= most)
    return list(range(0, steps + 1, stride))
