"""The text of a BVH file (Biovision Hierarchy): joints with offsets and channels, then one line per frame.

A channel order such as "Zrotation Xrotation Yrotation" means R = Rz Rx Ry for column vectors. Position
channels of a joint stand in the place of its offset.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import AnchorError

MAX_BYTES = 512 * 1024**2
_MAX_JOINTS = 1000
_MAX_CHANNELS = 6
_BLOCK = 512  # lines turned into numbers at once: the words of a whole file would take 20 times its size
_MOTION = re.compile(rb"^[ \t]*MOTION\b[^\n]*", re.IGNORECASE | re.MULTILINE)
_CHANNEL = re.compile(r"([xyz])(position|rotation)", re.IGNORECASE)
_NTSC = (24000 / 1001, 30000 / 1001, 60000 / 1001, 120000 / 1001)


@dataclass(eq=False)
class Joint:
    """A joint of the hierarchy. channels: (axis 0-2, "position" or "rotation", column in `motion`). tip: end
    of a bone without a child (End Site)."""

    name: str
    parent: int
    offset: np.ndarray = field(default_factory=lambda: np.zeros(3))
    channels: tuple[tuple[int, str, int], ...] = ()
    tip: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Bvh:
    """What a BVH file says. joints: parents come before their children. motion: (F, C), degrees and the unit
    of length of the file. fps: None where the file does not say it."""

    joints: tuple[Joint, ...]
    motion: np.ndarray
    fps: float | None


def open_text(path: Path) -> Bvh:
    """Read a BVH file; an AnchorError names the line that is wrong."""
    if os.path.getsize(path) > MAX_BYTES:
        raise AnchorError(f"{path.name} has more than {MAX_BYTES / 1e6:.0f} MB of text: give one clip.")
    try:
        return parse(path.read_bytes())
    except AnchorError as error:
        raise AnchorError(f"{path.name}: {error}") from error
    except OSError as error:
        raise AnchorError(f"{path.name} cannot be read ({error.strerror}): copy it again.") from error


def parse(text: bytes) -> Bvh:
    """Joints and motion of the text of a BVH file."""
    if b"\n" not in text:  # lines of old Macs
        text = text.replace(b"\r", b"\n")
    found = _MOTION.search(text)
    if found is None:
        raise AnchorError("The text has no line MOTION: the file was cut off, copy or export it again.")
    header = text[: found.start()].removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")
    joints = _Hierarchy().read(header)
    lines = text[found.end() :].splitlines()
    first = text.count(b"\n", 0, found.end()) + 1  # number of the line that says MOTION
    n_frames, frame_time, start = _motion_header(lines, first)
    width = sum(len(joint.channels) for joint in joints)
    motion = _frames(lines, start, first, n_frames, width)
    return Bvh(tuple(joints), motion, frame_rate(frame_time))


def frame_rate(frame_time: str) -> float | None:
    """Frames per second out of the seconds per frame as they are written: the whole or NTSC rate that rounds
    to these digits, else exactly what is written; None where it is no time."""
    try:
        seconds = float(frame_time)
    except ValueError:
        return None
    if not 0 < seconds < math.inf:
        return None
    mantissa, _, exponent = frame_time.lower().partition("e")
    digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
    rounding = max(0.51 * 10.0**-digits, 1e-9)
    rates = [rate for rate in (float(round(1 / seconds)), *_NTSC) if rate > 0]
    return next((rate for rate in rates if abs(1 / rate - seconds) <= rounding), 1 / seconds)


class _Hierarchy:
    """Reads the lines of the HIERARCHY one by one."""

    def __init__(self) -> None:
        self.joints: list[Joint] = []
        self.open: list[int] = []  # joints whose braces are open; -1 stands for an End Site
        self.named: int | None = None  # the joint or End Site whose brace comes next
        self.width = 0

    def read(self, text: str) -> list[Joint]:
        number = 0
        for number, line in enumerate(text.splitlines(), 1):
            try:
                for part in re.split(r"([{}])", line):
                    if part.strip():
                        self._part(part.strip())
            except (AnchorError, ValueError) as error:
                raise AnchorError(f"Line {number}, {line.strip()[:60]!r}: {error}") from error
        if self.open or self.named is not None:
            raise AnchorError(f"Line {number}: the hierarchy ends with open braces; export the file again.")
        if not self.width:
            raise AnchorError("The hierarchy has no joint with channels: export the file again.")
        return self.joints

    def _part(self, part: str) -> None:
        word, _, rest = part.replace("\t", " ").partition(" ")
        steps = {
            "HIERARCHY": lambda _: None,
            "ROOT": self._joint,
            "JOINT": self._joint,
            "END": self._end,
            "{": self._begin,
            "}": self._close,
            "OFFSET": self._offset,
            "CHANNELS": self._channels,
        }
        step = steps.get(word.upper())
        if step is None:
            raise AnchorError("a line starts with ROOT, JOINT, End Site, OFFSET, CHANNELS or a brace.")
        step(rest.strip())

    def _joint(self, name: str) -> None:
        parent = self.open[-1] if self.open else None
        if self.named is not None or parent == -1:
            raise AnchorError("a joint starts inside the braces of another one, or outside of all.")
        if len(self.joints) >= _MAX_JOINTS:
            raise AnchorError(f"there are more than {_MAX_JOINTS} joints; export the skeleton alone.")
        self.named = len(self.joints)
        self.joints.append(Joint(name or f"joint {self.named}", -1 if parent is None else parent))

    def _end(self, _: str) -> None:
        if self.named is not None or not self.open or self.open[-1] == -1:
            raise AnchorError("an End Site belongs inside the braces of a joint.")
        self.named = -1

    def _begin(self, _: str) -> None:
        if self.named is None:
            raise AnchorError("a brace opens only after the name of a joint or End Site.")
        self.open.append(self.named)
        self.named = None

    def _close(self, _: str) -> None:
        if not self.open or self.named is not None:
            raise AnchorError("there is no open brace to close.")
        self.open.pop()

    def _offset(self, rest: str) -> None:
        numbers = np.array([float(word) for word in rest.split()])
        if len(numbers) != 3 or not np.isfinite(numbers).all() or not self.open:
            raise AnchorError("OFFSET needs three finite numbers inside the braces of a joint.")
        if self.open[-1] >= 0:
            self.joints[self.open[-1]].offset = numbers
        else:
            self.joints[self.open[-2]].tip = numbers

    def _channels(self, rest: str) -> None:
        count, *words = rest.split() or ["?"]
        kinds = [_CHANNEL.fullmatch(word) for word in words]
        if not self.open or self.open[-1] < 0 or self.joints[self.open[-1]].channels:
            raise AnchorError("CHANNELS belongs inside the braces of a joint, once.")
        if count != str(len(words)) or None in kinds or len(words) > _MAX_CHANNELS:
            raise AnchorError("CHANNELS needs their number, then names such as Xposition or Zrotation.")
        self.joints[self.open[-1]].channels = tuple(
            ("xyz".index(kind[1].lower()), kind[2].lower(), self.width + k)
            for k, kind in enumerate(kinds)
            if kind
        )
        self.width += len(words)


def _motion_header(lines: list[bytes], first: int) -> tuple[int, str, int]:
    """Number of frames, seconds per frame as written, and the index of the first line of numbers."""
    values: list[str] = []
    wanted = (
        (rb"Frames\s*:\s*(\d+)", "Frames: 300"),
        (rb"Frame\s*Time\s*:\s*(\S+)", "Frame Time: 0.0333333"),
    )
    index = 0
    for pattern, example in wanted:
        while index < len(lines) and not lines[index].strip():
            index += 1
        line = lines[index].strip() if index < len(lines) else b""
        found = re.fullmatch(pattern, line, re.IGNORECASE)
        if found is None:
            raise AnchorError(
                f"Line {first + index}, {_shown(line)}: after MOTION comes a line such as '{example}'; "
                "export the file again."
            )
        values.append(found[1].decode("ascii", errors="replace"))
        index += 1
    if len(values[0]) > 9:
        raise AnchorError(f"The file says {values[0]} frames, which cannot be: export it again.")
    return int(values[0]), values[1], index


def _frames(lines: list[bytes], start: int, first: int, n_frames: int, width: int) -> np.ndarray:
    """(F, C) numbers of the lines from `start` on; `first` is the number of line 0 in the file."""
    rows = [index for index in range(start, len(lines)) if lines[index] and not lines[index].isspace()]
    if len(rows) != n_frames:
        raise AnchorError(
            f"The file says 'Frames: {n_frames}' and has {len(rows)} lines of numbers up to line "
            f"{first + len(lines) - 1}: it was cut off or is damaged, copy or export it again."
        )
    motion = np.empty((n_frames, width))
    for block in range(0, n_frames, _BLOCK):
        part = rows[block : block + _BLOCK]
        try:
            motion[block : block + len(part)] = _numbers([lines[index] for index in part], width)
        except ValueError:
            for index in part:
                _check_line(lines[index], first + index, width)
            raise AnchorError(f"The lines from {first + part[0]} on are not rows of numbers.") from None
    return motion


def _numbers(lines: list[bytes], width: int) -> np.ndarray:
    rows = [line.split() for line in lines]
    if any(len(row) != width for row in rows):
        raise ValueError("width")
    return np.array(rows, np.float64)


def _check_line(line: bytes, number: int, width: int) -> None:
    words = line.split()
    if len(words) != width:
        raise AnchorError(
            f"Line {number} has {len(words)} numbers and the channels of the skeleton are {width}: the file "
            "is damaged, copy or export it again."
        )
    for word in words:
        try:
            float(word)
        except ValueError as error:
            raise AnchorError(
                f"Line {number} has {_shown(word)} where a number is needed: export the file again."
            ) from error


def _shown(text: bytes) -> str:
    return repr(text[:40].decode("ascii", errors="replace"))
