"""What has become of each job, kept beside the list: a second start films only what is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import AnchorError
from .jobs import Job
from .worker import Outcome


class Results:
    """The file LIST.results.jsonl: a line for each job that ended, the newest last."""

    def __init__(self, list_path: Path) -> None:
        self.path = list_path.with_name(list_path.name.removesuffix(".jsonl") + ".results.jsonl")
        self._lines = self._read()

    def finished(self, job: Job) -> bool:
        """Whether the video of a job is there, made with its options from its files as they are now."""
        mine = [line for line in self._lines if line.get("out") == str(job.out)]
        newest = mine[-1] if mine else {}
        same = all(newest.get(key) == value for key, value in job.identity.items())
        return same and newest.get("error") is None and job.out.is_file()

    def add(self, job: Job, outcome: Outcome, tries: int) -> None:
        """Append a line; it is on the disk when this returns."""
        line = {"line": job.line, "out": str(job.out), "tries": tries, **asdict(outcome), **job.identity}
        try:
            with self.path.open("ab+") as file:
                if file.tell() and not self._ends_a_line(file):
                    file.write(b"\n")  # behind what a killed process has left
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise AnchorError(
                f"{self.path} cannot be written ({error.strerror or error}); free space, then run the same"
                " list again"
            ) from error

    @staticmethod
    def _ends_a_line(file: Any) -> bool:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"

    def _read(self) -> list[dict[str, Any]]:
        """The lines that are whole."""
        if not self.path.is_file():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                lines.append(line)
        return lines


def table(rows: Sequence[tuple[Job, Outcome, int]]) -> str:
    """All jobs of a list as text, in its order."""
    lines = [f"{'line':>4}  {'frames':>6}  {'seconds':>8}  {'tries':>5}  video"]
    for job, outcome, tries in sorted(rows, key=lambda row: row[0].line):
        end = "" if outcome.error is None else f": failed, {outcome.error}"
        lines.append(
            f"{job.line:>4}  {outcome.frames:>6}  {outcome.seconds:>8.1f}  {tries:>5}  {job.out}{end}"
        )
    return "\n".join(lines)
