"""One SMPL-X motion: the common form of all motion files.

Joint order of SMPL-X (arXiv 1904.05866): 0 root, 1-21 body, 22 jaw, 23 left eye, 24 right eye, 25-39 left
hand (index, middle, little, ring, thumb; three joints each), 40-54 right hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import AnchorError
from .camera import Camera
from .soundtrack import Soundtrack

N_JOINTS = 55
WORLDS = ("cv", "yup", "zup")
HANDS = ("relative", "absolute")
EXPRESSION_SPACES = ("smplx", "arkit52", "none")
_LARGEST_ANGLE = 1e6  # radians; beyond, float32 knows no direction any more
_MAX_TEXT = 1000  # characters of gender and source


@dataclass(frozen=True)
class Validity:
    """Which parts of a motion its source really measured; the others are placeholders."""

    jaw: bool = True
    eyes: bool = True
    hands: bool = True
    expression: bool = True
    lower: bool = True
    translation: bool = True


@dataclass(frozen=True, eq=False)
class Motion:
    """A motion of one person; checks itself: shapes, finite numbers, at least one frame.

    pose: (F, 55, 3) axis-angle in radians. translation: (F, 3) metres, added after skinning.
    expression: (F, E) coefficients in `expression_space`. betas: (S,) shape of the person, or None.
    world: "cv" x right, y down, z away; "yup" y up, facing +z; "zup" z up (AMASS).
    hands: "relative" to the hand mean of the body model (MANO convention), or "absolute".
    hands_pca: (F, K) coefficients for the left and right hand that only a body with a hand basis can decode.
    sound: what is heard from frame 0 on; as long as the frames. interpolated: (F,) bool, True where the
    source had no pose and neighbours were blended; None where there is no such frame. performer: name of the
    anchor that the motion was retargeted to.
    Every other array is float32.
    """

    pose: np.ndarray
    translation: np.ndarray
    expression: np.ndarray
    betas: np.ndarray | None = None
    fps: float = 30.0
    world: str = "cv"
    hands: str = "relative"
    hands_pca: tuple[np.ndarray, np.ndarray] | None = None
    expression_space: str = "smplx"
    camera: Camera | None = None
    gender: str = "neutral"
    source: str = ""
    valid: Validity = field(default_factory=Validity)
    sound: Soundtrack | None = None
    interpolated: np.ndarray | None = None
    performer: str = ""

    def __post_init__(self) -> None:
        for name in ("pose", "translation", "expression"):
            object.__setattr__(self, name, _float32(getattr(self, name), name))
        if self.betas is not None:
            object.__setattr__(self, "betas", _float32(self.betas, "betas").reshape(-1))
        if self.hands_pca is not None:
            left, right = self.hands_pca
            object.__setattr__(self, "hands_pca", (_float32(left, "hands_pca"), _float32(right, "hands_pca")))
        object.__setattr__(self, "fps", float(self.fps))
        if self.interpolated is not None:
            marks = np.asarray(self.interpolated, bool)
            object.__setattr__(self, "interpolated", marks if marks.any() else None)
        check_motion(self)
        if self.sound is not None and self.sound.waveform.shape[1] != self._n_samples(self.sound):
            object.__setattr__(self, "sound", self.sound.cut(0.0, self.duration_s))

    def __len__(self) -> int:
        return self.n_frames

    @property
    def n_frames(self) -> int:
        """Number of frames F."""
        return len(self.pose)

    @property
    def duration_s(self) -> float:
        """Seconds that the frames last when each is shown for 1 / fps."""
        return self.n_frames / self.fps

    @property
    def marks(self) -> np.ndarray:
        """(F,) bool: `interpolated`, also where no frame is."""
        return np.zeros(self.n_frames, bool) if self.interpolated is None else self.interpolated

    def _n_samples(self, sound: Soundtrack) -> int:
        return round(self.duration_s * sound.rate)

    def per_frame(self, change: Callable[[np.ndarray], np.ndarray], **others: Any) -> Motion:
        """The motion with `change` applied to each array that has one row per frame.

        others: further fields, as in `dataclasses.replace`. Sound of another length is cut or padded.
        """
        hands = None if self.hands_pca is None else (change(self.hands_pca[0]), change(self.hands_pca[1]))
        return replace(
            self,
            **{
                "pose": change(self.pose),
                "translation": change(self.translation),
                "expression": change(self.expression),
                "hands_pca": hands,
                "interpolated": change(self.marks),
                **others,
            },
        )

    def sliced(self, start: int, stop: int | None = None) -> Motion:
        """The frames start to stop - 1 with their sound, counted as Python slices count.

        An empty slice is an AnchorError.
        """
        part = slice(start, stop)
        first, last, _ = part.indices(self.n_frames)
        if last <= first:
            raise AnchorError(
                f"Frames {start} to {stop} of a motion with {self.n_frames} frames hold no frame."
            )
        sound = self.sound and self.sound.cut(first / self.fps, (last - first) / self.fps)
        return self.per_frame(lambda rows: rows[part], sound=sound)


def check_motion(motion: Motion) -> None:
    """Raise an AnchorError that says what is wrong with the motion; the first bad frame is named."""
    n_frames = len(motion.pose) if motion.pose.ndim else 0
    if not n_frames:
        raise AnchorError("The motion has no frames: it needs at least one.")
    _check_shape("pose", motion.pose, (n_frames, N_JOINTS, 3))
    _check_shape("translation", motion.translation, (n_frames, 3))
    _check_shape("expression", motion.expression, (n_frames, None))
    for name in ("pose", "translation", "expression"):
        _check_frames_finite(name, getattr(motion, name))
    if motion.interpolated is not None:
        _check_shape("interpolated", motion.interpolated, (n_frames,))
    for hand in motion.hands_pca or ():
        _check_shape("hands_pca", hand, (n_frames, None))
        _check_frames_finite("hands_pca", hand)
    largest = float(np.abs(motion.pose).max())
    if largest > _LARGEST_ANGLE:
        raise AnchorError(
            f"The motion's pose holds an angle of {largest:g}: it needs radians, and few turns."
        )
    if motion.betas is not None and not np.isfinite(motion.betas).all():
        raise AnchorError("The motion's betas hold a number that is not finite: use other betas or none.")
    _check_words(motion)


def _check_words(motion: Motion) -> None:
    if not 0 < motion.fps < 1000:
        raise AnchorError(
            f"The motion has {motion.fps} frames per second: it needs more than 0 and less than 1000."
        )
    allowed = (("world", WORLDS), ("hands", HANDS), ("expression_space", EXPRESSION_SPACES))
    for name in ("gender", "source", "performer"):
        text = getattr(motion, name)
        if not isinstance(text, str) or len(text) > _MAX_TEXT:
            raise AnchorError(f"The motion's {name} is {text!r}: it needs text up to {_MAX_TEXT} characters.")
    for name, words in allowed:
        if getattr(motion, name) not in words:
            raise AnchorError(
                f"The motion's {name} is {getattr(motion, name)!r}: use one of {', '.join(words)}."
            )


def _float32(values: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise AnchorError(f"The motion's {name} is not an array of numbers: {error}.") from error
    if array.size and array.dtype.kind not in "fiu":  # numpy would turn text and complex numbers into floats
        raise AnchorError(f"The motion's {name} is not an array of numbers: it holds {array.dtype}.")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def _check_shape(name: str, array: np.ndarray, shape: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(shape) and all(
        b is None or a == b for a, b in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise AnchorError(f"The motion's {name} has shape {array.shape}: it needs ({wanted}).")


def _check_frames_finite(name: str, array: np.ndarray) -> None:
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    if bad.any():
        first = int(bad.argmax())
        raise AnchorError(
            f"The motion's {name} holds a number that is not finite (NaN or infinite) in frame {first} "
            f"({int(bad.sum())} bad frames of {len(array)}): repair or cut these frames."
        )
