"""The evaluation as one picture: everything is on it, and what has no number leaves a gap."""

from __future__ import annotations

import math

import numpy as np

from anchor_core.evaluation.picture import draw_evaluation
from anchor_core.evaluation.report import Curve, Evaluation, Example, Measurement

_FACTS = {"result": "a", "truth": "b", "frames": 5, "size": [40, 30], "fps": 25.0}
_LINE = np.array([92, 205, 190])
"""The first colour of lines."""


def evaluation(curves: dict[str, Curve] | None = None, n_examples: int = 0) -> Evaluation:
    measured = (Measurement("psnr", 31.5), Measurement("fid", math.nan, "left out: no weights"))
    frame = np.full((30, 40, 3), 200, np.uint8)
    shown = Example(3, frame, np.full_like(frame, 180), None, 22.1, True)
    return Evaluation(measured, curves or {}, _FACTS, (shown,) * n_examples)


def test_the_picture_grows_with_what_is_on_it() -> None:
    line = Curve("PSNR", "dB", {"": [1.0, 2.0, 3.0]})
    sizes = [
        draw_evaluation(evaluation(curves, count)).shape
        for curves, count in (({}, 0), ({"a": line}, 0), ({"a": line, "b": line}, 0), ({}, 1), ({}, 9))
    ]
    assert all(shape[1:] == (1000, 3) for shape in sizes)
    heights = [shape[0] for shape in sizes]
    assert heights[1] - heights[0] == heights[2] - heights[1] > 100
    assert heights[4] - heights[0] == 4 * (heights[3] - heights[0]), "four examples at most"


def test_a_line_is_broken_where_there_is_no_number() -> None:
    def drawn(values: list[float]) -> np.ndarray:
        picture = draw_evaluation(evaluation({"a": Curve("PSNR", "dB", {"": values})}))
        return (np.abs(picture.astype(int) - _LINE).max(2) < 40).any(0)  # columns that hold the line

    whole, broken = drawn([1, 2, 1, 2, 1, 2]), drawn([1, 2, math.nan, math.nan, 1, 2])
    middle = slice(480, 620)
    assert whole[middle].all()
    assert not broken[middle].any()
    assert broken[100:200].any()
    assert broken[900:970].any()


def test_result_truth_and_their_difference_are_side_by_side() -> None:
    picture = draw_evaluation(evaluation(n_examples=1))
    row = picture[-100]
    assert [int(row[place].mean()) for place in (100, 340, 580)] == [200, 180, 80]
