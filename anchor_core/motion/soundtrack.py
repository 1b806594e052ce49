"""The sound of a motion: a waveform that is cut, padded and joined with the frames."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import AnchorError

if TYPE_CHECKING:
    from .motion import Motion

logger = logging.getLogger("anchor")
_RATES = (1000, 1_000_000)
_READ_RATE = 48_000
"""A file with more samples per second is read with so many: nobody hears the rest, and it fills memory."""


@dataclass(frozen=True, eq=False)
class Soundtrack:
    """Sound that begins with frame 0 of a motion. waveform: (C, N) float32 in [-1, 1], one or two channels;
    rate: samples per second."""

    waveform: np.ndarray
    rate: int

    def __post_init__(self) -> None:
        samples = np.asarray(self.waveform)
        if samples.ndim != 2 or samples.shape[0] not in (1, 2) or samples.dtype.kind != "f":
            raise AnchorError(
                f"The sound has shape {samples.shape} of {samples.dtype}: give floats (channels, samples) "
                "with 1 or 2 channels."
            )
        if not np.isfinite(samples.sum(dtype=np.float64)):
            raise AnchorError("The sound holds values that are not finite: load it again.")
        _check_rate(self.rate)
        object.__setattr__(self, "waveform", samples.astype(np.float32, copy=False))
        object.__setattr__(self, "rate", int(self.rate))

    @property
    def duration_s(self) -> float:
        """Seconds that the sound lasts."""
        return self.waveform.shape[1] / self.rate

    @property
    def pair(self) -> tuple[np.ndarray, int]:
        """Waveform and rate, as `write_video` takes them."""
        return self.waveform, self.rate

    def cut(self, start_s: float, duration_s: float) -> Soundtrack:
        """The part of this length from `start_s` on; where there is no sound (before 0, after the end) it is
        silent."""
        first, length = round(start_s * self.rate), max(0, round(duration_s * self.rate))
        part = self.waveform[:, max(0, first) : max(0, first + length)]
        before = min(length, max(0, -first))
        missing = length - before - part.shape[1]
        if before or missing:
            part = np.pad(part, ((0, 0), (before, missing)))
        return Soundtrack(part, self.rate)


def attach_sound(motion: Motion, sound: Soundtrack | str | os.PathLike[str], offset_s: float = 0.0) -> Motion:
    """The motion with this sound, which begins `offset_s` seconds after frame 0; below 0: before it.

    sound: a waveform, or a sound or video file of any kind that PyAV reads; only what the motion needs is
    kept, and what comes later is not even decoded. Where the sound does not reach, the motion is silent; an
    end without sound is logged. Raises AnchorError where there is no sound at all for the motion.
    """
    name = "The sound" if isinstance(sound, Soundtrack) else Path(sound).name
    if not math.isfinite(offset_s) or offset_s >= motion.duration_s:
        raise AnchorError(
            f"The sound would begin {offset_s:g} s after the first frame and the motion lasts "
            f"{motion.duration_s:.2f} s: choose a smaller offset."
        )
    if isinstance(sound, Soundtrack):
        placed, heard_s = sound.cut(-offset_s, motion.duration_s), sound.duration_s
    else:
        placed, heard_s = _read_part(sound, -offset_s, motion.duration_s)
    if not heard_s:
        raise AnchorError(f"{name} is empty: choose another sound, or none.")
    end_s = offset_s + heard_s
    if end_s <= 0:
        raise AnchorError(
            f"{name} ends {-end_s:.2f} s before the motion begins: choose a larger offset, or another sound."
        )
    missing = motion.duration_s - end_s
    if missing > 1 / motion.fps:
        logger.warning("%s ends %.2f s before the motion: the rest is silent", name, missing)
    return replace(motion, sound=placed)


def _read_part(path: str | os.PathLike[str], start_s: float, duration_s: float) -> tuple[Soundtrack, float]:
    """This part of a file, silent where the file has nothing; and the length of the file in seconds, as far
    as it was decoded for that."""
    from ..video.read import open_sound

    sound = open_sound(path)
    _check_rate(sound.rate)
    if sound.rate > _READ_RATE:
        sound = sound.at_rate(_READ_RATE)
    waveform = np.zeros((sound.channels, round(duration_s * sound.rate)), np.float32)
    place = before = -round(start_s * sound.rate)  # where the next chunk goes in the waveform
    for chunk in sound.chunks:
        first = max(0, place)
        part = chunk[:, first - place : waveform.shape[1] - place]
        waveform[:, first : first + part.shape[1]] = part
        place += chunk.shape[1]
        if place >= waveform.shape[1]:
            break
    return Soundtrack(waveform, sound.rate), (place - before) / sound.rate


def _check_rate(rate: int) -> None:
    if not _RATES[0] <= rate <= _RATES[1]:
        raise AnchorError(f"The sample rate is {rate}: give samples per second, usual is 16000 to 48000.")
