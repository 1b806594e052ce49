"""A picture of the window plan: which frames are denoised together, and whose prediction counts where.

Each window is a bar over its frames, shaded by its weights. The strip below the bars shows for every frame
how the windows share it: a hard seam is a step, a soft one a ramp. Schedules whose windows move are drawn
for several steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import AnchorError
from .windows import Window, check_windows, plan_weights, plan_windows

MOVING_STEPS = 6
"""Steps drawn of a schedule whose windows move: enough to see the pattern."""

Color = tuple[int, int, int]

_PAPER: Color = (20, 23, 31)
_INK: Color = (234, 237, 243)
_FAINT: Color = (138, 146, 164)
_BARS: tuple[Color, ...] = ((92, 205, 190), (255, 141, 110), (248, 203, 96), (150, 138, 255), (108, 182, 255))
_DIM = 0.22  # brightness of a frame whose weight is almost nothing
_FINE = 2  # drawn this much larger, then reduced: smooth edges from PIL
_LEGEND_WIDTH = 1000  # narrower pictures have no room for the legend
_MOST_CELLS = 1_000_000  # frames of all windows together
_LEAST_PIXELS = 3  # per frame; a longer clip is drawn in part


@dataclass(frozen=True)
class _Sheet:
    """Measures of the picture in pixels."""

    n_frames: int
    width: int
    bar: int
    share: int

    left: int = 40
    right: int = 40
    head: int = 96
    gap: int = 5

    @property
    def shown(self) -> int:
        """Frames that are drawn."""
        return min(self.n_frames, (self.width - self.left - self.right) // _LEAST_PIXELS)

    def x(self, frame: float) -> float:
        """Left edge of a frame."""
        return self.left + frame * (self.width - self.left - self.right) / self.shown


@dataclass(frozen=True)
class _Row:
    """One step of the plan."""

    windows: list[Window]
    weights: list[tuple[float, ...]]
    lanes: list[int]

    @property
    def n_lanes(self) -> int:
        return max(self.lanes) + 1


def plan_picture(
    n_frames: int,
    window_size: int = 16,
    overlap: int = 4,
    schedule: str = "static",
    weighting: str = "flat",
    *,
    steps: int | None = None,
    width: int = 1280,
) -> np.ndarray:
    """Draw a window plan: (H, W, 3) uint8.

    steps: denoising steps to draw, one below the other; by default one, or six where windows move.
    width: pixels, 320 or more. Raises AnchorError for numbers that make no plan.
    """
    _check_drawable(n_frames, window_size, overlap, schedule)
    moving = schedule in ("uniform", "looped") and n_frames > window_size
    count = steps or (MOVING_STEPS if moving else 1)
    plan = (window_size, overlap, schedule, weighting)
    rows = [_plan_row(n_frames, plan, step) for step in range(count)]
    small = count > 1
    sheet = _Sheet(n_frames, max(width, 320), bar=14 if small else 30, share=16 if small else 44)
    pen = _Pen(sheet.width, _height(sheet, rows))
    _draw_head(pen, sheet, rows, plan)
    top = sheet.head
    for step, row in enumerate(rows):
        top = _draw_row(pen, sheet, row, top, f"step {step + 1}" if small else "")
    _draw_axis(pen, sheet, top)
    return pen.finished()


def _check_drawable(n_frames: int, window_size: int, overlap: int, schedule: str) -> None:
    """Raise AnchorError for a plan that would take minutes and gigabytes to draw."""
    check_windows(window_size, overlap, schedule)
    cells = n_frames // (window_size - overlap) * min(window_size, n_frames)
    if n_frames > _MOST_CELLS or (cells > _MOST_CELLS and n_frames > window_size):
        raise AnchorError(
            f"the plan of {n_frames} frames in windows of {window_size} with overlap {overlap} is too "
            "large to draw: draw fewer frames, all windows are alike"
        )


def _plan_row(n_frames: int, plan: tuple[int, int, str, str], step: int) -> _Row:
    window_size, overlap, schedule, weighting = plan
    windows = plan_windows(n_frames, window_size, overlap, schedule, step)
    weights = plan_weights(windows, weighting, overlap, closed=schedule == "looped")
    return _Row(windows, weights, _lanes(windows))


def _lanes(windows: list[Window]) -> list[int]:
    """The first lane where each window meets no other one."""
    taken: list[set[int]] = []
    lanes = []
    for window in windows:
        free = next((i for i, frames in enumerate(taken) if frames.isdisjoint(window)), len(taken))
        if free == len(taken):
            taken.append(set())
        taken[free].update(window)
        lanes.append(free)
    return lanes


def _row_height(sheet: _Sheet, row: _Row, labelled: bool) -> int:
    return (20 if labelled else 0) + row.n_lanes * (sheet.bar + sheet.gap) + sheet.share + 20


def _height(sheet: _Sheet, rows: list[_Row]) -> int:
    return sheet.head + sum(_row_height(sheet, row, len(rows) > 1) for row in rows) + 32


def _draw_head(pen: _Pen, sheet: _Sheet, rows: list[_Row], plan: tuple[int, int, str, str]) -> None:
    counts = sorted({len(row.windows) for row in rows})
    windows = " or ".join(map(str, counts)) + (" window" if counts == [1] else " windows")
    frames = f"{sheet.n_frames} frame" + ("s" if sheet.n_frames != 1 else "")
    pen.write((sheet.left, 24), f"{frames} in {windows}", 26, _INK)
    facts = "window_size {}   overlap {}   schedule {}   weighting {}".format(*plan)
    if sheet.shown < sheet.n_frames:
        facts += f"   (first {sheet.shown} frames shown)"
    pen.write((sheet.left, 60), facts, 15, _FAINT)
    if sheet.width >= _LEGEND_WIDTH:
        edge = sheet.width - sheet.right
        pen.write((edge, 34), "bars: the windows, bright where a frame counts most", 13, _FAINT, anchor="ra")
        pen.write((edge, 62), "strip: how the windows share each frame", 13, _FAINT, anchor="ra")


def _draw_row(pen: _Pen, sheet: _Sheet, row: _Row, top: int, label: str) -> int:
    """Draw the windows of a step and how they share the frames; returns where the next row starts."""
    bottom = top + _row_height(sheet, row, bool(label))
    if label:
        pen.write((sheet.left, top), label, 13, _FAINT)
        top += 20
    for number, (window, weights, lane) in enumerate(zip(row.windows, row.weights, row.lanes, strict=True)):
        y = top + lane * (sheet.bar + sheet.gap)
        for piece in _pieces(window, sheet.shown):
            shades = [_shade(_color(number), weights[i]) for i in piece]
            start, stop = window[piece[0]], window[piece[-1]] + 1
            box = (sheet.x(start), y, sheet.x(stop), y + sheet.bar)
            pen.bar(box, shades, sheet.bar // 4)
            text = str(start) if len(piece) == 1 else f"{start}-{stop - 1}"
            pen.label_bar(box, text, _readable(shades[len(shades) // 2]))
    _draw_shares(pen, sheet, row, top + row.n_lanes * (sheet.bar + sheet.gap) + 2)
    return bottom


def _pieces(window: Window, shown: int) -> list[list[int]]:
    """Positions in the window whose frames lie side by side: one run, or two where it wraps round the end."""
    wrap = next((i for i in range(1, len(window)) if window[i] < window[i - 1]), len(window))
    runs = [range(wrap), range(wrap, len(window))]
    return [piece for run in runs if (piece := [i for i in run if window[i] < shown])]


def _draw_shares(pen: _Pen, sheet: _Sheet, row: _Row, top: int) -> None:
    """A column per frame, divided between its windows by their share of the average."""
    shares: list[list[tuple[int, float]]] = [[] for _ in range(sheet.n_frames)]
    for number, (window, weights) in enumerate(zip(row.windows, row.weights, strict=True)):
        for frame, weight in zip(window, weights, strict=True):
            shares[frame].append((number, weight))
    gap = 1.0 if sheet.x(1) - sheet.x(0) >= 6 else 0.0
    for frame in range(sheet.shown):
        total = sum(weight for _, weight in shares[frame])
        y = float(top)
        for number, weight in shares[frame]:
            height = sheet.share * weight / total
            box = (sheet.x(frame), y, sheet.x(frame + 1) - gap, y + height)
            pen.box(box, _shade(_color(number), 0.6))
            y += height


def _draw_axis(pen: _Pen, sheet: _Sheet, top: int) -> None:
    """Frame numbers, at round steps, below everything."""
    room = 46 / (sheet.x(1) - sheet.x(0))
    every = next(step for step in (1, 2, 4, 8, 12, 16, 24, 48, 96, 192, 10**9) if step >= room)
    for frame in range(0, sheet.shown, every):
        x = (sheet.x(frame) + sheet.x(frame + 1)) / 2
        pen.box((x - 0.5, top - 11, x + 0.5, top - 5), _FAINT)
        pen.write((x, top), str(frame), 13, _FAINT, anchor="ma")


def _color(number: int) -> Color:
    return _BARS[number % len(_BARS)]


def _readable(background: Color) -> Color:
    return _PAPER if sum(background) > 330 else _INK


def _shade(color: Color, weight: float) -> Color:
    """The colour of a bar at a weight in [0, 1]: from dim to full."""
    part = _DIM + (1 - _DIM) * weight
    red, green, blue = (round(p + (c - p) * part) for p, c in zip(_PAPER, color, strict=True))
    return red, green, blue


class _Pen:
    """Draws in pixels of the finished picture on a finer canvas."""

    def __init__(self, width: int, height: int) -> None:
        from PIL import Image, ImageDraw

        self._size = (width, height)
        self._canvas = Image.new("RGB", (width * _FINE, height * _FINE), _PAPER)
        self._draw = ImageDraw.Draw(self._canvas)

    def write(
        self, place: tuple[float, float], text: str, size: float, color: Color, anchor: str = "la"
    ) -> None:
        at = (place[0] * _FINE, place[1] * _FINE)
        self._draw.text(at, text, color, font=_font(size), anchor=anchor)

    def box(self, box: tuple[float, float, float, float], color: Color) -> None:
        x0, y0, x1, y1 = (round(value * _FINE) for value in box)
        if x1 > x0 and y1 > y0:
            self._draw.rectangle((x0, y0, x1 - 1, y1 - 1), color)

    def bar(self, box: tuple[float, float, float, float], shades: list[Color], radius: float) -> None:
        """A rounded bar of equal cells, one shade each."""
        from PIL import Image, ImageDraw

        x0, y0, x1, y1 = (round(value * _FINE) for value in box)
        cells = Image.new("RGB", (max(x1 - x0 - _FINE, 1), y1 - y0))
        paint = ImageDraw.Draw(cells)
        cell = (x1 - x0) / len(shades)
        for i, shade in enumerate(shades):
            paint.rectangle((round(i * cell), 0, round((i + 1) * cell), y1 - y0), shade)
        mask = Image.new("L", cells.size)
        corners = (0, 0, cells.width - 1, cells.height - 1)
        ImageDraw.Draw(mask).rounded_rectangle(corners, radius * _FINE, fill=255)
        self._canvas.paste(cells, (x0, y0), mask)

    def label_bar(self, box: tuple[float, float, float, float], text: str, color: Color) -> None:
        """Write text into the middle of a bar, if there is room."""
        x0, y0, x1, y1 = box
        size = min(14.0, (y1 - y0) * 0.72)
        if self._draw.textlength(text, font=_font(size)) < (x1 - x0 - 8) * _FINE:
            self.write(((x0 + x1) / 2, (y0 + y1) / 2), text, size, color, anchor="mm")

    def finished(self) -> np.ndarray:
        from PIL import Image

        return np.array(self._canvas.resize(self._size, Image.Resampling.LANCZOS))


def _font(size: float) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size * _FINE)
