"""A sheet of samples: a column per frame with mesh, result and truth, and how far result is from truth."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import AnchorError

_PAPER, _INK, _FAINT = (20, 23, 31), (234, 237, 243), (138, 146, 164)
_GAP, _HEAD, _FOOT, _MARGIN = 4, 38, 24, 64  # pixels
_TILE = 256  # widest tile: a sheet is looked at as a whole
_TEXT = 15


def draw_samples(mesh: np.ndarray, result: np.ndarray, truth: np.ndarray, title: str) -> np.ndarray:
    """A picture (H, W, 3) uint8; mesh, result, truth: (n, h, w, 3) uint8 of one size.

    Raises AnchorError when they do not belong together.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = {"mesh": mesh, "result": result, "truth": truth}
    _check(rows)
    width, height = tile_size(mesh.shape[2], mesh.shape[1])
    n_columns = len(mesh)
    sheet_size = (
        max(_MARGIN + n_columns * (width + _GAP), 360),
        _HEAD + len(rows) * (height + _GAP) + _FOOT,
    )
    sheet = Image.new("RGB", sheet_size, _PAPER)
    draw: Any = ImageDraw.Draw(sheet)
    font: Any = ImageFont.load_default(size=_TEXT)
    draw.text((_GAP * 2, _HEAD / 2), title, _INK, font, anchor="lm")
    for row, (label, pictures) in enumerate(rows.items()):
        top = _HEAD + row * (height + _GAP)
        draw.text((_GAP * 2, top + height / 2), label, _INK, font, anchor="lm")
        for column, picture in enumerate(pictures):
            sheet.paste(_tile(picture, (width, height)), (_MARGIN + column * (width + _GAP), top))
    for column, value in enumerate(psnr_of(result, truth)):
        place = (_MARGIN + column * (width + _GAP) + width / 2, sheet_size[1] - _FOOT / 2 - _GAP / 2)
        draw.text(place, f"{value:.1f} dB", _FAINT, font, anchor="mm")
    return np.asarray(sheet)


def psnr_of(result: np.ndarray, truth: np.ndarray) -> list[float]:
    """PSNR of each picture against the other, dB; equal ones count 99."""
    difference = result.astype(np.float64) - truth
    errors = np.square(difference).mean(axis=(1, 2, 3))
    return [99.0 if error == 0 else float(10 * np.log10(255**2 / error)) for error in errors]


def tile_size(width: int, height: int) -> tuple[int, int]:
    """Small pictures are enlarged by a whole number, pixels visible; large ones are reduced."""
    scale = max(1, _TILE // width) if width <= _TILE else _TILE / width
    return round(width * scale), max(1, round(height * scale))


def _tile(picture: np.ndarray, size: tuple[int, int]) -> Any:
    from PIL import Image

    way = Image.Resampling.NEAREST if size[0] >= picture.shape[1] else Image.Resampling.LANCZOS
    return Image.fromarray(picture).resize(size, way)


def _check(rows: dict[str, np.ndarray]) -> None:
    shapes = {label: pictures.shape for label, pictures in rows.items()}
    first = shapes["mesh"]
    if len(first) != 4 or first[3] != 3 or not all(first) or len(set(shapes.values())) > 1:
        listed = ", ".join(f"{label} {shape}" for label, shape in shapes.items())
        raise AnchorError(
            f"the samples have the shapes {listed}; need one of (n, h, w, 3); take them together"
        )
