"""What the numbers of an alignment mean: findings, and sentences that say what to do.

The thresholds were set on rendered presenters: right, shifted, late, reversed and foreign motions, moving
cameras, pictures without a person. Right pairs fit 0.1 to 0.6 and three times better than at other lags.
Wrong ones fit below 0.13 in 40 frames, 0.08 in 80, 0.05 in 150, and about as well at any lag.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .change import Fit

_LEAST_FRAMES = 40  # fewer, where the fit is not clear, say too little
_FAR_S = 0.2  # seconds beside the best lag from which other lags count as wrong
_CERTAIN = 2.0  # times the best score of wrong lags
_LEAST_SCORE, _CHANCE = 0.05, 3.2
"""A fit of less than the first + the second per frame happens by chance."""
_DENSE = 2.0  # times as much change per pixel in the silhouette as beside it
_MIRRORED = 2.0  # times the score as given
_OFF = 0.015  # of the longer side: a shift that is worth a sentence
_DRIFT_FRAMES = 1.5  # over the clip
_BUSY = 0.85  # of the change lies in the silhouette where camera and backdrop stand still
_LOOSE = 0.6  # IoU of silhouette and matte; clothes and hair leave 0.75 to 0.9
_BLOCK_SCORE = 0.1  # of a block whose lag counts for the drift


@dataclass(frozen=True)
class Alignment:
    """How well mesh and picture belong together.

    frames: how many were compared. change_share: part of the picture's change in time that lies in the grown
    silhouette, NaN where nothing changes; covered: part of the picture that the grown silhouette covers;
    density: change per pixel in the silhouette over change per pixel beside it. shift: pixels (right, down)
    and lag: frames by which the picture lies beside and after the mesh; score: how well the two changes fit
    there, at most 1; certainty: times the best score at other lags. drift: frames by which the lag grows per
    minute, None where the clip is too short to tell. iou: of silhouette and matte, None without matte.
    person_found: something moves where the motion says. matched: it moves as the motion says, None where that
    cannot be told. good: nothing is wrong. verdict: sentences for people, the most important first.
    profile: score of each lag.
    """

    frames: int
    size: tuple[int, int]
    fps: float
    change_share: float
    covered: float
    density: float
    shift: tuple[float, float]
    lag: int
    score: float
    certainty: float
    drift: float | None
    iou: float | None
    person_found: bool
    matched: bool | None
    good: bool
    verdict: tuple[str, ...]
    profile: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; numbers that are not finite become None."""
        return {key: _plain(value) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Measured:
    """Sums of a meter. covered, change_share, iou as in Alignment; inverted: the matte is white beside the
    person; no_mesh: no frame shows the mesh; scale: pixels of the picture per work pixel."""

    frames: int
    size: tuple[int, int]
    fps: float
    change_share: float
    covered: float
    iou: float | None
    inverted: bool
    no_mesh: bool
    scale: float


@dataclass(frozen=True)
class _Place:
    """Where the changes fit best, and how surely; zeros where nothing can be said."""

    lag: int = 0
    shift: tuple[float, float] = (0.0, 0.0)
    score: float = 0.0
    certainty: float = math.nan
    drift: float | None = None
    sure: bool = False
    mirrored: bool = False
    profile: tuple[float, ...] = ()


def judge(measured: Measured, fit: Fit | None) -> Alignment:
    """Findings and sentences. fit: None where picture or mesh does not change at all."""
    place = _Place() if fit is None else _place(measured, fit)
    density = _density(measured)
    told = fit is not None and measured.frames >= _LEAST_FRAMES
    found = place.sure or density >= _DENSE
    sentences = _fatal(measured, fit, found) or [
        *_doubts(measured, place, told),
        *_defects(measured, place),
        *_surroundings(measured, place),
    ]
    return Alignment(
        frames=measured.frames,
        size=measured.size,
        fps=measured.fps,
        change_share=measured.change_share,
        covered=measured.covered,
        density=density,
        shift=place.shift,
        lag=place.lag,
        score=place.score,
        certainty=place.certainty,
        drift=place.drift,
        iou=measured.iou,
        person_found=found,
        matched=place.sure and not place.mirrored if told or place.sure else None,
        good=not sentences,
        verdict=tuple(sentences or [_fine(measured, place)]),
        profile=place.profile,
    )


def _place(measured: Measured, fit: Fit) -> _Place:
    lag, dx, dy, score = fit.best()
    profile = fit.profile()
    lags = np.arange(-fit.longest, fit.longest + 1)
    far = profile[np.abs(lags - lag) > max(2, round(_FAR_S * measured.fps))]
    wrong = float(far.max()) if len(far) else math.nan
    certainty = score / wrong if wrong > 0 else math.nan
    per_block = fit.drift(_BLOCK_SCORE)
    least = _LEAST_SCORE + _CHANCE / max(1, measured.frames)
    return _Place(
        lag=lag,
        shift=(dx * measured.scale, dy * measured.scale),
        score=score,
        certainty=certainty,
        drift=None if per_block is None else per_block * 60 * measured.fps / fit.block_frames,
        # Slow gestures fit well at many lags, and drifting ones well at none, but well in each block.
        sure=(score >= least and (certainty >= _CERTAIN or score >= 2 * least)) or per_block is not None,
        mirrored=fit.mirrored > _MIRRORED * max(score, least),
        profile=tuple(float(value) for value in profile),
    )


def _density(measured: Measured) -> float:
    """Change per pixel in the silhouette over that beside it; 0 where nothing changes."""
    share, covered = measured.change_share, measured.covered
    if not share > 0 or covered <= 0:
        return 0.0
    beside = (1 - share) / max(1 - covered, 1e-6)
    return share / covered / max(beside, 1e-6)


def _fatal(measured: Measured, fit: Fit | None, found: bool) -> list[str]:
    if measured.no_mesh:
        return ["The mesh is in no frame of the picture: give the camera that belongs to this video."]
    if math.isnan(measured.change_share):
        return [
            f"Nothing moves in the {measured.frames} frames of the picture: give a video in which the person "
            "moves."
        ]
    if not found:
        return [
            f"No person moves where the motion says: {measured.change_share:.0%} of what changes in the "
            f"picture lies in the mesh's silhouette, which covers {measured.covered:.0%} of it. Give the "
            "video that the motion was taken from, and its camera."
        ]
    if fit is None:
        return ["The motion stands still: whether it belongs to this video cannot be told."]
    return []


def _doubts(measured: Measured, place: _Place, told: bool) -> list[str]:
    if place.mirrored:
        return ["The picture is mirrored against the motion: mirror the video or the motion."]
    if not told and not place.sure:
        return [
            f"{measured.frames} frames are too few to tell whether motion and video belong together: "
            f"{_LEAST_FRAMES} are needed, some seconds are better."
        ]
    if not place.sure:
        return [
            f"The person does not move as the motion says (fit {place.score:.2f}, right pairs reach 0.1 to "
            "0.6): the motion belongs to another video or take, or begins at another time."
        ]
    return []


def _defects(measured: Measured, place: _Place) -> list[str]:
    """What is wrong with a pair that belongs together."""
    if not place.sure or place.mirrored:
        return []
    said = []
    if place.lag:
        late, side = abs(place.lag), "video" if place.lag > 0 else "motion"
        word = "after" if place.lag > 0 else "before"
        said.append(
            f"The picture comes {_count(late, 'frame')} ({late / measured.fps:.2f} s) {word} the mesh: cut "
            f"the first {_count(late, 'frame')} off the {side}."
        )
    minutes = measured.frames / measured.fps / 60
    if place.drift is not None and abs(place.drift) * minutes > _DRIFT_FRAMES:
        said.append(
            f"The lag grows by {place.drift:+.1f} frames a minute: video and motion differ in their frame "
            "rate; give the motion's rate (--fps)."
        )
    if _is_off(measured, place):
        said.append(
            f"The person lies {_beside(place.shift)} the mesh: give the camera that belongs to the video."
        )
    return said


def _is_off(measured: Measured, place: _Place) -> bool:
    return max(map(abs, place.shift)) > max(1.0, _OFF * max(measured.size))


def _surroundings(measured: Measured, place: _Place) -> list[str]:
    said = []
    if measured.inverted:
        said.append("The matte is white where the background is: invert it (white is the person).")
    elif measured.iou is not None and measured.iou < _LOOSE:
        said.append(
            f"Silhouette and matte share {measured.iou:.0%} of their area (usual is 75 % or more): look "
            "whether the matte belongs to the video and the body's shape to the person."
        )
    if place.sure and measured.change_share < _BUSY and not _is_off(measured, place):
        said.append(
            f"Only {measured.change_share:.0%} of what changes lies in the silhouette: the camera or "
            "something else in the picture moves, and the anchor will learn it as noise; a matte removes it."
        )
    return said


def _fine(measured: Measured, place: _Place) -> str:
    return (
        f"Mesh and person belong together: {measured.change_share:.0%} of what moves lies in the silhouette, "
        f"the shift is {place.shift[0]:+.1f}, {place.shift[1]:+.1f} px, the lag 0 frames."
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("s" if number != 1 else "")


def _beside(shift: tuple[float, float]) -> str:
    """A shift in words: "10 px right of and 3 px below"."""
    parts = []
    for value, more, less in ((shift[0], "right of", "left of"), (shift[1], "below", "above")):
        if abs(value) >= 0.5:
            parts.append(f"{abs(value):.0f} px {more if value > 0 else less}")
    return " and ".join(parts)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value
