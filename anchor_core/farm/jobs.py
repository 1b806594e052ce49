"""The list of jobs of `render-many`: JSON lines, each the options of one `generate`.

    {"anchor": "me.safetensors", "motion": "monday.npy", "audio": "monday.wav", "out": "monday.mp4"}
    {"anchor": "me.safetensors", "motion": "tuesday.npy", "out": "tuesday.mp4", "steps": 12, "mirror": true}

Keys are options without their dashes in front; paths count from the list's folder. Everything that can be
known is checked before the first job starts.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from ..errors import AnchorError

_UNFIT = ("help", "dry-run")
_WRITTEN = ("out", "state")
_MAY_REPEAT = argparse._AppendAction


@dataclass(frozen=True)
class Job:
    """One line of the list.

    line: its number, from 1. argv: the options of `generate`, sorted, with absolute paths. out: the video.
    anchor: the anchor's path. inputs: each file that is read, with its size and time of change.
    """

    line: int
    argv: tuple[str, ...]
    out: Path
    anchor: str
    inputs: tuple[tuple[str, int, int], ...]

    @property
    def options(self) -> argparse.Namespace:
        """What `generate` gets."""
        return _parser().parse_args(["generate", *self.argv])

    @property
    def going_on(self) -> Job:
        """The same after its worker died: not from its beginning, even if it was to start there."""
        return replace(self, argv=tuple(part for part in self.argv if part != "--start-over"))

    @property
    def outputs(self) -> list[Path]:
        """What is written: the video, its sheet, and the folder of the render."""
        from ..filming.folder import SUFFIX

        return [self.out, self.out.with_suffix(".png"), self.options.state or self.out.with_suffix(SUFFIX)]

    @property
    def identity(self) -> dict[str, Any]:
        """What has to be the same for a finished job to count, as JSON gives it back."""
        return {"options": list(self.argv), "inputs": [list(entry) for entry in self.inputs]}


def read_jobs(path: Path) -> list[Job]:
    """All jobs of a list. Raises AnchorError, with the line, for one that cannot be filmed."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # editors on Windows begin with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise AnchorError(f"{path} cannot be read as a list of jobs ({error}); need JSON lines") from None
    flags = _flags()
    jobs = []
    for number, text in enumerate(lines, 1):
        if text.strip():
            with _at_line(path, number):
                jobs.append(_job(number, text, path.absolute().parent, flags))
    if not jobs:
        raise AnchorError(
            f"{path} holds no job; write one a line, as {{'anchor': .., 'motion': .., 'out': ..}}"
        )
    _check_together(path, jobs)
    return jobs


@contextmanager
def _at_line(path: Path, number: int) -> Iterator[None]:
    """Names list and line in an AnchorError."""
    try:
        yield
    except AnchorError as error:
        raise AnchorError(f"{path.name} line {number}: {error}") from None


class _Parser(argparse.ArgumentParser):
    """Raises what a command line would print before it exits."""

    def error(self, message: str) -> NoReturn:
        raise AnchorError(f"{message}; correct the line")


def _parser() -> _Parser:
    from ..cli import generate

    parser = _Parser()
    generate.add_commands(parser.add_subparsers(required=True))
    return parser


def _flags() -> dict[str, argparse.Action]:
    """The options of `generate` by name, without dashes in front."""
    commands: Any = _parser()._subparsers
    actions = commands._group_actions[0].choices["generate"]._actions
    named = {flag.lstrip("-"): action for action in actions for flag in action.option_strings}
    return {name: action for name, action in named.items() if len(name) > 1 and name not in _UNFIT}


def _job(number: int, text: str, base: Path, flags: dict[str, argparse.Action]) -> Job:
    values = _values(text)
    if "out" not in values:
        raise AnchorError("there is no 'out'; each job needs a video of its own; add one")
    argv = [part for key in sorted(values) for part in _arguments(key, values[key], flags, base)]
    options = _parser().parse_args(["generate", *argv])
    _check_outputs(options)
    read = sorted({str(p) for name, action in flags.items() for p in _paths(options, name, action)})
    return Job(number, tuple(argv), options.out, str(options.anchor), tuple(_stamp(path) for path in read))


def _values(text: str) -> dict[str, Any]:
    """The line's options, named as on the command line."""
    try:
        values = json.loads(text, object_pairs_hook=_named)
    except json.JSONDecodeError as error:
        raise AnchorError(f"this is no JSON ({error}); correct the line") from None
    if not isinstance(values, dict):
        raise AnchorError(f"this is {text.strip()[:40]!r}; need an object of options in braces")
    return values


def _named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        name = key.replace("_", "-")
        if name in values:
            raise AnchorError(f"{key!r} is given twice; remove one")
        values[name] = value
    return values


def _arguments(key: str, value: Any, flags: dict[str, argparse.Action], base: Path) -> list[str]:
    """One option as the command line has it."""
    if key not in flags:
        close = difflib.get_close_matches(key, flags, 1)
        hint = f"did you mean {close[0]!r}?" if close else "generate --help lists them"
        raise AnchorError(f"{key!r} is no option of generate; {hint} Correct or remove it")
    action, flag = flags[key], f"--{key}"
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise AnchorError(f"{key} is {value!r}; need true or false")
        return [flag] if value else []
    if action.nargs is None and not isinstance(action, _MAY_REPEAT):
        return [f"{flag}={_text(key, value, action, base)}"]
    if not isinstance(value, list) or not value:
        raise AnchorError(f"{key} is {value!r}; need a list in brackets")
    texts = [_text(key, item, action, base) for item in value]
    return [f"{flag}={text}" for text in texts] if action.nargs is None else [flag, *texts]


def _text(key: str, value: Any, action: argparse.Action, base: Path) -> str:
    wants_text = action.type in (Path, str, None)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise AnchorError(f"{key} is {value!r}; need {'text in quotes' if wants_text else 'a number'}")
    if action.type is not Path:
        return str(value)
    if not isinstance(value, str) or not value:
        raise AnchorError(f"{key} is {value!r}; need a path in quotes")
    return os.path.normpath(base / value)


def _check_outputs(options: argparse.Namespace) -> None:
    from ..cli.options import check_outputs
    from ..video.write import check_video_name

    check_video_name(options.out)
    check_outputs(options, options.out, options.out.with_suffix(".png"))


def _paths(options: argparse.Namespace, name: str, action: argparse.Action) -> Iterator[Path]:
    """The files that an option names to be read; AnchorError for one that is not there."""
    if action.type is not Path or name in _WRITTEN:
        return
    given = getattr(options, action.dest)
    for path in given if isinstance(given, list) else [given] if given else []:
        if not os.path.exists(path):
            raise AnchorError(f"{name} is {path}, which is not there; correct the path")
        yield path


def _stamp(path: str) -> tuple[str, int, int]:
    facts = os.stat(path)
    return path, facts.st_size, facts.st_mtime_ns


def _check_together(path: Path, jobs: list[Job]) -> None:
    """No job writes what another one writes or reads: they run at once, in any order."""
    writers: dict[str, Job] = {}
    for job in jobs:
        for file in job.outputs:
            writer = writers.setdefault(os.path.realpath(file), job)
            if writer is not job:
                raise AnchorError(
                    f"{path.name} line {job.line}: {file} is written by line {writer.line} as well; give each"
                    " job one of its own"
                )
    for job in jobs:
        for name, *_ in job.inputs:
            maker = writers.get(os.path.realpath(name))
            if maker is not None:
                raise AnchorError(
                    f"{path.name} line {job.line}: {name} is what line {maker.line} makes, and jobs run in"
                    " any order; put the second one into a list of its own"
                )
