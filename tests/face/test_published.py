"""The published rules, against what the unmodified published code and cv2 4.7 made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anchor_core.errors import AnchorError
from anchor_core.face.published import (
    ARCFACE,
    align_published,
    blend_square,
    mask_at_crop,
    mask_at_latents,
    mask_from_parsing,
    resize_published,
    similarity_arcface,
    square_alpha,
    warp_published,
)

BLENDS = ("typical", "border", "nonsquare_small", "real_estimate")


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).copy()


def _shift(x: float, y: float) -> torch.Tensor:
    return torch.tensor([[1, 0, x], [0, 1, y]], dtype=torch.float64)


@pytest.mark.parametrize("bits", [32, 64])
def test_the_best_of_five_poses_is_the_published_one(goldens: Path, bits: int) -> None:
    vectors = np.load(goldens / "d_similarity" / "similarity.npz")
    matrices, poses = similarity_arcface(torch.from_numpy(vectors[f"landmarks_f{bits}"]), 224)
    np.testing.assert_array_equal(poses.numpy(), vectors[f"template_index.None.224.f{bits}"])
    assert len(poses.unique()) == len(ARCFACE)
    # The published templates are float32, so are its sums over them.
    np.testing.assert_allclose(matrices.numpy(), vectors[f"M.None.224.f{bits}"], rtol=0, atol=5e-4)


def test_poses_are_the_published_ones(goldens: Path) -> None:
    vectors = np.load(goldens / "d_similarity" / "similarity.npz")
    np.testing.assert_array_equal(ARCFACE.float().numpy(), vectors["templates_arc_112"])


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("number", [0, 1])
def test_aligned_crops_are_the_published_ones(goldens: Path, number: int, size: int) -> None:
    folder = goldens / "d_align_warp"
    matrix = np.load(folder / "matrices.npz")["M"][number]
    crop = align_published(_read(folder / "image.png"), matrix, size)
    np.testing.assert_array_equal(crop.numpy(), _read(folder / f"crop{size}_{number}.png"))


def test_masks_are_the_published_ones(goldens: Path) -> None:
    stages = np.load(goldens / "d_mask" / "mask.npz")
    mask = mask_from_parsing(stages["parsing_512"])
    np.testing.assert_array_equal(mask.numpy(), stages["mask_png_512"])
    np.testing.assert_array_equal(resize_published(mask, (256, 256)).numpy(), stages["mask_gray_256"])
    np.testing.assert_array_equal(mask_at_crop(mask).numpy(), stages["mask_binary_256"])
    np.testing.assert_array_equal(mask_at_latents(mask_at_crop(mask)).numpy(), stages["mask_latent_32"])


@pytest.mark.parametrize("name", BLENDS)
def test_pasted_squares_are_the_published_ones(goldens: Path, name: str) -> None:
    folder = goldens / "d_blend"
    vectors = np.load(folder / "blend.npz")
    matrix, alpha = vectors[f"{name}.M_body_to_crop512"], vectors[f"{name}.alpha_uint16"]
    body, face = _read(folder / f"{name}.body.png"), _read(folder / f"{name}.face256.png")
    np.testing.assert_array_equal(
        blend_square(body, face, matrix).numpy(), _read(folder / f"{name}.result.png")
    )
    found = square_alpha(matrix, (alpha.shape[1], alpha.shape[0])).numpy()
    np.testing.assert_allclose(found, alpha / 65535, rtol=0, atol=1.01 / 65535)


def test_a_frame_without_its_face_comes_back_as_it_was() -> None:
    frame = torch.randint(0, 256, (48, 64, 3), dtype=torch.uint8, generator=torch.manual_seed(0))
    face = torch.full((256, 256, 3), 255, dtype=torch.uint8)
    for away in (_shift(-4000, 0), _shift(0, 900)):
        assert torch.equal(blend_square(frame, face, away), frame)
        assert not square_alpha(away, (64, 48)).any()


def test_the_frame_given_is_left_alone() -> None:
    frame = torch.zeros((300, 300, 3), dtype=torch.uint8)
    pasted = blend_square(frame, torch.full((256, 256, 3), 200, dtype=torch.uint8), _shift(100, 100))
    assert pasted.max() == 200
    assert not frame.any()


def test_alpha_does_not_depend_on_the_size_of_the_frame() -> None:
    """The crop is blurred in the box around it: so far inside the frame no edge may show."""
    matrix = torch.tensor([[4, 0.5, -900], [-0.5, 4, -700]], dtype=torch.float64)
    wide, tight = square_alpha(matrix, (640, 600)), square_alpha(matrix, (420, 400))
    assert float(tight.max()) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(wide[:400, :420], tight, rtol=0, atol=1e-12)
    assert not wide[400:].any()


def test_warps_by_whole_pixels_copy() -> None:
    picture = torch.randint(0, 256, (20, 30, 3), dtype=torch.uint8, generator=torch.manual_seed(0))
    assert torch.equal(warp_published(picture, _shift(0, 0), (30, 20)), picture)
    moved = warp_published(picture, _shift(3, -2), (30, 20))
    assert torch.equal(moved[:-2, 3:], picture[2:, :-3])
    assert not moved[:, :3].any()
    assert not moved[-2:].any()


def test_warps_keep_1_of_32_pixels_and_the_type() -> None:
    ramp = torch.arange(0, 96, dtype=torch.float64).expand(4, 96)
    warped = warp_published(ramp, _shift(-0.30, 0), (95, 4))
    torch.testing.assert_close(warped, ramp[:, :95] + 10 / 32)  # 0.30 of 32 is 9.6
    assert warp_published(ramp.float(), _shift(0, 0), (5, 4)).dtype == torch.float32


def test_halves_are_means_rounded_up_and_doubles_lie_at_quarters() -> None:
    four = torch.tensor([[0, 0], [255, 255]], dtype=torch.uint8)
    assert resize_published(four, (1, 1)).item() == 128
    assert resize_published(torch.tensor([[0, 100]], dtype=torch.uint8), (4, 1)).tolist() == [
        [0, 25, 75, 100]
    ]


def test_bad_pictures_are_refused() -> None:
    frame, face = torch.zeros((8, 8, 3), dtype=torch.uint8), torch.zeros((256, 256, 3), dtype=torch.uint8)
    with pytest.raises(
        AnchorError, match=r"frame of shape \(8, 8, 3\) and type torch.float32: need .* bytes"
    ):
        blend_square(frame.float(), face, _shift(0, 0))
    with pytest.raises(AnchorError, match=r"face of shape \(256, 256\) .*: need \(height, width, 3\)"):
        blend_square(frame, face[..., 0], _shift(0, 0))
    with pytest.raises(AnchorError, match=r"matrix of shape \(3, 3\): need \(2, 3\) finite numbers"):
        align_published(frame, np.eye(3))
    with pytest.raises(AnchorError, match="maps the frame to a line"):
        square_alpha(_shift(0, 0) * 0, (8, 8))
    with pytest.raises(AnchorError, match=r"need \(height, width\) of bytes"):
        mask_at_crop(face)
    with pytest.raises(AnchorError, match=r"parsed face of shape \(8, 8, 3\)"):
        mask_from_parsing(frame)
    with pytest.raises(AnchorError, match="resized picture is to have 0 x 4 pixels"):
        resize_published(frame, (0, 4))
    with pytest.raises(AnchorError, match=r"type torch\.int64: need .* bytes, float32 or float64"):
        warp_published(frame.long(), _shift(0, 0), (8, 8))
