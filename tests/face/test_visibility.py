"""How much of a face is seen: turned heads, borders of the frame, small faces, and the reasons given."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from anchor_core.body import BodyModel, pose_motion
from anchor_core.face.align import FFHQ, five_points, similarity
from anchor_core.face.visibility import (
    COVERED,
    MIN_FACE_PX,
    NO_FACE,
    OUTSIDE,
    SMALL,
    TURNED,
    facing,
    inside_frame,
    judge,
    large_enough,
)
from anchor_core.motion import Camera, Motion
from anchor_core.render.raster import project

Pose = Callable[..., Motion]
EYE = (0.0, 0.0, 6.0)


def turned_face(degrees: float, axis: str = "y") -> Tensor:
    """Landmarks (1, 68, 3) of a flat face at the origin that looks along +z, turned."""
    flat = torch.zeros(68, 3)
    flat[36:42], flat[42:48] = torch.tensor([-0.03, 0.0, 0.0]), torch.tensor([0.03, 0.0, 0.0])
    flat[48], flat[54] = torch.tensor([-0.025, -0.07, 0.0]), torch.tensor([0.025, -0.07, 0.0])
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turns = {"y": [[c, 0, s], [0, 1, 0], [-s, 0, c]], "x": [[1, 0, 0], [0, c, -s], [0, s, c]]}
    return (flat @ torch.tensor(turns[axis]).T)[None]


def moved(dx: float, dy: float, scale: float = 0.25) -> Tensor:
    """Matrix (1, 2, 3) of a face whose crop is 512 * scale px wide and begins at (dx, dy)."""
    return similarity(FFHQ[None] * scale + torch.tensor([dx, dy], dtype=torch.float64))


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    ("degrees", "share"), [(0, 1), (30, 1), (49, 1), (60, 0.63), (76, 0), (90, 0), (180, 0)]
)
def test_share_by_turn(axis: str, side: int, degrees: float, share: float) -> None:
    shown = float(facing(turned_face(side * degrees, axis), EYE)[0])
    assert shown == pytest.approx(share, abs=0.03)


def test_share_falls_steadily() -> None:
    shares = [float(facing(turned_face(angle), EYE)[0]) for angle in range(45, 80, 2)]
    assert shares == sorted(shares, reverse=True)
    assert len({round(share, 4) for share in shares}) > 10


def test_turn_counts_against_the_camera_and_not_against_the_room() -> None:
    """Who looks past the camera by 80 degrees is turned away, who looks at it from the side is not."""
    aside = (6.0 * math.sin(math.radians(80)), 0.0, 6.0 * math.cos(math.radians(80)))
    assert float(facing(turned_face(0), aside)[0]) < 0.01
    assert float(facing(turned_face(80), aside)[0]) == 1


@pytest.mark.parametrize(
    ("turn", "low", "high"), [(0, 1, 1), (30, 1, 1), (-30, 1, 1), (60, 0.3, 0.8), (90, 0, 0)]
)
def test_share_on_the_body(body: BodyModel, posed: Pose, turn: float, low: float, high: float) -> None:
    landmarks = pose_motion(body, posed([turn])).landmarks
    assert low <= float(facing(landmarks, EYE)[0]) <= high


def test_inside_and_outside_of_the_frame() -> None:
    size = (200, 150)
    assert float(inside_frame(moved(40, 10), size)) == 1
    for dx, dy in ((-200, 10), (300, 10), (40, -200), (40, 300)):
        assert float(inside_frame(moved(dx, dy), size)) == 0


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_border_through_the_middle_of_the_face_leaves_a_half(side: str) -> None:
    """The oval's centre, (256, 282) in the crop of 512, lies on the border."""
    x, y = 256 * 0.25, 282 * 0.25
    place = {
        "left": (-x - 0.5, 10),
        "right": (199.5 - x, 10),
        "top": (40, -y - 0.5),
        "bottom": (40, 149.5 - y),
    }
    assert float(inside_frame(moved(*place[side]), (200, 150))) == pytest.approx(0.5, abs=0.02)


def test_small_faces_are_left_alone_and_growing_ones_fade_in() -> None:
    """The face's oval is half as wide as the crop."""
    widths = (6, MIN_FACE_PX, MIN_FACE_PX + 1, MIN_FACE_PX + 2, 18, 27)
    shares = large_enough(torch.cat([moved(0, 0, width * 2 / 512) for width in widths]))
    torch.testing.assert_close(shares, shares.new_tensor([0, 0, 0.25, 0.5, 1, 1]))


def test_faces_of_the_demo_are_large_enough(body: BodyModel, posed: Pose, camera: Camera) -> None:
    """27 pixels wide at a frame of 192 pixels, 18 at 128; at 96 pixels there is nothing to see of a face."""
    landmarks = pose_motion(body, posed()).landmarks
    shares = []
    for side in (192, 128, 96):
        points = five_points(project(landmarks, camera.resized(side, side))[0]) - 0.5
        shares.append(float(large_enough(similarity(points))[0]))
    assert shares[:2] == [1, 1]
    assert shares[2] < 0.1


def test_the_worst_share_names_the_reason() -> None:
    ones = torch.ones(4)
    turned, covered = torch.tensor([1.0, 0.2, 0.5, 0.9]), torch.tensor([1.0, 0.9, 0.5, 0.0])
    visibility, hidden = judge({SMALL: ones, TURNED: turned, COVERED: covered}, 0.3)
    assert hidden == ("", TURNED, TURNED, COVERED)
    torch.testing.assert_close(visibility, torch.tensor([1.0, 0.18, 0.25, 0.0]))
    assert visibility.dtype == torch.float32


def test_nothing_seen_is_hidden_even_where_everything_is_asked_for() -> None:
    visibility, hidden = judge({NO_FACE: torch.tensor([1.0, 0.0]), OUTSIDE: torch.ones(2)}, 0.0)
    assert hidden == ("", NO_FACE)
    assert visibility.tolist() == [1, 0]
