"""The folder beside a video in which its render is kept until it is finished.

`talk.mp4` is rendered in `talk.render`. Frames go there one after another, latents after each step, and each
file that is complete got its name only then: a process may be killed at any moment, and the same command goes
on. What the render was begun with stands in `begin.json` and is compared; one process at a time may write.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import AnchorError
from ..files import atomic_path, check_writable
from ..frames import FrameFile
from ..sampling.state import SampleState
from .tensors import read_facts, read_tensors, write_tensors

logger = logging.getLogger("anchor")

FORMAT = 1
"""Of the folder; another one is not gone on with."""
SUFFIX = ".render"
_BEGIN, _LOCK, _OWNER, _README = "begin.json", "lock", "owner.json", "README.txt"
_ABOUT = (
    "A video that is being rendered, or was when its program stopped. The same command goes on with it.\n"
    "Nobody else needs this folder: delete it, and the render begins again.\n"
)
_PARTIAL = re.compile(r"\..*\.[0-9a-f]{8}(\.\w+)?")
"""Names of `atomic_path` for files that are being written."""
_WAYS_ON = "go on with the same, choose another output, or begin again with --start-over"


class RenderFolder:
    """Files of one render by their names. path: of the folder, which is there and belongs to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def frames(self, name: str, shape: Sequence[int]) -> FrameFile:
        """Frames, as many as were written; shape: of one."""
        return FrameFile(self.path / f"{name}.frames", shape)

    def subfolder(self, name: str) -> Path:
        """A folder in this one, made where it is not there."""
        (self.path / name).mkdir(exist_ok=True)
        return self.path / name

    def keeper(self, name: str, writes: bool = True) -> FileKeeper:
        """Where the sampling of a stage keeps its state. writes: False for all processes but the main one."""
        return FileKeeper(self.path / f"{name}.safetensors", writes)

    def decided(self, name: str, value: Any) -> Any:
        """A JSON value that stays what it was when the render was begun: `value` if it is asked for first."""
        path = self.path / f"{name}.json"
        if path.is_file():
            return _read_json(path)
        _write_json(path, value)
        return value


class FileKeeper:
    """A `SampleKeeper` in a file, which always holds the newest whole state."""

    seconds = 60.0

    def __init__(self, path: Path, writes: bool = True) -> None:
        self._path, self._writes = path, writes

    def load(self) -> SampleState | None:
        """See SampleKeeper."""
        found = read_tensors(self._path)
        if found is None:
            return None
        tensors, facts = found
        latents, total = tensors.pop("latents"), tensors.pop("total", None)
        return SampleState(
            facts["step"], facts["windows_done"], latents, total, {**facts["solver"], **tensors}
        )

    def finished(self, steps: int) -> bool:
        """Whether nothing is left to be sampled."""
        return (read_facts(self._path) or {}).get("step") == steps

    def save(self, state: SampleState) -> None:
        """See SampleKeeper."""
        if not self._writes:
            return
        numbers = {name: value for name, value in state.solver.items() if isinstance(value, (int, float))}
        tensors: dict[str, Any] = {"latents": state.latents}
        if state.total is not None:
            tensors["total"] = state.total
        tensors.update((name, value) for name, value in state.solver.items() if name not in numbers)
        facts = {"step": state.step, "windows_done": state.windows_done, "solver": numbers}
        write_tensors(self._path, tensors, facts)


@contextmanager
def opened_folder(
    path: Path, begin: Mapping[str, Mapping[str, Any]], start_over: bool = False
) -> Iterator[RenderFolder]:
    """The folder of a render, for this process alone until the block ends.

    begin: what the render is made with, JSON values by name in three groups, "made_with", "contents" and
    "settings"; see `check_same`. start_over: forget what is in the folder. Raises AnchorError where it holds
    something else, or a render that was begun with other values, or another process works in it.
    """
    check_ours(path)
    with suppress(FileExistsError):
        path.mkdir(parents=True)
    with _locked(path):
        if start_over:
            _clear(path)
        else:
            _drop_partial(path)
        known = _read_json(path / _BEGIN) if (path / _BEGIN).is_file() else None
        if known is not None:
            check_same(path, known, begin)
        else:
            (path / _README).write_text(_ABOUT, encoding="utf-8")
            _write_json(path / _BEGIN, {"format": FORMAT, **begin})
        try:
            yield RenderFolder(path)
        except BaseException:
            if not _works(path):  # nothing is lost, and other settings are as good
                remove_folder(RenderFolder(path))
            raise


def remove_folder(folder: RenderFolder) -> None:
    """Delete a folder that is open, when nothing of it is needed any more; a warning where that fails."""
    try:
        _clear(folder.path)
    except OSError as error:  # the video is finished for all that
        logger.warning("%s could not be removed (%s): nothing of it is needed any more", folder.path, error)
    if os.name != "nt":  # there it goes with the lock
        (folder.path / _LOCK).unlink(missing_ok=True)
    with suppress(OSError):  # another process has begun here, or the system holds the lock still
        folder.path.rmdir()


def check_room(folder: RenderFolder, most_bytes: int) -> None:
    """Raise AnchorError unless a render that takes so much in the end fits on its disk: before the work."""
    there = sum(entry.stat().st_size for entry in folder.path.rglob("*") if entry.is_file())
    free = shutil.disk_usage(folder.path).free
    if most_bytes - there > free:
        raise AnchorError(
            f"the render takes {most_bytes / 1e6:,.0f} MB in {folder.path} until it is finished and"
            f" {free / 1e6:,.0f} MB are free; free space, or choose a folder on another disk with --state"
        )


def check_apart(path: Path, *outputs: Path) -> None:
    """Raise AnchorError where an output lies in the folder of its render, which is emptied in the end."""
    folder = path.resolve()
    for output in outputs:
        place = output.resolve()
        if folder == place or folder in place.parents:
            raise AnchorError(
                f"{output} would lie in {path}, which is removed when the render is finished; choose another"
                " folder with --state"
            )


def check_ours(path: Path) -> None:
    """Raise AnchorError unless a render can be kept here: there is no folder, an empty one, or a render."""
    if path.exists() and not path.is_dir():
        raise AnchorError(f"{path} is a file and a render is kept in a folder; choose another --state")
    check_writable(path / _BEGIN)
    if not path.is_dir() or (path / _BEGIN).is_file():
        return
    others = _works(path)
    if others:
        raise AnchorError(
            f"{path} holds files that are no render ({others[0]}, ...): choose another folder with --state"
        )


def check_same(path: Path, known: Mapping[str, Any], begin: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise AnchorError that names the first thing in which a render differs from what it was begun with."""
    if known.get("format") != FORMAT:
        raise AnchorError(
            f"{path} was written by another version of this package (format {known.get('format')}, this is"
            f" {FORMAT}); choose another output, or begin again with --start-over"
        )
    now = json.loads(json.dumps(begin))
    for group, words in (
        ("made_with", "{path} was begun with {name} {old} and this is {new}"),
        ("contents", "{path} holds a render of another {name}"),
        ("settings", "{path} was begun with {name} = {old} and now it is {new}"),
    ):
        before, asked = _flat(known.get(group, {})), _flat(now.get(group, {}))
        for name in [*asked, *(name for name in before if name not in asked)]:
            old, new = before.get(name), asked.get(name)
            if old != new:
                short = name.removeprefix("settings.").replace(".settings.", " ").replace(".", " ")
                said = words.format(path=path, name=short, old=_said(old), new=_said(new))
                raise AnchorError(f"{said}; {_WAYS_ON}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone in the folder; the system ends that when the process ends, however it does."""
    from filelock import FileLock, Timeout

    lock = FileLock(str(path / _LOCK))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise AnchorError(
            f"another process ({_owner(path)}) renders into {path}: wait until it is done, or choose another"
            " output"
        ) from None
    except NotImplementedError:
        logger.warning("%s lies on storage without locks: start no second render there", path)
    try:
        (path / _OWNER).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        lock.release()
        if os.name == "nt" and not (path / _BEGIN).exists():
            with suppress(OSError):
                (path / _LOCK).unlink(missing_ok=True)
                path.rmdir()


def _works(path: Path) -> list[str]:
    """Names of files that hold something of a render, or something else."""
    known = {_LOCK, _OWNER, _README, _BEGIN, ".DS_Store"}
    return sorted(name for name in os.listdir(path) if name not in known and not _PARTIAL.fullmatch(name))


def _owner(path: Path) -> str:
    try:
        owner = json.loads((path / _OWNER).read_text())
        return f"pid {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "pid unknown"


def _clear(path: Path) -> None:
    """Delete everything but the lock; what says whose folder it is goes last."""
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name == _BEGIN):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != _LOCK:
            entry.unlink()


def _drop_partial(path: Path) -> None:
    """Delete what a killed process has left of files that it was writing."""
    for entry in path.iterdir():
        if _PARTIAL.fullmatch(entry.name) and entry.is_file():
            entry.unlink()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise AnchorError(
            f"{path} cannot be read, it is damaged; begin again with --start-over, or delete {path.parent}"
        ) from None


def _write_json(path: Path, value: Any) -> None:
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Values of nested mappings by their names with dots."""
    if not isinstance(values, Mapping):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(_flat(value, f"{prefix}.{name}" if prefix else name))
    return flat


def _said(value: object) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:80]
