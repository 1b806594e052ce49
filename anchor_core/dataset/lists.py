"""The lists of samples: which frames are trained on, which are held out, and whose picture each one gets.

One JSON object per line, with the keys of the published scripts (`source`, `target`, `reference`, `mask`) and
further ones, `clip`, `person` and `perturbed`, which those ignore. All paths are relative to the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnchorError
from ..files import atomic_path

BODY, HELD_OUT, FACE, FACE_HELD_OUT = (
    "manifest.jsonl",
    "held_out.jsonl",
    "face.jsonl",
    "face_held_out.jsonl",
)
LISTS = (BODY, HELD_OUT, FACE, FACE_HELD_OUT)
_LEAST_TRAINED = 2  # a frame and another one as its reference


@dataclass(frozen=True)
class Shot:
    """The frames of one clip: numbers first to first + frames - 1; faces: numbers of those with a crop."""

    clip: str
    person: str
    first: int
    frames: int
    faces: tuple[int, ...]

    def held_out(self, share: float) -> int:
        """How many frames at the end are not trained on."""
        return round(self.frames * share)

    def trained(self, share: float) -> range:
        """Numbers of the frames that are."""
        return range(self.first, self.first + self.frames - self.held_out(share))


def write_lists(
    folder: Path, shots: Sequence[Shot], held_out: float, seed: int, perturbed: int
) -> dict[str, int]:
    """Write the lists that have lines, remove the others; returns the number of lines of each.

    held_out: share of each clip, its end. Raises AnchorError where somebody has too few frames to train on.
    """
    people = {shot.person: [one for one in shots if one.person == shot.person] for shot in shots}
    bodies = {person: _trained(of, held_out) for person, of in people.items()}
    faces = {person: _faces(of, held_out) for person, of in people.items()}
    for person, pool in bodies.items():
        if len(pool) < _LEAST_TRAINED:
            raise AnchorError(
                f"{person} has {len(pool)} frames to train on: at least {_LEAST_TRAINED} are needed; give a "
                "longer recording, or hold out less."
            )
    body = _body_lines(shots, bodies, np.random.default_rng([seed, 1]), perturbed)
    face = _face_lines(shots, faces, np.random.default_rng([seed, 2]))
    trained = {number for pool in bodies.values() for number in pool}
    lines: dict[str, list[dict[str, Any]]] = {name: [] for name in LISTS}
    for names, entries in (((BODY, HELD_OUT), body), ((FACE, FACE_HELD_OUT), face)):
        for number, entry in entries:
            lines[names[number not in trained]].append(entry)
    for name, entries_of in lines.items():
        _write(folder / name, entries_of)
    return {name: len(entries_of) for name, entries_of in lines.items()}


def picture_name(folder: str, number: int) -> str:
    """Path of a numbered picture in the dataset."""
    return f"{folder}/{number:06d}.png"


def _trained(shots: Sequence[Shot], share: float) -> list[int]:
    return [number for shot in shots for number in shot.trained(share)]


def _faces(shots: Sequence[Shot], share: float) -> list[int]:
    return [number for shot in shots for number in shot.faces if number in shot.trained(share)]


def _body_lines(
    shots: Sequence[Shot], pools: dict[str, list[int]], rng: np.random.Generator, perturbed: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    for shot in shots:
        for number in range(shot.first, shot.first + shot.frames):
            entry: dict[str, Any] = {
                "source": picture_name("mesh", number),
                "target": picture_name("image", number),
                "reference": picture_name("image", _other(pools[shot.person], number, rng)),
                "clip": shot.clip,
                "person": shot.person,
            }
            if perturbed:
                entry["perturbed"] = [picture_name(f"mesh_{k}", number) for k in range(1, perturbed + 1)]
            yield number, entry


def _face_lines(
    shots: Sequence[Shot], pools: dict[str, list[int]], rng: np.random.Generator
) -> Iterator[tuple[int, dict[str, Any]]]:
    for shot in shots:
        pool = pools[shot.person]
        if len(pool) < _LEAST_TRAINED:  # one face alone has no other one as its reference
            continue
        for number in shot.faces:
            yield (
                number,
                {
                    "source": picture_name("head/mesh", number),
                    "target": picture_name("head/image", number),
                    "reference": picture_name("head/image", _other(pool, number, rng)),
                    "mask": picture_name("head/mask", number),
                    "clip": shot.clip,
                    "person": shot.person,
                },
            )


def _other(pool: list[int], number: int, rng: np.random.Generator) -> int:
    """One of the pool, never the number itself; pools are sorted."""
    place = int(np.searchsorted(pool, number))
    held = place < len(pool) and pool[place] == number
    drawn = int(rng.integers(len(pool) - held))
    return pool[drawn + (held and drawn >= place)]


def _write(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    if not entries:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as handle:
        for entry in entries:
            handle.write(json.dumps(entry, ensure_ascii=False) + "\n")
