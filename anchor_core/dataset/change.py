"""What changes from frame to frame, in the picture and in the mesh render, and how the two belong together.

The changes of the mesh are shifted over those of the picture, in place and in time: where both fit best says
by how many pixels the silhouette is off, by how many frames the motion is, and whether it is this motion at
all. Only covariances over time count, so that a backdrop, however busy, says nothing, and two people who
merely move their hands at the same place do not fit. Correlations are taken by FFT, block by block; what is
kept does not grow with the length.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

WORK_PX = 160
"""Longer side of the pictures that are compared: finer ones say no more about edges of a moving person."""
_NOISE = 3.0  # times the median change of a frame, which is two standard deviations of a sensor's noise
_LARGEST = 32.0  # levels of 255: a white cuff on black must not outweigh everything else
_LONGEST_LAG_S = 0.8
_MAX_LAG = 24  # frames; bounds the memory at high rates
_REACH = 0.2  # of the longer side: the largest shift that is looked for
_BLOCK = 250  # frames whose mean change is taken away from theirs
_CUT = 0.5  # of the picture changes at once: a cut or a flash, which says nothing about the person


def change(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Changes (h, w) float32 in [0, 32] between two grey pictures in [0, 255], without noise."""
    difference = np.abs(now - before)
    # Subsampled: the median of a quarter of the pixels is the same number, and a third of the work.
    floor = 0.5 + _NOISE * float(np.median(difference[::2, ::2]))
    return np.clip(difference - floor, 0, _LARGEST, dtype=np.float32)


def is_cut(changes: np.ndarray) -> bool:
    """True where most of the picture changes at once."""
    return float((changes > 1).mean()) > _CUT


@dataclass(frozen=True, eq=False)
class Fit:
    """Covariances of the two kinds of change over shift and lag.

    scores: (2 L + 1, 2 R + 1, 2 R + 1) float32 in [-1, 1] over (lag, dy, dx): -L is the first lag, -R the
    first shift, in pixels of the work size. blocks: (B, 2 L + 1) best score of each block of `block_frames`
    for each lag. mirrored: best score at lag 0 with the mesh mirrored.
    """

    scores: np.ndarray
    blocks: np.ndarray
    mirrored: float
    block_frames: int = _BLOCK

    @property
    def longest(self) -> int:
        """L, frames."""
        return len(self.scores) // 2

    def best(self) -> tuple[int, float, float, float]:
        """Lag in frames, dx and dy in work pixels to a fraction, and the score there."""
        reach = self.scores.shape[1] // 2
        lag, y, x = (int(i) for i in np.unravel_index(int(self.scores.argmax()), self.scores.shape))
        plane = self.scores[lag]
        dy, dx = y - reach + _vertex(plane[:, x], y), x - reach + _vertex(plane[y], x)
        return lag - self.longest, dx, dy, float(plane[y, x])

    def profile(self) -> np.ndarray:
        """Best score (2 L + 1,) for each lag, whatever the shift."""
        values: np.ndarray = self.scores.max(axis=(1, 2))
        return values

    def drift(self, sure: float) -> float | None:
        """Frames by which the lag grows per block, of blocks that fit better than `sure`; None if few do."""
        found = self.blocks.max(axis=1, initial=-1.0) > sure
        if found.sum() < 3:
            return None
        times = np.flatnonzero(found)
        lags = [float(np.argmax(row)) + _vertex(row, int(np.argmax(row))) for row in self.blocks[found]]
        slope: float = np.polyfit(times, lags, 1)[0]
        return float(slope)


class ChangeFit:
    """Takes changes of picture and mesh (h, w), frame by frame, and gives their Fit."""

    def __init__(self, shape: tuple[int, int], fps: float) -> None:
        self._shape = shape
        self._reach = round(_REACH * max(shape))
        self._padded = (_fft_length(shape[0] + self._reach), _fft_length(shape[1] + self._reach))
        self._longest = max(2, min(_MAX_LAG, round(_LONGEST_LAG_S * fps)))
        n_lags, side = 2 * self._longest + 1, 2 * self._reach + 1
        self._sums = np.zeros((n_lags, side, side), np.float32)
        self._mirrored = np.zeros((side, side), np.float32)
        self._energy = np.zeros(2)
        self._blocks: list[np.ndarray] = []
        self._past: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=self._longest)
        self._begin_block()

    def add(self, picture: np.ndarray, mesh: np.ndarray) -> None:
        """The changes of the next frame; of a cut, give zeros."""
        spectra = (self._spectrum(picture), self._spectrum(mesh))
        self._cross[self._longest] += spectra[1].conj() * spectra[0]
        for age, (old_picture, old_mesh) in enumerate(self._past, start=1):
            self._cross[self._longest + age] += old_mesh.conj() * spectra[0]
            self._cross[self._longest - age] += spectra[1].conj() * old_picture
        mirrored = self._spectrum(mesh[:, ::-1])
        self._cross_mirrored += mirrored.conj() * spectra[0]
        self._total_mirrored += mirrored
        self._past.appendleft(spectra)
        for row, (total, values) in enumerate(zip(self._totals, (picture, mesh), strict=True)):
            total += spectra[row]
            self._block_energy[row] += float(np.square(values - values.mean()).sum())
        self._count += 1
        if self._count == _BLOCK:
            self._end_block()

    def break_off(self) -> None:
        """What follows is another shot."""
        self._past.clear()

    def fit(self) -> Fit | None:
        """What has been found so far; None where nothing has changed."""
        self._end_block()
        scale = float(np.sqrt(self._energy.prod()))
        if scale <= 0:
            return None
        blocks = np.array(self._blocks).reshape(-1, len(self._sums))
        return Fit(self._sums / np.float32(scale), blocks, float(self._mirrored.max()) / scale)

    def _begin_block(self) -> None:
        height, width = self._padded
        bins = (height, width // 2 + 1)
        self._cross = np.zeros((2 * self._longest + 1, *bins), np.complex64)
        self._cross_mirrored = np.zeros(bins, np.complex64)
        self._totals = np.zeros((2, *bins), np.complex64)
        self._total_mirrored = np.zeros(bins, np.complex64)
        self._block_energy = np.zeros(2)
        self._count = 0

    def _end_block(self) -> None:
        if not self._count:
            return
        means = self._totals / np.float32(self._count)
        static = self._count * means[1].conj() * means[0]
        sums = np.stack([self._near(cross - static) for cross in self._cross])
        energy = self._block_energy - self._count * np.array([self._energy_of(mean) for mean in means])
        scale = float(np.sqrt(max(0.0, energy[0]) * max(0.0, energy[1])))
        if scale > 0:
            self._sums += sums
            mirrored = self._total_mirrored.conj() * means[0]
            self._mirrored += self._near(self._cross_mirrored - mirrored)
            self._energy += energy
            if self._count > 2 * self._longest:  # fewer frames say too little about the lag
                self._blocks.append(sums.max(axis=(1, 2)) / scale)
        self._begin_block()

    def _spectrum(self, values: np.ndarray) -> np.ndarray:
        return np.fft.rfft2(values - values.mean(), s=self._padded).astype(np.complex64)

    def _near(self, cross: np.ndarray) -> np.ndarray:
        """Covariances (2 R + 1, 2 R + 1) over (dy, dx) of a cross spectrum."""
        reach = self._reach
        wrapped = np.fft.irfft2(cross, s=self._padded)
        rows = np.roll(wrapped, reach, axis=0)[: 2 * reach + 1]
        near: np.ndarray = np.roll(rows, reach, axis=1)[:, : 2 * reach + 1]
        return near.astype(np.float32)

    def _energy_of(self, spectrum: np.ndarray) -> float:
        return float(np.square(np.fft.irfft2(spectrum, s=self._padded)).sum())


def _vertex(values: np.ndarray, index: int) -> float:
    """Where the parabola through a peak and its neighbours is highest, in [-0.5, 0.5] beside the peak."""
    if not 0 < index < len(values) - 1:
        return 0.0
    left, middle, right = (float(values[i]) for i in (index - 1, index, index + 1))
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if bend < 0 else 0.0


def _fft_length(least: int) -> int:
    """The next length made of 2, 3 and 5, which transforms fast."""
    length = least
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1 and length % 2 == 0:
            return length
        length += 1
