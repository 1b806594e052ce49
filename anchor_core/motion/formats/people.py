"""Who is who, where an estimator finds people in each frame anew and numbers them as it finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

_STEP_M = 0.3
"""How far a person moves between two frames at most; two people are further apart than that."""


def follow(frames: Sequence[Mapping[int, np.ndarray]]) -> list[dict[int, int]]:
    """For each frame, which person each found number is: {person: number in this frame}.

    frames: {number: position in metres} of the people in each frame. Persons have the numbers of their first
    appearance. Numbers are believed, unless they would make somebody jump further than a person moves between
    two frames and another assignment is without jumps.
    """
    last: dict[int, np.ndarray] = {}
    found = []
    for positions in frames:
        people = _assign(positions, last)
        last |= {person: positions[number] for person, number in people.items()}
        found.append(people)
    return found


def _assign(positions: Mapping[int, np.ndarray], last: Mapping[int, np.ndarray]) -> dict[int, int]:
    as_numbered = {number: number for number in positions}
    if all(_step(positions[number], last.get(number)) < _STEP_M for number in positions):
        return as_numbered
    people = _nearest(positions, last)
    if len(people) < min(len(positions), len(last)):
        return as_numbered
    for number in sorted(set(positions) - set(people.values())):  # who was never seen before
        people[number if number not in {*people, *last} else max(*people, *last) + 1] = number
    return people


def _nearest(positions: Mapping[int, np.ndarray], last: Mapping[int, np.ndarray]) -> dict[int, int]:
    """The pairs of person and number that are near each other, the nearest first."""
    pairs = [
        (_step(positions[number], last[person]), person, number)
        for person, number in product(last, positions)
    ]
    taken: dict[int, int] = {}
    for step, person, number in sorted(pairs):
        if step < _STEP_M and person not in taken and number not in taken.values():
            taken[person] = number
    return taken


def _step(position: np.ndarray, before: np.ndarray | None) -> float:
    return 0.0 if before is None else float(np.linalg.norm(position - before))
