"""Training state in one file: whole or not there, complete enough to go on as if nothing had happened."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..errors import AnchorError
from ..files import atomic_path
from .config import LoopConfig

FREE_TO_CHANGE = ("device", "checkpoint_every", "log_every")
"""Settings that do not change what is learned: another value is no reason to refuse a checkpoint."""


def save_checkpoint(path: Path, state: dict[str, Any], config: LoopConfig) -> None:
    """Write `state` (tensors, numbers, nested dicts and lists) beside the settings it belongs to."""
    with atomic_path(path) as partial:
        torch.save({"config": _plain(asdict(config)), **state}, partial)


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
    asked = _plain(asdict(config))
    for name in sorted((saved.keys() | asked.keys()) - set(FREE_TO_CHANGE)):
        if saved.get(name) != asked.get(name):
            raise AnchorError(
                f"the checkpoint {path} was made with {name} = {saved.get(name)} and now it is"
                f" {asked.get(name)}; going on needs the same settings; delete it or choose another folder"
            )
    return state


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
