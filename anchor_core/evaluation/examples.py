"""Frames that are kept to be looked at: evenly spread ones, and the worst."""

from __future__ import annotations

import math

from ..video.sheet import choose_frames
from .meter import Pair
from .report import Example


class ExampleKeeper:
    """Keeps a few frames of a clip whose length is not known before its end.

    Every `stride`-th frame is kept; when there are too many, every second one of them goes. The worst frames
    are at least a few frames apart: neighbours look alike.
    """

    def __init__(self, n_frames: int) -> None:
        self._n_even = (n_frames + 1) // 2
        self._n_worst = n_frames - self._n_even
        self._stride = 1
        self._even: list[Example] = []
        self._worst: list[Example] = []  # the worst first

    def add(self, pair: Pair, psnr: float) -> None:
        """Look at one frame."""
        if pair.index % self._stride == 0 and self._n_even:
            self._even.append(_example(pair, psnr, worst=False))
            if len(self._even) > 4 * self._n_even:
                self._even = self._even[::2]
                self._stride *= 2
        if math.isfinite(psnr):  # of equal frames none is worse
            self._add_worst(pair, psnr)

    def _add_worst(self, pair: Pair, psnr: float) -> None:
        """Of frames that follow each other only the worst is kept."""
        near = [one for one in self._worst if pair.index - one.index < self._gap]
        others = [one for one in self._worst if one not in near]
        beaten = [one for one in others if one.psnr <= psnr]
        if len(beaten) < self._n_worst and all(psnr < one.psnr for one in near):
            found = [*others, _example(pair, psnr, worst=True)]
            self._worst = sorted(found, key=lambda one: one.psnr)[: self._n_worst]

    @property
    def _gap(self) -> int:
        return max(2, 2 * self._stride)

    def chosen(self) -> tuple[Example, ...]:
        """The kept frames, in order of time; a frame that is both is told as one of the worst."""
        even = [self._even[i] for i in choose_frames(len(self._even), self._n_even)] if self._even else []
        found = {example.index: example for example in (*even, *self._worst)}
        return tuple(found[index] for index in sorted(found))


def _example(pair: Pair, psnr: float, worst: bool) -> Example:
    return Example(pair.index, pair.result_bytes, pair.truth_bytes, pair.hint.mesh, psnr, worst)
