"""Denoising that was cancelled goes on where it stopped when the same is queued again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..anchor_core import __version__
from ..anchor_core.errors import AnchorError
from ..anchor_core.filming.fingerprint import fingerprint
from ..anchor_core.filming.folder import FileKeeper
from . import _folders

if TYPE_CHECKING:
    from ..anchor_core.anchor.use import Stage
    from ..anchor_core.sampling.conditioning import Conditioning
    from ..anchor_core.sampling.settings import SamplerSettings
    from ..anchor_core.sampling.state import SampleState
    from ._anchor import LoadedAnchor

log = logging.getLogger("anchor")

_MOST_KEPT = 8
"""States of cancelled runs; older ones are deleted."""


@contextmanager
def kept(
    anchor: LoadedAnchor, stage: Stage, settings: SamplerSettings, conditioning: Conditioning, fidelity: str
) -> Iterator[FileKeeper]:
    """Keep the state of the block's denoising; it is deleted when the block ends without an error.

    The file is named after all that the result depends on, so nothing else finds it.
    """
    device = anchor.patcher.load_device.type
    made_with = (__version__, anchor.precision, device, stage, fidelity)
    name = fingerprint(made_with, anchor.stamp, anchor.card, settings, conditioning)
    path = _folders.unfinished_folder() / f"{name}.safetensors"
    if path.is_file():
        log.info("goes on with what was denoised before it was cancelled")
    _forget_old(path)
    yield _Keeper(path)
    path.unlink(missing_ok=True)


class _Keeper(FileKeeper):
    """Neither a full disk nor a damaged file is a reason to stop what can be made without them."""

    _failed = False

    def load(self) -> SampleState | None:
        try:
            return super().load()
        except AnchorError:
            log.warning("%s is damaged and cannot be read: it begins again", self._path)
            return None

    def save(self, state: SampleState) -> None:
        try:
            super().save(state)
        except AnchorError as error:
            if not self._failed:
                log.warning("%s If this run is cancelled, it begins again.", error)
            self._failed = True


def _forget_old(path: Path) -> None:
    """Delete all but the newest states of others."""
    others = (file for file in path.parent.glob("*.safetensors") if file != path)
    for file in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True)[_MOST_KEPT - 1 :]:
        file.unlink(missing_ok=True)
