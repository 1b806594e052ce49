"""Five points to the aligned crop: the published matrices, and the rules that any similarity keeps."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.face.align import (
    CROP,
    FFHQ,
    LARGE_FFHQ,
    crop_matrices,
    crop_sides,
    five_points,
    inverse,
    similarity,
    transform,
)

TEMPLATES = {"ffhq.512": FFHQ, "ffhq.256": FFHQ / 2, "large_ffhq.512": LARGE_FFHQ}


@pytest.mark.parametrize(("bits", "tolerance"), [(64, 1e-9), (32, 5e-4)])
@pytest.mark.parametrize("mode", TEMPLATES)
def test_matrices_are_the_published_ones(goldens: Path, mode: str, bits: int, tolerance: float) -> None:
    """With mirrored points and garbage among them; in 32 bits the published sums are rounded."""
    vectors = np.load(goldens / "d_similarity" / "similarity.npz")
    points = torch.from_numpy(vectors[f"landmarks_f{bits}"])
    expected = vectors[f"M.{mode}.f{bits}"]
    np.testing.assert_allclose(similarity(points, TEMPLATES[mode]).numpy(), expected, rtol=0, atol=tolerance)


def test_templates_are_the_published_ones(goldens: Path) -> None:
    vectors = np.load(goldens / "d_similarity" / "similarity.npz")
    np.testing.assert_array_equal(FFHQ.numpy(), vectors["template_ffhq_512"])
    np.testing.assert_allclose(LARGE_FFHQ.numpy(), vectors["template_large_ffhq_512"], rtol=0, atol=1e-12)


def test_a_moved_template_is_found_again() -> None:
    turn = math.radians(23)
    linear = 3.5 * torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    known = torch.cat([linear.double(), torch.tensor([[40.0], [-700.0]]).double()], dim=1)[None]
    points = transform(FFHQ[None], inverse(known))
    torch.testing.assert_close(similarity(points), known, rtol=0, atol=1e-9)
    torch.testing.assert_close(transform(points, similarity(points))[0], FFHQ, rtol=0, atol=1e-9)


def test_a_mirrored_face_is_turned_but_never_mirrored() -> None:
    mirrored = FFHQ * FFHQ.new_tensor([-1, 1])
    assert torch.linalg.det(similarity(mirrored[None])[:, :, :2]) > 0


def test_frames_do_not_depend_on_each_other() -> None:
    points = FFHQ + torch.randn((4, 5, 2), dtype=torch.float64, generator=torch.manual_seed(0)) * 20
    alone = torch.cat([similarity(one[None]) for one in points])
    torch.testing.assert_close(similarity(points), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_smaller_crop_shows_the_same_square(size: int) -> None:
    """The outer corners of the crop, half a pixel outside of its corner pixels, stay where they are."""
    matrices = similarity(FFHQ[None] / 4 + 30)
    corners = torch.tensor([[[-0.5, -0.5], [CROP - 0.5, CROP - 0.5]]], dtype=torch.float64)
    smaller = torch.tensor([[[-0.5, -0.5], [size - 0.5, size - 0.5]]], dtype=torch.float64)
    expected = transform(corners, inverse(matrices))
    actual = transform(smaller, inverse(crop_matrices(matrices, size)))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


def test_crop_matrices_leaves_what_it_is_given() -> None:
    matrices = similarity(FFHQ[None])
    before = matrices.clone()
    crop_matrices(matrices, 128)
    assert torch.equal(matrices, before)


def test_sides_are_those_of_the_square_in_the_frame() -> None:
    matrices = similarity(torch.stack([FFHQ, FFHQ / 4]))
    torch.testing.assert_close(crop_sides(matrices), matrices.new_tensor([512, 128]), rtol=1e-9, atol=0)


def test_five_points_of_68() -> None:
    landmarks = torch.arange(68.0)[None, :, None].repeat(1, 1, 3)
    assert five_points(landmarks)[0, :, 0].tolist() == [38.5, 44.5, 30, 48, 54]
    assert five_points(landmarks).shape == (1, 5, 2)


def test_points_that_make_no_face_are_refused() -> None:
    points = FFHQ.repeat(3, 1, 1)
    points[2, 1, 0] = math.nan
    with pytest.raises(AnchorError, match=r"frame 2 has a point that is not finite \(1 such frames of 3\)"):
        similarity(points)
    points[2] = 7.0
    with pytest.raises(AnchorError, match="frame 2 lie in one place: five different points are needed"):
        similarity(points)
