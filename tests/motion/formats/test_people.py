"""People are followed by where they are, and numbers are believed where that says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from anchor_core.motion.formats.people import follow


def at(*places: float) -> dict[int, np.ndarray]:
    return {number: np.array([place, 0.0]) for number, place in enumerate(places)}


def test_swapped_numbers_are_put_right() -> None:
    found = follow([at(0.0, 1.0), at(1.02, 0.01), at(0.03, 1.0)])
    assert found == [{0: 0, 1: 1}, {0: 1, 1: 0}, {0: 0, 1: 1}]


def test_who_stays_keeps_the_number_when_another_leaves_and_returns() -> None:
    assert follow([at(0.0, 1.0), at(1.0), at(0.05, 1.0)]) == [{0: 0, 1: 1}, {1: 0}, {0: 0, 1: 1}]


def test_a_newcomer_who_is_found_first_gets_a_new_number() -> None:
    assert follow([at(0.0), at(5.0, 0.02)]) == [{0: 0}, {0: 1, 1: 0}]
    assert follow([at(0.0, 1.0), at(5.0, 0.0, 1.0)]) == [{0: 0, 1: 1}, {0: 1, 1: 2, 2: 0}]


@pytest.mark.parametrize("places", [(0.0, 0.0), (np.nan, np.nan), (0.0, 40.0)])
def test_without_a_clear_answer_the_numbers_are_believed(places: tuple[float, float]) -> None:
    jumps = [at(0.0, 9.0), at(*places), at(20.0, 9.0)]
    assert follow(jumps) == [{0: 0, 1: 1}] * 3


def test_every_number_is_one_person() -> None:
    rng = np.random.default_rng(1)
    frames = [
        {i: rng.normal(size=3) * rng.choice([0.1, 1]) for i in range(rng.integers(5))} for _ in range(200)
    ]
    for positions, people in zip(frames, follow(frames), strict=True):
        assert sorted(people.values()) == sorted(positions)
