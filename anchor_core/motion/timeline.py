"""A motion at one glance: how much hands, head, mouth and face move over time, and what was made up.

Each column of pixels shows the frames that fall on it: the mean as a solid area, the largest as a faint one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..errors import AnchorError
from . import describe
from .energy import measure_energy
from .motion import Motion
from .soundtrack import Soundtrack

TIMELINE_WIDTH = 900
_MIN_WIDTH, _MAX_WIDTH = 400, 16384
_LEFT, _RIGHT, _TOP, _BOTTOM = 104, 16, 50, 24  # pixels around the rows
_ROW, _GAP = 56, 8
_FONT_PX = 13
_HATCH_PX = 8  # between the lines of a row that the source did not measure
_TICK_PX = 70  # least distance of two numbers on the axis
_STEPS_S: tuple[float, ...] = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_PAPER, _FIELD, _GRID = (24, 24, 24), (38, 38, 38), (64, 64, 64)
_INK, _FAINT = (235, 235, 235), (160, 160, 160)
_MADE_UP = (255, 176, 64)
_MAX_LISTED = 4  # stretches that the heading names
_USUAL = 99.5  # percentile that the scale ends at: one jump must not flatten everything else
_QUIET = 0.05  # of full scale: a softer sound is not enlarged to fill its row


@dataclass(frozen=True, eq=False)
class _Row:
    """values: (F,) of one unit. smallest: the least that the scale ends at, so that rest looks like rest.
    missing: why there is nothing to see, or "". note: what to keep in mind, or "".
    """

    name: str
    unit: str
    color: tuple[int, int, int]
    values: np.ndarray
    smallest: float
    missing: str = ""
    note: str = ""


def draw_timeline(motion: Motion, width: int = TIMELINE_WIDTH) -> np.ndarray:
    """The picture (H, width, 3) uint8 sRGB; width: pixels, from 400 to 16384. Raises AnchorError.

    Rows: hands (m/s, wrists and fingers as seen from the pelvis), head and jaw (degrees/s), face (change of
    the expression per second), sound. Interpolated stretches are orange through all rows; what the source
    did not measure is said in its row.
    """
    if not _MIN_WIDTH <= width <= _MAX_WIDTH:
        raise AnchorError(
            f"The timeline's width is {width} pixels: it needs {_MIN_WIDTH} to {_MAX_WIDTH}, usual is "
            f"{TIMELINE_WIDTH}."
        )
    rows = _rows(motion)
    n_fields = len(rows) + (motion.sound is not None)
    picture = np.full((_TOP + n_fields * (_ROW + _GAP) + _BOTTOM, width, 3), _PAPER, np.uint8)
    areas = [_field(picture, index) for index in range(n_fields)]
    for area in areas:
        area[:] = _FIELD
        _draw_grid(area, motion)
    for area, row in zip(areas, rows, strict=False):
        if row.missing:
            _draw_hatching(area)
        else:
            _draw_area(area, row)
    if motion.sound is not None:
        _draw_sound(areas[-1], motion.sound)
    for start, stop in stretches(motion.marks):
        _draw_mark(areas, start / motion.n_frames, stop / motion.n_frames)
    return _lettered(picture, motion, rows)


def stretches(marks: np.ndarray) -> list[tuple[int, int]]:
    """Runs of True in marks (F,) as (first, last + 1)."""
    return [(first, last + 1) for first, last in describe.stretches(marks)]


def _rows(motion: Motion) -> list[_Row]:
    energy, valid = measure_energy(motion), motion.valid
    unknown = "the source did not measure it"
    fingers = "" if valid.hands else "arms only: the source did not measure the fingers"
    no_face = "" if valid.expression and motion.expression_space != "none" else unknown
    return [
        _Row("hands", "m/s", (104, 184, 255), energy.hands, 0.3, note=fingers),
        _Row("head", "deg/s", (128, 216, 136), energy.head, 20.0),
        _Row("mouth", "deg/s", (255, 128, 128), energy.jaw, 20.0, "" if valid.jaw else unknown),
        _Row("face", "1/s", (208, 160, 255), energy.expression, 1.0, no_face),
    ]


def _field(picture: np.ndarray, index: int) -> np.ndarray:
    """A view of the area of row `index`, without labels."""
    top = _TOP + index * (_ROW + _GAP)
    return picture[top : top + _ROW, _LEFT : picture.shape[1] - _RIGHT]


def _columns(count: int, width: int) -> np.ndarray:
    """First of the `count` values that fall on each of `width` columns; fewer values than columns repeat."""
    return np.arange(width) * count // width


def _top_of(row: _Row) -> float:
    """Value at the upper edge of the row."""
    return max(row.smallest, float(np.percentile(row.values, _USUAL)))


def _draw_area(area: np.ndarray, row: _Row) -> None:
    height, width = area.shape[:2]
    first = _columns(len(row.values), width)
    number = np.maximum(1, np.diff(np.append(first, len(row.values))))
    largest = np.maximum.reduceat(row.values, first)
    mean = np.add.reduceat(row.values, first) / np.where(np.diff(first, append=first[-1] + 1) > 0, number, 1)
    level = (height - np.arange(height))[:, None] / height * _top_of(row)
    _blend(area, level <= largest, row.color, 0.45)
    _blend(area, level <= mean, row.color, 1.0)
    _blend(area[:2], np.broadcast_to(largest > _top_of(row), (2, width)), _INK, 1.0)  # beyond the scale


def _draw_sound(area: np.ndarray, sound: Soundtrack) -> None:
    height, width = area.shape[:2]
    if not sound.waveform.shape[1]:
        return
    first = _columns(sound.waveform.shape[1], width)
    high = np.max([np.maximum.reduceat(channel, first) for channel in sound.waveform], axis=0)
    low = np.min([np.minimum.reduceat(channel, first) for channel in sound.waveform], axis=0)
    full = max(_QUIET, float(high.max()), -float(low.min()))
    level = ((height - 1) / 2 - np.arange(height))[:, None] / (height / 2) * full
    half_px = full / height  # silence is a thin line
    _blend(area, (level <= high + half_px) & (level >= low - half_px), _FAINT, 1.0)


def _draw_grid(area: np.ndarray, motion: Motion) -> None:
    for _, column in _ticks(motion, area.shape[1]):
        area[:, column] = _GRID


def _draw_hatching(area: np.ndarray) -> None:
    height, width = area.shape[:2]
    area[np.add.outer(np.arange(height), np.arange(width)) % _HATCH_PX == 0] = _GRID


def _draw_mark(areas: list[np.ndarray], start: float, stop: float) -> None:
    """An orange stretch, start and stop as parts of the whole; at least two columns, to be seen."""
    width = areas[0].shape[1]
    first = min(int(start * width), width - 2)
    for area in areas:
        part = area[:, first : max(first + 2, round(stop * width))]
        _blend(part, np.ones(part.shape[:2], bool), _MADE_UP, 0.3)
        part[:3] = _MADE_UP


def _blend(area: np.ndarray, where: np.ndarray, color: tuple[int, int, int], opacity: float) -> None:
    mixed = area[where] * (1 - opacity) + np.array(color) * opacity
    area[where] = mixed.round().astype(np.uint8)


def _ticks(motion: Motion, width: int) -> Iterator[tuple[float, int]]:
    """Seconds and columns of the numbers on the axis."""
    wanted = motion.duration_s * _TICK_PX / width
    step = next((step for step in _STEPS_S if step >= wanted), _STEPS_S[-1])
    for index in range(int(motion.duration_s / step) + 1):
        column = round(index * step / motion.duration_s * width)
        if column < width:
            yield index * step, column


def _lettered(picture: np.ndarray, motion: Motion, rows: list[_Row]) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    draw: Any = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=_FONT_PX)
    _write_heading(draw, motion, font)
    for index, row in enumerate(rows):
        y = _TOP + index * (_ROW + _GAP)
        draw.text((8, y + _ROW / 2), row.name, _INK, font, anchor="lm")
        if not row.missing:
            draw.text((_LEFT - 6, y), f"{_rounded(_top_of(row))} {row.unit}", _FAINT, font, anchor="ra")
        _write_note(draw, (_LEFT + 8, y + 8), row.missing or row.note, font)
    if motion.sound is not None:
        middle = _TOP + len(rows) * (_ROW + _GAP) + _ROW / 2
        draw.text((8, middle), "sound", _INK, font, anchor="lm")
    for second, column in _ticks(motion, picture.shape[1] - _LEFT - _RIGHT):
        label = _clock(second, motion.duration_s)
        draw.text((_LEFT + column, picture.shape[0] - _BOTTOM), label, _FAINT, font, anchor="ma")
    return np.array(image)


def _rounded(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _write_note(draw: Any, place: tuple[int, int], text: str, font: Any) -> None:
    """Text on a ground of its own, over whatever is drawn there."""
    if text:
        left, top, right, bottom = draw.textbbox(place, text, font)
        draw.rectangle((left - 4, top - 3, right + 4, bottom + 3), fill=_PAPER)
        draw.text(place, text, _INK, font)


def _write_heading(draw: Any, motion: Motion, font: Any) -> None:
    facts = f"{motion.n_frames} frames at {motion.fps:g} fps, {motion.duration_s:.2f} s"
    unmeasured = [field.name for field in fields(motion.valid) if not getattr(motion.valid, field.name)]
    missing = f"; not measured: {', '.join(unmeasured)}" if unmeasured else ""
    draw.text((8, 6), (f"{motion.source}: {facts}" if motion.source else facts) + missing, _INK, font)
    made_up = stretches(motion.marks)
    if made_up:
        draw.text((8, 26), _interpolated(made_up), _MADE_UP, font)
    else:
        draw.text((8, 26), "no interpolated frames", _FAINT, font)


def _interpolated(made_up: list[tuple[int, int]]) -> str:
    """Which frames were interpolated, in words."""
    shown = made_up[:_MAX_LISTED]
    names = [str(start) if stop == start + 1 else f"{start}-{stop - 1}" for start, stop in shown]
    more = "" if len(made_up) <= _MAX_LISTED else f" and {len(made_up) - _MAX_LISTED} more stretches"
    count = sum(stop - start for start, stop in made_up)
    word = "frame" if count == 1 else "frames"
    return f"interpolated: {word} {', '.join(names)}{more} ({count} in all)"


def _clock(second: float, duration_s: float) -> str:
    """The time on the axis: seconds, or minutes and seconds in a long motion."""
    if duration_s < 60:
        return f"{second:g} s"
    return f"{int(second) // 60}:{int(second) % 60:02d}"
