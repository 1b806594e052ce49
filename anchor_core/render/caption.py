"""A line of text in the corner of a preview: which frame this is, and whether its pose was made up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..motion.motion import Motion

_INK = (235, 235, 235)
_MARK = (255, 176, 64)
_PAPER = (24, 24, 24)  # keeps the text legible on a bright video


class Captions:
    """Draws the captions of a motion's pictures of size (width, height) pixels."""

    def __init__(self, motion: Motion, size: tuple[int, int]) -> None:
        self._marks, self._fps, self._text_px = motion.marks, motion.fps, text_px(size)

    def drawn(self, picture: np.ndarray, index: int) -> np.ndarray:
        """A copy of the picture (H, W, 3) uint8 with the caption of frame `index` in the lower left."""
        mark = "   interpolated" if self._marks[index] else ""
        return captioned(picture, f"frame {index}   {index / self._fps:.2f} s", mark, self._text_px)


def text_px(size: tuple[int, int]) -> int:
    """Height of a caption's text for pictures of (width, height) pixels."""
    return max(10, min(size) // 26)


def captioned(picture: np.ndarray, text: str, mark: str = "", text_px: int = 12) -> np.ndarray:
    """A copy of the picture (H, W, 3) uint8 with the text, and the mark in orange, in the lower left."""
    from PIL import Image, ImageDraw, ImageFont

    font: Any = ImageFont.load_default(size=text_px)
    image = Image.fromarray(picture)
    draw: Any = ImageDraw.Draw(image)
    gap = text_px // 3
    split, end = (gap + draw.textlength(part, font) for part in (text, text + mark))
    top = picture.shape[0] - text_px - 2 * gap
    draw.rectangle((0, top, end + gap, picture.shape[0]), fill=_PAPER)
    draw.text((gap, top + gap), text, _INK, font)
    draw.text((split, top + gap), mark, _MARK, font)
    return np.asarray(image)
