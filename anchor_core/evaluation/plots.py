"""Curves over time as SVG, for a page without scripts: colours come from its style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from .report import Curve

_WIDTH, _HEIGHT = 960, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 10, 26  # pixels around the field
_MOST_POINTS = 1200  # of a line; of more, the lowest and highest of each stretch are drawn
_TICKS_Y, _TICKS_X = 4, 8
_USUAL = (0.5, 99.5)  # percentiles that the scale is chosen by: one wild frame must not flatten the rest
_ROOM = 0.08  # of the scale, above and below


def draw_curve(curve: Curve, n_frames: int, fps: float) -> str:
    """The curve of a clip as an <svg>; the axis counts seconds where fps is known, else frames."""
    lines = {name: np.asarray(line, np.float64) for name, line in curve.values.items()}
    low, high = scale_of(np.concatenate(list(lines.values())))
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(curve.name)}">',
        *_horizontal(low, high),
        *_times(n_frames, fps),
        *(_mark(_x(t, n_frames)) for t in curve.marks),
        *(_line(line, n_frames, (low, high), name) for name, line in lines.items()),
        "</svg>",
    ]
    return "".join(parts)


def steps(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers (1, 2, 2.5 or 5 times a power of ten apart) from low to high."""
    raw = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def scale_of(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest number of an axis that shows the values, without room for wild ones."""
    finite = values[np.isfinite(values)]
    low, high = (float(x) for x in np.percentile(finite, _USUAL))
    middle = (low + high) / 2
    span = max(high - low, abs(middle) * 1e-3, 1e-6)
    return middle - span * (0.5 + _ROOM), middle + span * (0.5 + _ROOM)


def _x(frame: float, n_frames: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * frame / max(1, n_frames - 1)


def _y(value: float, low: float, high: float) -> float:
    share = min(max((value - low) / (high - low), -0.01), 1.01)  # what is outside lies on the edge
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * share


def _horizontal(low: float, high: float) -> list[str]:
    parts = []
    for value in steps(low, high, _TICKS_Y):
        y = _y(value, low, high)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{value:.6g}</text>')
    return parts


def _times(n_frames: int, fps: float) -> list[str]:
    unit, rate = (" s", fps) if fps else ("", 1.0)
    parts = []
    for value in steps(0, max(1, n_frames - 1) / rate, _TICKS_X):
        x = _x(value * rate, n_frames)
        anchor = "end" if x > _WIDTH - 40 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 7}" text-anchor="{anchor}">{value:.6g}{unit}</text>')
    return parts


def _mark(x: float) -> str:
    return f'<path class="mark" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>'


def _line(values: np.ndarray, n_frames: int, scale: tuple[float, float], name: str) -> str:
    """One line, broken where there is no number."""
    path, pen = [], "M"
    for frame, value in thinned(values):
        if math.isfinite(value):
            path.append(f"{pen}{_x(frame, n_frames):.1f} {_y(value, *scale):.1f}")
            pen = "L"
        else:
            pen = "M"
    return f'<path class="line {escape(name)}" d="{"".join(path)}"/>'


def thinned(values: np.ndarray) -> Sequence[tuple[float, float]]:
    """(frame, value) of at most _MOST_POINTS points that keep the extremes."""
    if len(values) <= _MOST_POINTS:
        return list(enumerate(values.tolist()))
    points: list[tuple[float, float]] = []
    for part in np.array_split(np.arange(len(values)), _MOST_POINTS // 2):
        finite = part[np.isfinite(values[part])]
        if not len(finite):
            points.append((float(part[0]), math.nan))
            continue
        ends = sorted({int(finite[values[finite].argmin()]), int(finite[values[finite].argmax()])})
        points += [(float(frame), float(values[frame])) for frame in ends]
    return points
