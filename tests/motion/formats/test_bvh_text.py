"""The text of BVH files: every layout that programs write; damage is one sentence that names the line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from anchor_core.errors import AnchorError
from anchor_core.motion.formats.bvh_text import frame_rate, open_text, parse

TEXT = """HIERARCHY
ROOT Hips
{
  OFFSET 1 2 3
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Left Arm
  {
    OFFSET 0 5.5 0
    CHANNELS 3 Yrotation Xrotation Zrotation
    End Site
    {
      OFFSET 0 0 1e1
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.0333333
1 2 3 4 5 6 7 8 9
-1 2.5 3 4 5 6 7 8 1e-3
"""


def changed(old: str, new: str) -> bytes:
    assert old in TEXT
    return TEXT.replace(old, new, 1).encode()


def test_hierarchy_and_motion() -> None:
    content = parse(TEXT.encode())
    root, arm = content.joints
    assert (root.name, root.parent, arm.name, arm.parent) == ("Hips", -1, "Left Arm", 0)
    np.testing.assert_array_equal(root.offset, [1, 2, 3])
    np.testing.assert_array_equal(arm.offset, [0, 5.5, 0])
    assert root.tip is None
    np.testing.assert_array_equal(arm.tip, [0, 0, 10])
    assert root.channels[3:] == ((2, "rotation", 3), (0, "rotation", 4), (1, "rotation", 5))
    assert arm.channels == ((1, "rotation", 6), (0, "rotation", 7), (2, "rotation", 8))
    np.testing.assert_array_equal(
        content.motion, [[1, 2, 3, 4, 5, 6, 7, 8, 9], [-1, 2.5, 3, 4, 5, 6, 7, 8, 0.001]]
    )
    assert content.fps == 30


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n{", " {").replace("  ", "\t").encode(),
        TEXT.replace("\n", "  \n\n").encode(),
        TEXT.lower().replace("hips", "Hips").replace("left arm", "Left Arm").encode(),
        TEXT.replace("Frames:", "Frames :\t").replace("Frame Time:", "FRAME TIME:").encode(),
        TEXT.rstrip().encode(),
        TEXT.replace("1 2 3 4 5 6 7 8 9", "1\t2  3 4 5 6 7 8 9 \t").encode(),
    ],
)
def test_other_ways_to_write_the_same(text: bytes) -> None:
    content, plain = parse(text), parse(TEXT.encode())
    np.testing.assert_array_equal(content.motion, plain.motion)
    assert [(j.name, j.parent, j.channels) for j in content.joints] == [
        (j.name, j.parent, j.channels) for j in plain.joints
    ]


@pytest.mark.parametrize(
    ("seconds", "fps"),
    [
        ("0.0333333", 30),
        ("0.033333", 30),
        ("0.0333", 30),
        ("0.033367", 30000 / 1001),
        ("0.041667", 24),
        ("0.0417083", 24000 / 1001),
        ("0.04", 25),
        ("0.00833333", 120),
        ("0.008333", 120),
        ("8.333333E-03", 120),
        ("0.0166667", 60),
        ("0.01", 100),
        ("0.03456789", 1 / 0.03456789),
    ],
)
def test_frame_rate(seconds: str, fps: float) -> None:
    assert frame_rate(seconds) == pytest.approx(fps, rel=1e-9)


@pytest.mark.parametrize("seconds", ["0", "-0.04", "nan", "inf", "fast"])
def test_frame_rate_that_is_none(seconds: str) -> None:
    assert frame_rate(seconds) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            changed("OFFSET 0 5.5 0", "OFFSET 0 5.5"),
            r"Line 8, 'OFFSET 0 5.5': OFFSET needs three finite numbers",
        ),
        (changed("OFFSET 0 5.5 0", "OFFSET 0 nan 0"), "Line 8, .*OFFSET needs three finite numbers"),
        (changed("OFFSET 0 5.5 0", "OFFSET 0 up 0"), "Line 8, .*could not convert string to float: 'up'"),
        (changed("CHANNELS 3", "CHANNELS 4"), "Line 9, .*CHANNELS needs their number"),
        (changed("CHANNELS 3 Y", "CHANNELS 3 W"), "Line 9, .*CHANNELS needs their number"),
        (changed("CHANNELS 3 Yrotation Xrotation Zrotation", "CHANNELS"), "Line 9, .*CHANNELS needs"),
        (changed("    End Site", "    Ende"), "Line 10, 'Ende': a line starts with ROOT, JOINT"),
        (
            changed("    {\n      OFFSET 0 0 1e1\n", "      OFFSET 0 0 1e1\n"),
            "Line 12, '}': there is no open",
        ),
        (changed("  }\n}", "  }"), "Line 14: the hierarchy ends with open braces"),
        (changed("ROOT Hips\n", ""), "Line 2, '{': a brace opens only after the name"),
        (changed("MOTION", "MOTIONS"), "The text has no line MOTION"),
        (changed("Frames: 2", "Frames: two"), "Line 17, 'Frames: two': after MOTION comes .* 'Frames: 300'"),
        (changed("Frame Time: 0.0333333\n", ""), "Line 18, '1 2 3 .*after MOTION comes .*'Frame Time: "),
        (changed("Frames: 2", "Frames: 3"), "says 'Frames: 3' and has 2 lines of numbers up to line 20"),
        (changed("Frames: 2", "Frames: 99999999999"), "says 99999999999 frames, which cannot be"),
        (changed("-1 2.5 3", "-1 2.5"), "Line 20 has 8 numbers and the channels of the skeleton are 9"),
        (changed("-1 2.5 3", "-1 2,5 3"), "Line 20 has '2,5' where a number is needed"),
        (b"HIERARCHY\nMOTION\nFrames: 0\nFrame Time: 0.1\n", "has no joint with channels"),
        (TEXT[: TEXT.index("MOTION")].encode(), "has no line MOTION: the file was cut off"),
    ],
)
def test_damaged_text_names_the_line(text: bytes, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        parse(text)


def test_too_many_joints() -> None:
    joints = "".join(f"JOINT a{k}\n{{\nOFFSET 0 0 0\n}}\n" for k in range(1100))
    with pytest.raises(AnchorError, match="more than 1000 joints"):
        parse(TEXT.replace("  JOINT Left Arm", joints + "  JOINT Left Arm").encode())


def test_any_damage_is_one_sentence(tmp_path: Path) -> None:
    """Cut anywhere, with bytes changed at random: read, or an AnchorError."""
    rng = np.random.default_rng(2)
    path = tmp_path / "a.bvh"
    for k in range(150):
        data = bytearray(TEXT.encode())
        for position in rng.integers(0, len(data), 3):
            data[position] = rng.integers(0, 256)
        path.write_bytes(bytes(data[: rng.integers(9, len(data))] if k % 2 else data))
        with contextlib.suppress(AnchorError):
            open_text(path)


def test_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.bvh"
    path.write_text("HIERARCHY")
    with pytest.raises(AnchorError, match=r"^a\.bvh: The text has no line MOTION"):
        open_text(path)
