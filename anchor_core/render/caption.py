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
        from PIL import ImageFont

        self._marks, self._fps = motion.marks, motion.fps
        self._text_px = max(10, min(size) // 26)
        self._font: Any = ImageFont.load_default(size=self._text_px)

    def drawn(self, picture: np.ndarray, index: int) -> np.ndarray:
        """A copy of the picture (H, W, 3) uint8 with the caption of frame `index` in the lower left."""
        from PIL import Image, ImageDraw

        image = Image.fromarray(picture)
        draw: Any = ImageDraw.Draw(image)
        gap = self._text_px // 3
        text = f"frame {index}   {index / self._fps:.2f} s"
        mark = "   interpolated" if self._marks[index] else ""
        split, end = (gap + draw.textlength(part, self._font) for part in (text, text + mark))
        top = picture.shape[0] - self._text_px - 2 * gap
        draw.rectangle((0, top, end + gap, picture.shape[0]), fill=_PAPER)
        draw.text((gap, top + gap), text, _INK, self._font)
        draw.text((split, top + gap), mark, _MARK, self._font)
        return np.asarray(image)
