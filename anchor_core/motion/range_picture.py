"""The report on a motion as a picture: rows of body parts over time, the redder the worse."""

from __future__ import annotations

from typing import Any

import numpy as np

from .range_report import UNKNOWN, RangeReport, RangeRow
from .ranges import Array

Color = tuple[int, int, int]

_PAPER: Color = (20, 23, 31)
_INK: Color = (234, 237, 243)
_FAINT: Color = (150, 157, 174)
# Severity and colour; between them the colours are mixed. The step at 1 is meant to be seen.
_SCALE: tuple[tuple[float, Color], ...] = (
    (0.0, (38, 46, 62)),
    (0.999, (96, 104, 84)),
    (1.0, (248, 196, 84)),
    (2.0, (240, 104, 60)),
    (3.0, (226, 34, 64)),
)
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 960, 176, 70, 96, 52
_ROW, _GAP = 20, 3
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_TICK_ROOM = 64  # pixels


def draw_report(report: RangeReport) -> np.ndarray:
    """(H, 960, 3) uint8. A column shows the worst of its frames; the number at the right of a row is what
    counts as much there, where the colour turns to yellow."""
    from PIL import Image, ImageDraw

    rows = _rows(report)
    picture = Image.new("RGB", (_WIDTH, _TOP + len(rows) * (_ROW + _GAP) + _BOTTOM), _PAPER)
    draw = ImageDraw.Draw(picture)
    _draw_head(draw, report)
    if not rows:
        _write(draw, (24, 62), UNKNOWN, 13, _FAINT)
        return np.array(picture)
    _draw_legend(picture, draw)
    for number, (name, severity, limit) in enumerate(rows):
        top = _TOP + number * (_ROW + _GAP)
        _write(draw, (_LEFT - 10, top + _ROW / 2), name, 13, _INK, "rm")
        _write(draw, (_WIDTH - _RIGHT + 10, top + _ROW / 2), limit, 13, _FAINT, "lm")
        _draw_row(picture, draw, severity, top)
    _draw_axis(draw, report, _TOP + len(rows) * (_ROW + _GAP))
    return np.array(picture)


def _rows(report: RangeReport) -> list[tuple[str, Array | None, str]]:
    """Name, severity and limit of what is drawn; None where it is not known."""
    if not report.rows:
        return []
    return [("worst of all", report.severity, "limit"), *map(_row, report.rows)]


def _row(row: RangeRow) -> tuple[str, Array | None, str]:
    return row.name, row.severity if row.known else None, row.limit_text


def _draw_head(draw: Any, report: RangeReport) -> None:
    _write(draw, (24, 16), _heading(report), 19, _INK)
    seconds = report.n_frames / report.fps
    facts = f"{report.n_frames} frames, {seconds:.1f} s at {report.fps:g} fps"
    if report.n_trained:
        facts += f", against {report.n_trained} frames of the training"
    _write(draw, (24, 44), facts, 13, _FAINT)


def _heading(report: RangeReport) -> str:
    name = report.performer or "the anchor"
    name = name if len(name) <= 40 else name[:39] + "…"  # longer names do not fit
    if not report.rows:
        return f"What {name} was trained on is not known"
    count = int((report.severity >= 1).sum())
    if not count:
        return f"Near what {name} was trained on"
    return f"{count} of {report.n_frames} frames leave what {name} was trained on"


def _draw_legend(picture: Any, draw: Any) -> None:
    """The colours from as trained to three times the limit."""
    left, right, top = _WIDTH - _RIGHT - 240, _WIDTH - _RIGHT, 62
    picture.paste(_strip(np.linspace(0, 3, right - left), 8), (left, top))
    for severity, text in ((0, "as trained"), (1, "limit"), (2, "twice"), (3, "3 times")):
        _write(draw, (left + (right - left) * severity / 3, top + 10), text, 11, _FAINT, "ma")


def _draw_row(picture: Any, draw: Any, severity: Array | None, top: int) -> None:
    width = _WIDTH - _LEFT - _RIGHT
    if severity is None:
        draw.rectangle((_LEFT, top, _LEFT + width - 1, top + _ROW - 1), outline=_SCALE[0][1])
        _write(draw, (_LEFT + 8, top + _ROW / 2), "not known", 12, _FAINT, "lm")
        return
    picture.paste(_strip(_columns(severity, width), _ROW), (_LEFT, top))


def _columns(severity: Array, width: int) -> Array:
    """(width,) the worst of the frames under each column."""
    edges = np.linspace(0, len(severity), width + 1)
    first = np.minimum(edges[:-1].astype(int), len(severity) - 1)
    last = np.maximum(np.ceil(edges[1:] - 1e-9).astype(int), first + 1)
    return np.array([severity[a:b].max() for a, b in zip(first, last, strict=True)])


def _strip(severity: Array, height: int) -> Any:
    from PIL import Image

    stops = [stop for stop, _ in _SCALE]
    channels = [np.interp(severity, stops, [color[i] for _, color in _SCALE]) for i in range(3)]
    line = np.stack(channels, axis=-1).round().astype(np.uint8)
    return Image.fromarray(np.repeat(line[None], height, axis=0))


def _draw_axis(draw: Any, report: RangeReport, top: int) -> None:
    """Seconds, and under them the number of the frame."""
    width, seconds = _WIDTH - _LEFT - _RIGHT, report.n_frames / report.fps
    step = next((s for s in _STEPS_S if s * width >= seconds * _TICK_ROOM), _STEPS_S[-1])
    for number in range(int(seconds / step) + 1):
        x = _LEFT + width * number * step / seconds
        draw.line((x, top, x, top + 5), _FAINT)
        _write(draw, (x, top + 8), f"{number * step:g} s", 12, _FAINT, "ma")
        frame = min(round(number * step * report.fps), report.n_frames - 1)
        _write(draw, (x, top + 24), str(frame), 11, _FAINT, "ma")
    _write(draw, (_LEFT - 28, top + 8), "time", 12, _FAINT, "ra")
    _write(draw, (_LEFT - 28, top + 24), "frame", 11, _FAINT, "ra")


def _write(
    draw: Any, place: tuple[float, float], text: str, size: int, color: Color, anchor: str = "la"
) -> None:
    from PIL import ImageFont

    draw.text(place, text, color, font=ImageFont.load_default(size=size), anchor=anchor)
