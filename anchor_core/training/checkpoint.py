"""Training state in one file: whole or not there, complete enough to go on as if nothing had happened."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import zipfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from ..errors import AnchorError
from ..files import atomic_path
from .config import LoopConfig

log = logging.getLogger("anchor")

CHECKPOINT = "checkpoint.pt"
FREE_TO_CHANGE = (
    "device",
    "checkpoint_every",
    "log_every",
    "keep_checkpoints",
    "accumulation",
    "gradient_checkpointing",
)
"""Settings that do not change what is learned: another value is no reason to refuse a checkpoint."""


def save_checkpoint(path: Path, state: dict[str, Any], config: LoopConfig) -> None:
    """Write `state` (tensors, numbers, nested dicts and lists) beside the settings it belongs to.

    Raises AnchorError when the disk is full; the file that was there stays then.
    """
    with atomic_path(path) as partial, partial.open("wb") as stream:
        try:
            torch.save({"config": _plain(asdict(config)), **state}, stream)
        except RuntimeError as error:  # torch's writer hides the reason, a full disk as a rule
            raise OSError(f"writing it failed: {str(error).splitlines()[0]}") from error
        stream.flush()
        os.fsync(stream.fileno())  # or a machine that loses power keeps the new name and half of the file


def keep_checkpoint(path: Path, step: int, keep: int) -> None:
    """Give the checkpoint a second name with its step, and forget all but the `keep` newest of those.

    To go back to one, copy it over `path`.
    """
    if keep < 2:
        return
    named = path.with_name(f"{path.stem}_{step:08d}{path.suffix}")
    named.unlink(missing_ok=True)
    try:
        os.link(path, named)  # no second copy on the disk
    except OSError:
        with atomic_path(named) as partial:
            shutil.copyfile(path, partial)
    for old in sorted(path.parent.glob(f"{path.stem}_*{path.suffix}"))[:-keep]:
        old.unlink()


def drop_partial(path: Path) -> None:
    """Delete what processes have left that were killed while they wrote the checkpoint."""
    for partial in path.parent.glob(f".{path.stem}.????????{path.suffix}"):
        partial.unlink(missing_ok=True)


def check_room(path: Path, size: int) -> None:
    """Raise AnchorError unless `size` bytes more fit on the disk of `path`: ask before hours of work."""
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise AnchorError(
            f"a checkpoint in {path.parent} will take {size / 1e9:.1f} GB and {free / 1e9:.1f} GB are free;"
            " free space, or choose a folder on another disk"
        )


def load_checkpoint(path: Path, config: LoopConfig) -> dict[str, Any] | None:
    """The saved state, or None when there is no checkpoint yet.

    Raises AnchorError when the file is damaged or belongs to a training with other settings.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        saved = state.pop("config")
    except (RuntimeError, EOFError, KeyError, AttributeError, pickle.UnpicklingError, zipfile.BadZipFile):
        raise AnchorError(
            f"the checkpoint {path} cannot be read, it is damaged; delete it to start again"
        ) from None
    check_settings(path, saved, config)
    return state


def check_settings(path: Path, saved: dict[str, Any], config: LoopConfig) -> None:
    """Raise AnchorError that names the first setting which is another now; new ones had their defaults.

    Steps may be added where the learning rate does not depend on how many there are.
    """
    asked = _plain(asdict(config))
    saved = _plain({field.name: field.default for field in fields(config)} | saved)
    free = set(FREE_TO_CHANGE)
    if config.decay == "constant" and config.steps > saved["steps"]:
        free.add("steps")
    for name in sorted((saved.keys() | asked.keys()) - free):
        if saved.get(name) != asked.get(name):
            raise AnchorError(
                f"the checkpoint {path} was made with {name} = {saved.get(name)} and now it is"
                f" {asked.get(name)}; going on needs the same settings; delete it or choose another folder"
            )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
