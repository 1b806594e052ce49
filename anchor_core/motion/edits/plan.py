"""All edits of one motion in one place: what the command line and the node offer."""

from __future__ import annotations

from dataclasses import dataclass

from ..motion import Motion
from .checks import check_fps, check_range, check_word
from .gain import LARGEST, gain
from .mirror import mirror
from .parts import LOWER_BODIES, check_root, curl_hands, set_lower_body, set_root, shift_sound
from .smooth import METHODS, check_window, smooth
from .time import resample

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Edits:
    """What to change of a motion; by default nothing. An AnchorError names a setting out of its range.

    fps: frames per second to resample to, None: those of the source. smoothing, window: see `smooth`; the
    window counts frames of the source. root, root_rotation, root_translation: see `set_root`. lower_body: see
    `set_lower_body`. curl: see `curl_hands`. gestures, hands_gain, mouth: see `gain`. sound_offset_s: seconds
    that the sound comes later.
    """

    fps: float | None = None
    smoothing: str = "none"
    window: int = 9
    mirror: bool = False
    root: str = "source"
    root_rotation: Vector | None = None
    root_translation: Vector | None = None
    lower_body: str = "source"
    curl: float = 0.0
    gestures: float = 1.0
    hands_gain: float = 1.0
    mouth: float = 1.0
    sound_offset_s: float = 0.0

    def __post_init__(self) -> None:
        if self.fps is not None:
            check_fps(self.fps)
        check_word("smoothing", self.smoothing, METHODS)
        check_window(self.window)
        check_root(self.root, self.root_rotation, self.root_translation)
        check_word("lower_body", self.lower_body, LOWER_BODIES)
        check_range("curl", self.curl, -1, 1)
        for name in ("gestures", "hands_gain", "mouth"):
            check_range(name, getattr(self, name), 0, LARGEST)
        check_range("sound_offset_s", self.sound_offset_s, -3600, 3600)


def apply_edits(motion: Motion, edits: Edits) -> Motion:
    """The motion with all edits, in this order: smoothing (at the rate of the source, so that it also takes
    out what a lower rate cannot show), rate, mirror, root and lower body (those of the mirrored person),
    curl, gain, sound offset. Neutral edits give the motion itself."""
    motion = smooth(motion, edits.smoothing, window=edits.window)
    if edits.fps is not None:
        motion = resample(motion, edits.fps)
    if edits.mirror:
        motion = mirror(motion)
    motion = set_root(motion, edits.root, edits.root_rotation, edits.root_translation)
    motion = set_lower_body(motion, edits.lower_body)
    motion = curl_hands(motion, edits.curl)
    motion = gain(motion, edits.gestures, edits.hands_gain, edits.mouth)
    return shift_sound(motion, edits.sound_offset_s)
