"""What of a dataset is written already: one line per group of frames, appended when they are on the disk.

A run that was stopped, in whatever way, goes on behind the last whole line. The file stays in the folder, so
that recordings can be added later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import AnchorError
from ..files import atomic_path
from .recording import Crop

NAME = ".prepare.jsonl"
_OURS = ("manifest.jsonl", "card.json", "image", "mesh")


@dataclass
class ClipState:
    """frames: how many are written. faces: those with a face crop, from 0. first: number of the first
    picture. alignment: what `Alignment.to_dict` gave when the clip was finished, None before."""

    first: int
    frames: int = 0
    faces: list[int] = field(default_factory=list)
    alignment: dict[str, Any] | None = None


def known_crops(folder: Path) -> dict[str, Crop]:
    """The crops of the clips that a folder was begun with, by name; empty where there is no journal."""
    try:
        with (folder / NAME).open(encoding="utf-8") as handle:
            clips = json.loads(handle.readline())["clips"]
        return {clip["name"]: tuple(clip["crop"]) for clip in clips}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # a damaged journal is said when it is opened


class Journal:
    """The journal of one folder; `clips` are the states of clips by name, in order."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], clips: Sequence[Mapping[str, Any]]) -> None:
        """settings: JSON values that all pictures depend on; clips: {"name": ..., and what it was made of}.

        Raises AnchorError where the folder holds something else, or pictures made with other settings.
        """
        self._path = folder / NAME
        self.clips: dict[str, ClipState] = {}
        self._header: dict[str, Any] = {
            "settings": dict(settings),
            "clips": [dict(clip) for clip in clips],
        }
        if self._path.is_file():
            self._read(folder)
        elif any((folder / name).exists() for name in _OURS):
            raise AnchorError(f"{folder} holds files that prepare did not write: choose another folder.")
        self._rewrite()

    def begin(self, name: str) -> ClipState:
        """The state of a clip, which is the next one where it is not known yet."""
        if name not in self.clips:
            self.clips[name] = ClipState(1 + sum(clip.frames for clip in self.clips.values()))
        return self.clips[name]

    def wrote(self, name: str, frames: int, faces: Sequence[int]) -> None:
        """The next `frames` frames of a clip are on the disk; faces: those with a crop, from the clip's 0."""
        state = self.clips[name]
        state.frames += frames
        state.faces += faces
        self._append({"clip": name, "frames": frames, "faces": list(faces)})

    def rewind(self, name: str, frames: int) -> None:
        """Of a clip, only the first `frames` frames count as written."""
        state = self.clips[name]
        state.frames, state.faces = frames, [face for face in state.faces if face < frames]
        self._rewrite()

    def finished(self, name: str, alignment: dict[str, Any]) -> None:
        """A clip has no more frames."""
        self.clips[name].alignment = alignment
        self._append({"clip": name, "alignment": alignment})

    def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(entry) + "\n")
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise AnchorError(
                f"{self._path} cannot be written ({error.strerror or error}): free space, then run again."
            ) from error

    def _read(self, folder: Path) -> None:
        lines = self._path.read_text(encoding="utf-8").split("\n")[:-1]  # what has no end was cut off
        try:
            header, *entries = [json.loads(line) for line in lines]
            before = {"settings": dict(header["settings"]), "clips": list(header["clips"])}
            self._check(folder, before)
            for entry in entries:
                self._replay(entry)
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, AnchorError):
                raise
            raise AnchorError(
                f"{self._path} is damaged ({error}): remove the folder, or choose another."
            ) from error

    def _replay(self, entry: Mapping[str, Any]) -> None:
        state = self.begin(entry["clip"])
        if "alignment" in entry:
            state.alignment = dict(entry["alignment"])
            return
        state.frames += int(entry["frames"])
        state.faces += [int(face) for face in entry["faces"]]

    def _check(self, folder: Path, before: Mapping[str, Any]) -> None:
        now = self._header
        for key in sorted({*before["settings"], *now["settings"]}):
            old, new = before["settings"].get(key), now["settings"].get(key)
            if old != new:
                raise AnchorError(
                    f"{folder} was begun with {key} {_said(old)} and this run has {_said(new)}: go on with "
                    "the same, or choose another folder."
                )
        known, given = before["clips"], now["clips"]
        for number, clip in enumerate(known):
            if number >= len(given) or clip != given[number]:
                raise AnchorError(
                    f"{folder} was begun with the recording {clip.get('name')!r}, which this run does not "
                    "give, or gives changed: give the same recordings first, or choose another folder."
                )

    def _rewrite(self) -> None:
        """Header and states: drops a cut-off line, and knows recordings that were added."""
        entries: list[dict[str, Any]] = [self._header]
        for name, state in self.clips.items():
            entries.append({"clip": name, "frames": state.frames, "faces": state.faces})
            if state.alignment is not None:
                entries.append({"clip": name, "alignment": state.alignment})
        with atomic_path(self._path) as partial:
            partial.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


def _said(value: object) -> str:
    return json.dumps(value)[:80]
