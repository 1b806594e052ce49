"""What the numbers of an edit may be."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import AnchorError


def check_fps(fps: float) -> None:
    """Raise an AnchorError unless `fps` is a frame rate that a motion may have."""
    if not 0 < fps < 1000:
        raise AnchorError(f"fps is {fps}: give the frames per second, more than 0 and less than 1000.")


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Raise an AnchorError that names the setting unless it lies between `least` and `most`."""
    if not least <= value <= most:
        raise AnchorError(f"{name} is {value}: give a number from {least:g} to {most:g}.")


def check_word(name: str, value: str, words: Sequence[str]) -> None:
    """Raise an AnchorError that lists the words unless the setting is one of them."""
    if value not in words:
        raise AnchorError(f"{name} is {value!r}: use one of {', '.join(words)}.")
