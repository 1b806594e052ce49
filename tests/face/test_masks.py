"""Masks of the face: discs against brute force, closed mouths, arms that are never painted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anchor_core.face.align import FFHQ
from anchor_core.face.masks import face_mask, face_oval, grown, radius_of, surrounded

NOTHING = torch.zeros(64, 64)


def disc(size: int, center: tuple[float, float], radius: float) -> Tensor:
    place = torch.arange(size, dtype=torch.float64)
    return (place[None] - center[0]).square() + (place[:, None] - center[1]).square() <= radius**2


def painted(face: Tensor, arm: Tensor = NOTHING, fill: bool = True, dilation: float = 0.0) -> Tensor:
    mask = face_mask(face.float(), arm.float(), fill, dilation)
    assert mask.dtype == torch.uint8
    assert set(mask.unique().tolist()) <= {0, 255}
    return mask == 255


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 8, 31, 64, 200])
def test_grown_is_a_disc_around_every_pixel(radius: int) -> None:
    mask = torch.rand(32, 32, generator=torch.manual_seed(radius)) > 0.98
    mask[0, 31] = mask[31, 5] = True  # also at the border
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    expected = torch.zeros_like(mask)
    for row, column in mask.nonzero().tolist():
        expected |= (x - column) ** 2 + (y - row) ** 2 <= radius**2
    before = mask.clone()
    assert torch.equal(grown(mask, radius), expected)
    assert torch.equal(mask, before)


def test_grown_counts_beyond_bytes() -> None:
    """A row of a large crop holds more set pixels than a small whole number."""
    mask = torch.ones(1, 40000, dtype=torch.bool)[:, :2048].expand(2048, -1).clone()
    mask[:, 1500:] = False
    result = grown(mask, 7)
    assert result[:, :1507].all()
    assert not result[:, 1507:].any()


def test_surrounded_needs_all_four_sides() -> None:
    ring = disc(64, (32, 32), 20) & ~disc(64, (32, 32), 15)
    assert torch.equal(surrounded(ring) | ring, disc(64, (32, 32), 20))
    open_above = ring.clone()
    open_above[:32] = False
    assert not surrounded(open_above)[25, 32]
    assert not surrounded(torch.zeros(8, 8, dtype=torch.bool)).any()


def test_fill_closes_mouth_and_eye_slits_and_nothing_else() -> None:
    face = disc(64, (32, 32), 24)
    mouth, slit = disc(64, (32, 44), 5), torch.zeros_like(face)
    slit[24, 20:28] = True
    holed = face & ~mouth & ~slit
    assert torch.equal(painted(holed, fill=True), face)
    assert torch.equal(painted(holed, fill=False), holed)


def test_fill_closes_an_open_mouth_at_the_chin() -> None:
    """A slit that reaches the border of the face, narrower than the closing, is closed too."""
    face = disc(256, (128, 128), 80)
    cut = face.clone()
    cut[128:, 127:130] = False
    inner = disc(256, (128, 128), 70)
    nothing = torch.zeros(256, 256)
    assert painted(cut, nothing, fill=True)[inner].all()
    assert not painted(cut, nothing, fill=False)[150, 128]


def test_half_covered_pixels_are_painted_and_less_are_not() -> None:
    face = NOTHING.clone()
    face[20:40, 20:40], face[20:40, 40], face[20:40, 41] = 1, 0.5, 0.25
    mask = painted(face)
    assert mask[30, 40]
    assert not mask[30, 41]


@pytest.mark.parametrize("fill", [True, False])
@pytest.mark.parametrize("dilation", [0.0, 0.03, 0.25])
def test_an_arm_in_front_is_never_painted(fill: bool, dilation: float) -> None:
    arm = torch.zeros(64, 64, dtype=torch.bool)
    arm[10:50, 30:36] = True
    face = disc(64, (32, 32), 20) & ~arm
    mask = painted(face, arm, fill, dilation)
    assert not (mask & arm).any()
    assert mask[face].all()


def test_dilation_is_a_share_of_the_side() -> None:
    for size in (64, 128, 256):
        face, nothing = disc(size, (size / 2, size / 2), size / 4), torch.zeros(size, size)
        wider = painted(face, nothing, dilation=0.1)
        reach = [float(mask.sum() / torch.pi) ** 0.5 / size for mask in (face, wider)]
        assert reach[1] - reach[0] == pytest.approx(0.1, abs=0.01)
        assert not (face & ~wider).any()


def test_no_face_gives_an_empty_mask() -> None:
    assert not painted(NOTHING, dilation=0.5).any()


@pytest.mark.parametrize("size", [32, 64, 256, 512])
def test_oval_is_the_same_at_every_size_and_holds_the_five_points(size: int) -> None:
    oval = face_oval(size)
    assert oval.dtype == torch.uint8
    share = float((oval == 255).double().mean())
    assert share == pytest.approx(torch.pi * 128 * 178 / 512**2, rel=0.01)
    points = ((FFHQ + 0.5) * size / 512 - 0.5).round().long()
    assert (oval[points[:, 1], points[:, 0]] == 255).all()
    assert not oval[0].any()
    assert not oval[:, 0].any()
    y, x = (oval == 255).nonzero().double().mean(0)
    center = (torch.tensor([256.0, 282.0]) + 0.5) * size / 512 - 0.5
    assert abs(float(x - center[0])) < 0.1
    assert abs(float(y - center[1])) < 0.1 + size / 512


def test_radius_is_a_whole_number_of_pixels() -> None:
    assert [radius_of(0.03, size) for size in (32, 128, 256, 512)] == [1, 4, 8, 15]
