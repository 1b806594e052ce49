"""Does the mesh lie on the person, and does it move with it? Measured while the dataset is written.

Training learns whatever offset its pairs have: a silhouette that lies beside the person, a motion that runs a
few frames late or belongs to another take costs the whole training. The checks need no detector and no
weights: what moves in the picture must move in the mesh (`change`), and lie within its silhouette.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import AnchorError
from .change import WORK_PX, ChangeFit, change, is_cut
from .verdict import Alignment, Measured, judge

_SOLID = 8  # level of 255 above which a pixel of the mesh render is no longer backdrop
_GROWN = 0.05  # of the longer side: clothes and hair around the naked body
_N_EXAMPLES = 4  # worst and best frames each
_PERSON = 128  # level of a matte from which a pixel belongs to the person


@dataclass(frozen=True, eq=False)
class Example:
    """A frame to show. picture: (H, W, 3) uint8; solid: (H, W) bool silhouette of the mesh; index: number of
    the frame; score: change share or IoU, in [0, 1]; good: one of the best."""

    picture: np.ndarray
    solid: np.ndarray
    index: int
    score: float
    good: bool


class AlignmentMeter:
    """Takes frames and mesh renders as they are made, and keeps sums and a handful of frames."""

    def __init__(self, size: tuple[int, int], fps: float = 25.0) -> None:
        """size: (width, height) pixels of the pictures; fps: frames per second."""
        if min(size) < 16 or not fps > 0:
            raise AnchorError(
                f"Alignment was asked for pictures of {size[0]} x {size[1]} px at {fps:g} fps: give at least "
                "16 x 16 px and more than 0 fps."
            )
        self._size, self._fps = size, float(fps)
        scale = min(1.0, WORK_PX / max(size))
        self._work = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        self._fit = ChangeFit((self._work[1], self._work[0]), fps)
        self._sums = _Sums()
        self._examples = _Examples(round(fps))
        self._before: _Work | None = None

    def add(self, frames: np.ndarray, meshes: np.ndarray, mattes: np.ndarray | None = None) -> None:
        """The next frames of a clip, in order.

        frames: (n, H, W, 3) uint8 sRGB; meshes: the same, on black; mattes: (n, H, W) uint8, 255 is the
        person. Raises AnchorError for other shapes.
        """
        self._check(frames, meshes, mattes)
        for i in range(len(frames)):
            self._add_one(frames[i], meshes[i], None if mattes is None else mattes[i])

    def break_off(self) -> None:
        """What follows is another shot: nothing is compared across."""
        self._before = None
        self._fit.break_off()

    def result(self) -> Alignment:
        """What all frames so far say."""
        sums = self._sums
        measured = Measured(
            frames=sums.frames,
            size=self._size,
            fps=self._fps,
            change_share=sums.inside / sums.change if sums.change > 0 else math.nan,
            covered=sums.covered / max(1, sums.compared),
            iou=sums.overlap / sums.union if sums.union else None,
            inverted=sums.inverse > max(0.5 * sums.inverse_union, sums.overlap),
            no_mesh=not sums.solid,
            scale=max(self._size) / max(self._work),
        )
        return judge(measured, self._fit.fit())

    def examples(self) -> list[Example]:
        """Some of the worst frames, then some of the best, each in order of time."""
        return self._examples.chosen()

    def _add_one(self, frame: np.ndarray, mesh: np.ndarray, matte: np.ndarray | None) -> None:
        now, before = _Work.of(frame, mesh, self._work), self._before
        self._sums.count(now, matte)
        self._before = now
        score = None if matte is None else _iou(now.solid, _shrunk(matte, self._work) >= _PERSON)
        if before is not None:
            share = self._compare(now, before)
            score = share if matte is None else score
        if score is not None:
            self._examples.offer(frame, mesh, self._sums.frames - 1, score)

    def _compare(self, now: _Work, before: _Work) -> float | None:
        """Measure what has changed; returns the share of it in the silhouette, None where little has."""
        moved, meant = change(now.picture, before.picture), change(now.mesh, before.mesh)
        if is_cut(moved):
            moved = np.zeros_like(moved)
        self._fit.add(moved, meant)
        where = grown(now.solid | before.solid, round(_GROWN * max(self._work)))
        return self._sums.compare(moved, where)

    def _check(self, frames: np.ndarray, meshes: np.ndarray, mattes: np.ndarray | None) -> None:
        width, height = self._size
        need = (len(frames), height, width, 3)
        for name, values, shape in (
            ("frames", frames, need),
            ("meshes", meshes, need),
            ("mattes", mattes, need[:3]),
        ):
            if values is not None and (values.shape != shape or values.dtype != np.uint8):
                raise AnchorError(
                    f"Alignment got {name} of shape {values.shape} and type {values.dtype}: give uint8 of "
                    f"shape {shape}."
                )


@dataclass(frozen=True, eq=False)
class _Work:
    """Small pictures of one frame: grey (h, w) float32 in [0, 255], and the silhouette (h, w) bool."""

    picture: np.ndarray
    mesh: np.ndarray
    solid: np.ndarray

    @classmethod
    def of(cls, frame: np.ndarray, mesh: np.ndarray, size: tuple[int, int]) -> _Work:
        return cls(
            _grey(frame, size), _grey(mesh, size), _shrunk(solid_of(mesh).astype(np.uint8) * 255, size) > 127
        )


@dataclass
class _Sums:
    """Sums over frames; pixels are those of the work size."""

    frames: int = 0
    compared: int = 0
    change: float = 0.0
    inside: float = 0.0
    covered: float = 0.0
    solid: int = 0
    overlap: int = 0
    union: int = 0
    inverse: int = 0
    inverse_union: int = 0

    def count(self, now: _Work, matte: np.ndarray | None) -> None:
        self.frames += 1
        self.solid += int(now.solid.sum())
        if matte is not None:
            person = _shrunk(matte, (now.solid.shape[1], now.solid.shape[0])) >= _PERSON
            self.overlap += int((person & now.solid).sum())
            self.union += int((person | now.solid).sum())
            self.inverse += int((~person & now.solid).sum())
            self.inverse_union += int((~person | now.solid).sum())

    def compare(self, moved: np.ndarray, where: np.ndarray) -> float | None:
        """Add the changes of a frame; the share inside, None where less than a usual frame has changed."""
        total, inside = float(moved.sum()), float(moved[where].sum())
        self.compared += 1
        self.change += total
        self.inside += inside
        self.covered += float(where.mean())
        return inside / total if total > 0.5 * self.change / self.compared and total > 0 else None


class _Examples:
    """The worst and the best frame of each second compete for a few places: neighbours look all the same."""

    def __init__(self, gap: int) -> None:
        self._gap = max(1, gap)
        self._kept: dict[bool, list[tuple[float, int, np.ndarray, np.ndarray]]] = {True: [], False: []}

    def offer(self, frame: np.ndarray, mesh: np.ndarray, index: int, score: float) -> None:
        for good, kept in self._kept.items():
            value = score if good else -score
            near = [entry for entry in kept if index - entry[1] < self._gap]
            if near:
                if value <= near[0][0]:
                    continue
                kept.remove(near[0])
            elif len(kept) == _N_EXAMPLES and value <= min(kept)[0]:
                continue
            kept.append((value, index, frame.copy(), solid_of(mesh)))
            if len(kept) > _N_EXAMPLES:
                kept.remove(min(kept, key=lambda entry: entry[:2]))

    def chosen(self) -> list[Example]:
        taken: set[int] = set()
        examples = []
        for good in (False, True):
            for value, index, frame, solid in sorted(self._kept[good], key=lambda entry: entry[1]):
                if index not in taken:
                    examples.append(Example(frame, solid, index, value if good else -value, good))
                    taken.add(index)
        return examples


def solid_of(mesh: np.ndarray) -> np.ndarray:
    """Silhouette (..., H, W) bool of mesh renders (..., H, W, 3) uint8 on black."""
    # Much faster than a maximum over the last axis, which is only three long.
    brightest = np.maximum(np.maximum(mesh[..., 0], mesh[..., 1]), mesh[..., 2])
    solid: np.ndarray = brightest > _SOLID
    return solid


def grown(mask: np.ndarray, radius: int) -> np.ndarray:
    """The mask (h, w) bool and everything up to `radius` pixels beside it, in a square neighbourhood."""
    for axis in (0, 1):
        reached = 0
        while reached < radius:
            step = min(reached + 1, radius - reached)  # each pass reaches twice as far
            mask = mask | _moved(mask, step, axis) | _moved(mask, -step, axis)
            reached += step
    return mask


def _moved(mask: np.ndarray, step: int, axis: int) -> np.ndarray:
    out = np.zeros_like(mask)
    source = [slice(None), slice(None)]
    target = [slice(None), slice(None)]
    source[axis], target[axis] = (
        (slice(None, -step), slice(step, None)) if step > 0 else (slice(-step, None), slice(None, step))
    )
    out[tuple(target)] = mask[tuple(source)]
    return out


def _grey(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    return _shrunk(np.asarray(Image.fromarray(picture).convert("L")), size).astype(np.float32)


def _shrunk(grey: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    if (grey.shape[1], grey.shape[0]) == size:
        return grey
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX))


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0
