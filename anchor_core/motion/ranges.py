"""What an anchor was trained on: how far its joints turned, where its head was and how far its hands reached.

A network paints what it has seen. Each number here is a range of the training motion between two quantiles,
so that single bad frames of an estimator do not widen it: of each joint, the rotation vector about its mean
rotation; of the head, place and height in the picture; of the wrists, the place beside the pelvis.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AnchorError
from .camera import Camera
from .motion import N_JOINTS, Motion
from .place import LEG_JOINTS, Place
from .rotations import axis_angle_from_matrix

if TYPE_CHECKING:
    from ..body.model import BodyModel

Array = np.ndarray[Any, np.dtype[np.float64]]

FIRST_HAND_JOINT = 25
_QUANTILES = (0.005, 0.995)
_DECIMALS = 6  # of the place: a motion that was there before is there again, to the bit
_CHUNK = 512  # frames whose rotations are in memory at once
_PELVIS, _HEAD, _WRISTS = 0, 15, (20, 21)
_FACE_JOINTS = (15, 22, 23, 24)
# name: shape, and decimals that are kept
_ARRAYS: dict[str, tuple[tuple[int, ...], int]] = {
    "mean": ((N_JOINTS, 3), 4),
    "low": ((N_JOINTS, 3), 2),
    "high": ((N_JOINTS, 3), 2),
    "head_low": ((3,), 4),
    "head_high": ((3,), 4),
    "reach_low": ((2, 3), 4),
    "reach_high": ((2, 3), 4),
}


@dataclass(frozen=True, eq=False)
class MotionRanges:
    """Ranges of the motion that an anchor was trained on; unknown numbers are NaN.

    place: where the person was, and how the legs were. size: (width, height) of the picture, pixels.
    mean: (55, 3) mean rotations, axis-angle, hands with their mean added, root in the "cv" world.
    low, high: (55, 3) degrees of the rotation vector about the mean. head_low, head_high: (3,) x and y of the
    middle of the head and its height, as shares of the picture's width, height and height. reach_low,
    reach_high: (2, 3) metres from the pelvis to the left and the right wrist, x right, y down, z away.
    n_frames: how many frames were measured. A value of another shape is an AnchorError.
    """

    place: Place
    size: tuple[int, int]
    mean: Array
    low: Array
    high: Array
    head_low: Array
    head_high: Array
    reach_low: Array
    reach_high: Array
    n_frames: int
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know; they are kept when the anchor is saved again."""

    def __post_init__(self) -> None:
        for name, (shape, decimals) in _ARRAYS.items():
            object.__setattr__(self, name, _numbers(name, getattr(self, name), shape).round(decimals))
        if np.isnan(self.mean).any():
            raise AnchorError("The ranges' mean holds an unknown rotation: measure the training again.")
        sides = (*self.size, self.n_frames)
        if len(sides) != 3 or not all(isinstance(side, int) and side >= 1 for side in sides):
            raise AnchorError(
                f"The ranges' size is {self.size} and n_frames {self.n_frames}: give whole numbers from 1."
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MotionRanges) and self.to_dict() == other.to_dict()

    def summary(self) -> str:
        """One line for people."""
        x, y, head = (self.head_low + self.head_high) / 2
        place = "" if np.isnan(head) else f"; head {head:.0%} of the picture's height, at {x:.0%}, {y:.0%}"
        return f"measured on {self.n_frames} frames{place}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, unknown ones null; `from_dict` gives equal ranges."""
        place = {part.name: _plain(np.array(getattr(self.place, part.name))) for part in fields(Place)}
        arrays = {name: _plain(getattr(self, name)) for name in _ARRAYS}
        return {**self.extra, "place": place, "size": list(self.size), **arrays, "n_frames": self.n_frames}

    @classmethod
    def from_dict(cls, data: object) -> MotionRanges:
        """The inverse of `to_dict`; an AnchorError says what is wrong or missing."""
        names = {part.name for part in fields(cls)} - {"extra"}
        if not isinstance(data, Mapping) or not names <= set(data):
            missing = ", ".join(sorted(names - set(data))) if isinstance(data, Mapping) else "everything"
            raise AnchorError(f"The ranges of the training lack {missing}: measure the training again.")
        arrays = {name: data[name] for name in _ARRAYS}
        extra = {str(key): value for key, value in data.items() if key not in names}
        size = data["size"] if isinstance(data["size"], (list, tuple)) else ()
        return cls(
            place=_place(data["place"]), size=tuple(size), n_frames=data["n_frames"], extra=extra, **arrays
        )


@dataclass(frozen=True, eq=False)
class Seen:
    """What is compared: of F frames.

    deviation: (F, 55, 3) degrees, rotation vectors about a mean. head: (F, 3) and reach: (F, 2, 3) as in
    `MotionRanges`. NaN where the motion or the body does not tell.
    """

    deviation: Array
    head: Array
    reach: Array


def measure_ranges(motions: Sequence[Motion], body: BodyModel, camera: Camera | None = None) -> MotionRanges:
    """The ranges of training motions on the anchor's body; each with the betas of the person.

    camera: what filmed them, where they do not have it themselves. Raises AnchorError without motions, and
    where pictures have different sizes.
    """
    if not motions:
        raise AnchorError("There is no motion to measure: give at least one of the training.")
    cameras = [motion.camera or camera for motion in motions]
    sizes = {each.size for each in cameras if each is not None} or {(1, 1)}
    if len(sizes) > 1:
        raise AnchorError(f"The training has pictures of {sorted(sizes)} pixels: measure those of one size.")
    mean = _mean_rotations(motions, body)
    seen = [look(*pair, body, mean) for pair in zip(motions, cameras, strict=True)]
    ranges: dict[str, Any] = {
        f"{prefix}{end}": _quantile([getattr(part, name) for part in seen], share)
        for prefix, name in (("", "deviation"), ("head_", "head"), ("reach_", "reach"))
        for end, share in zip(("low", "high"), _QUANTILES, strict=True)
    }
    return MotionRanges(
        place=_measured_place(motions, body, mean),
        size=sizes.pop(),
        mean=axis_angle_from_matrix(mean),
        n_frames=sum(len(motion) for motion in motions),
        **ranges,
    )


def look(motion: Motion, camera: Camera | None, body: BodyModel, mean: Array) -> Seen:
    """What of a motion is compared with the ranges; mean: (55, 3, 3)."""
    centre, height = _head_at_rest(motion, body)
    parts: list[tuple[Array, Array, Array]] = []
    for local, places, turns in _chunks(motion, body):
        deviation = np.degrees(axis_angle_from_matrix(mean.swapaxes(-1, -2) @ local))
        head = places[:, _HEAD] + turns[:, _HEAD] @ centre
        reach = places[:, _WRISTS] - places[:, _PELVIS, None]
        parts.append((deviation, _in_picture(head, height, camera), reach))
    deviation, heads, reaches = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not _shows_hands(motion, body):
        deviation[:, FIRST_HAND_JOINT:] = np.nan
    return Seen(deviation, heads, reaches)


def _chunks(motion: Motion, body: BodyModel) -> Iterator[tuple[Array, Array, Array]]:
    """Local rotations (B, 55, 3, 3), places (B, 55, 3) and turns (B, 55, 3, 3) in the "cv" world."""
    from ..body.pose import pose_joints

    for start in range(0, len(motion), _CHUNK):
        posed = pose_joints(body, motion, start, start + _CHUNK)
        yield tuple(part.double().cpu().numpy() for part in (posed.local, posed.places, posed.turns))  # type: ignore[misc]


def _shows_hands(motion: Motion, body: BodyModel) -> bool:
    return motion.hands_pca is None or body.hand_components is not None


def _mean_rotations(motions: Sequence[Motion], body: BodyModel) -> Array:
    """(55, 3, 3): the rotations nearest to the mean matrices."""
    total = np.zeros((N_JOINTS, 3, 3))
    for motion in motions:
        for local, _, _ in _chunks(motion, body):
            total += local.sum(axis=0)
    u, _, vt = np.linalg.svd(total)
    u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]
    return np.asarray(u @ vt)


def _measured_place(motions: Sequence[Motion], body: BodyModel, mean: Array) -> Place:
    """Mean rotations of root and legs, and the median translation."""
    angles = axis_angle_from_matrix(mean).round(_DECIMALS)
    shifts = [_translation_in_cv(motion, body) for motion in motions]
    shift = np.median(np.concatenate(shifts), axis=0).round(_DECIMALS)
    vector = partial(tuple[float, float, float])
    legs = tuple(vector(angles[joint].tolist()) for joint in LEG_JOINTS)
    return Place(vector(angles[_PELVIS].tolist()), vector(shift.tolist()), legs)


def _translation_in_cv(motion: Motion, body: BodyModel) -> Array:
    """(F, 3) metres. The root turns about the pelvis, so turning another world's translation is not all."""
    if motion.world == "cv":
        return motion.translation.astype(np.float64)
    pelvis = np.concatenate([places[:, _PELVIS] for _, places, _ in _chunks(motion, body)])
    return pelvis - _shaped(motion, body)[1][_PELVIS]


def _shaped(motion: Motion, body: BodyModel) -> tuple[Array, Array]:
    """Vertices (V, 3) and joints (55, 3) of the person at rest."""
    import torch

    from ..body.skinning import blend

    betas = torch.as_tensor(np.zeros(0) if motion.betas is None else motion.betas)[None].to(
        body.vertices_template
    )
    vertices = blend(body.vertices_template, body.shape_dirs, betas)[0]
    joints = blend(body.joint_template, body.joint_shape_dirs, betas)[0]
    return vertices.double().cpu().numpy(), joints.double().cpu().numpy()


def _head_at_rest(motion: Motion, body: BodyModel) -> tuple[Array, float]:
    """From the head's joint to the middle of the head (3,), and the head's height, metres."""
    vertices, joints = _shaped(motion, body)
    head = vertices[body.skin_weights[:, _FACE_JOINTS].sum(1).cpu().numpy() > 0.5]
    low, high = head.min(axis=0), head.max(axis=0)
    return (low + high) / 2 - joints[_HEAD], float(high[1] - low[1])


def _in_picture(head: Array, height: float, camera: Camera | None) -> Array:
    """(F, 3) x, y and height of the head, as shares of the picture; the camera's model is in its module."""
    if camera is None:
        return np.full((len(head), 3), np.nan)
    shift = np.array(camera.translation)
    depth = np.maximum(head[:, 2] + shift[2], 1e-3)  # behind the camera: as near as can be
    x, y = ((head[:, axis] - shift[axis]) / depth * camera.focal_px[axis] for axis in (0, 1))
    x, y = x + camera.center_px[0], y + camera.center_px[1]
    width, lines = camera.size
    return np.stack([x / width, y / lines, height / depth * camera.focal_px[1] / lines], axis=1)


def _quantile(parts: Sequence[Array], share: float) -> Array:
    """Over the frames of all parts that know the number; NaN where none does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of NaN: what nobody measured
        return np.asarray(np.nanquantile(np.concatenate(parts), share, axis=0))


def _numbers(name: str, values: object, shape: tuple[int, ...]) -> Array:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != shape or np.isinf(array).any():
        raise AnchorError(f"The ranges' {name} are no {shape} finite numbers: measure the training again.")
    return array


def _place(data: object) -> Place:
    shapes = {"root": (3,), "translation": (3,), "legs": (len(LEG_JOINTS), 3)}
    if not isinstance(data, Mapping) or not set(shapes) <= set(data):
        raise AnchorError(f"The ranges' place needs {', '.join(shapes)}: measure the training again.")
    found = {name: _numbers(name, data[name], shape) for name, shape in shapes.items()}
    if any(np.isnan(array).any() for array in found.values()):
        raise AnchorError("The ranges' place holds an unknown number: measure the training again.")
    root, translation, legs = (found[name].tolist() for name in shapes)
    return Place(tuple(root), tuple(translation), tuple(tuple(leg) for leg in legs))


def _plain(array: Array) -> Any:
    """Nested lists, None for NaN."""
    if array.ndim:
        return [_plain(row) for row in array]
    return None if np.isnan(array) else float(array)
