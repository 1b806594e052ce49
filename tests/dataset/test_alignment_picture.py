"""The picture of the alignment shows outlines where the mesh is, and needs neither examples nor a curve."""

from __future__ import annotations

import numpy as np

from anchor_core.dataset.alignment import AlignmentMeter, Example
from anchor_core.dataset.alignment_picture import draw_alignment

_CYAN = np.array([0, 230, 255])


def _moving_square(n_frames: int) -> np.ndarray:
    frames = np.zeros((n_frames, 64, 64, 3), np.uint8)
    for i, frame in enumerate(frames):
        x = 20 + round(9 * np.sin(i / 3) + 4 * np.sin(i))
        frame[20:40, x : x + 16] = 180
    return frames


def test_outline_lies_around_the_silhouette() -> None:
    meter = AlignmentMeter((64, 64), 25)
    frames = _moving_square(60)
    meter.add(frames, frames)
    solid = np.zeros((64, 64), bool)
    solid[16:48, 24:40] = True
    example = Example(np.zeros((64, 64, 3), np.uint8), solid, 3, 0.5, True)
    picture = draw_alignment(meter.result(), [example], "ada")
    line = np.argwhere((picture == _CYAN).all(axis=-1))
    height, width = np.ptp(line, axis=0)
    # The tile is 288 px wide for the 64 of the frame: 4.5 px each.
    assert abs(height - 32 * 4.5) <= 4
    assert abs(width - 16 * 4.5) <= 4


def test_any_result_can_be_drawn() -> None:
    meter = AlignmentMeter((64, 48), 25)
    empty = draw_alignment(meter.result(), meter.examples())
    assert empty.dtype == np.uint8
    meter.add(*(np.zeros((3, 48, 64, 3), np.uint8),) * 2)
    assert draw_alignment(meter.result(), meter.examples(), "still").shape[1] == empty.shape[1]
