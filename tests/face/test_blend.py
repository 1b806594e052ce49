"""Generated faces go back without a seam, and nothing but the face changes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from anchor_core.errors import AnchorError
from anchor_core.face.align import crop_matrices, transform
from anchor_core.face.blend import (
    BlendOptions,
    blend_faces,
    color_offsets,
    face_alpha,
    steady_offsets,
)
from anchor_core.face.published import square_alpha
from anchor_core.face.warp import warp_from_crops, warp_to_crops

SIDE = 128
RADIUS = 36.0  # of the painted disc, pixels of the crop
LEVEL = 1 / 255
PLAIN = BlendOptions(color_match=False)


def similarities(*rows: tuple[float, float, float, float]) -> Tensor:
    """Matrices (n, 2, 3) of (scale, turn in degrees, x, y)."""
    matrices = []
    for scale, turn, x, y in rows:
        cos, sin = (scale * f(math.radians(turn)) for f in (math.cos, math.sin))
        matrices.append([[cos, -sin, x], [sin, cos, y]])
    return torch.tensor(matrices, dtype=torch.float64)


def smooth_frames(n: int, height: int = 150, width: int = 180) -> Tensor:
    """(n, H, W, 3): soft hills of light, as skin and backdrop out of focus are."""
    coarse = torch.rand((n, 3, 7, 8), generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    fine = functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return fine.clamp(0.1, 0.9).permute(0, 2, 3, 1).contiguous()


def disc(n: int, size: int = SIDE, radius: float = RADIUS) -> Tensor:
    return (from_center(size) <= radius).float().repeat(n, 1, 1)


def from_center(size: int) -> Tensor:
    place = torch.arange(size) - (size - 1) / 2
    return (place[:, None].square() + place.square()).sqrt()


def radius_in_crop(matrix: Tensor, height: int, width: int) -> Tensor:
    """How far each pixel of the frame is from the middle of the crop, (H, W) in pixels of the crop."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    placed = transform(torch.stack([x, y], -1).view(1, -1, 2).double(), matrix[None])[0]
    return (placed - (SIDE - 1) / 2).norm(dim=1).view(height, width)


class Scene:
    """Two frames, turned and scaled differently, with a disc to paint."""

    def __init__(self) -> None:
        self.matrices = similarities((1.2, 10, -30, -25), (0.9, -20, -15, 25))
        self.frames = smooth_frames(2)
        self.context = warp_to_crops(self.frames, self.matrices, SIDE)
        self.mask = disc(2)

    def blend(self, crops: Tensor, frames: Tensor | None = None, **rest: object) -> Tensor:
        frames = self.frames if frames is None else frames
        return blend_faces(frames, crops, self.context, self.mask, self.matrices, **rest)

    def radius(self, index: int) -> Tensor:
        return radius_in_crop(self.matrices[index], *self.frames.shape[1:3])


@pytest.fixture(name="scene")
def _scene() -> Scene:
    return Scene()


def test_a_crop_that_changes_nothing_leaves_the_frame(scene: Scene) -> None:
    assert (scene.blend(scene.context) - scene.frames).abs().max() < 1.5 * LEVEL


def test_the_face_lands_where_it_was_cut_and_nothing_else_changes(scene: Scene) -> None:
    color = torch.tensor([0.9, 0.2, 0.4])
    given = scene.frames.clone()
    blended = scene.blend(color.expand(scene.context.shape), options=PLAIN)
    reach = RADIUS + math.sqrt(2) * (PLAIN.feather * SIDE + 1) + 3  # the corner of a square, the filter
    for index in range(2):
        radius = scene.radius(index)
        assert torch.equal(blended[index][radius > reach], given[index][radius > reach])
        torch.testing.assert_close(
            blended[index][radius < RADIUS - 3], color.expand(int((radius < RADIUS - 3).sum()), 3)
        )
        rim = blended[index][(radius > RADIUS) & (radius < RADIUS + 2)]
        assert (rim - color).abs().mean() < 0.1
    assert torch.equal(scene.frames, given), "the input was changed"


def test_weight_fades_the_face_and_0_leaves_the_frame(scene: Scene) -> None:
    crops = torch.full_like(scene.context, 0.7)
    whole, half = scene.blend(crops), scene.blend(crops, weight=torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(half, (whole + scene.frames) / 2)
    scene.matrices[0] = math.nan  # what a frame without a face has
    crops[0], scene.context[0] = math.nan, math.nan
    partly = scene.blend(crops, weight=torch.tensor([0.0, 1.0]))
    assert torch.equal(partly[0], scene.frames[0])
    assert torch.equal(partly[1], whole[1])


def test_no_frames_are_no_frames(scene: Scene) -> None:
    given = (scene.frames, scene.context, scene.context, scene.mask, scene.matrices)
    for mode in ("face", "crop", "square"):
        empty = blend_faces(*(tensor[:0] for tensor in given), options=BlendOptions(mode))
        assert empty.shape == scene.frames[:0].shape


def test_chunks_do_not_change_the_result(scene: Scene) -> None:
    crops = (scene.context * 0.9 + 0.02).clamp(0, 1)
    whole = scene.blend(crops)
    for index in range(2):
        i = slice(index, index + 1)
        alone = blend_faces(scene.frames[i], crops[i], scene.context[i], scene.mask[i], scene.matrices[i])
        torch.testing.assert_close(alone, whole[i])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_frames_keep_their_precision(scene: Scene, dtype: torch.dtype) -> None:
    frames = scene.frames.to(dtype)
    blended = scene.blend(torch.full_like(scene.context, 0.7), frames)
    assert blended.dtype == dtype
    far = scene.radius(0) > SIDE
    assert torch.equal(blended[0][far], frames[0][far])
    torch.testing.assert_close(
        blended.float(), scene.blend(torch.full_like(scene.context, 0.7)), atol=2e-3, rtol=0
    )


@pytest.mark.parametrize("mode", ["face", "crop", "square"])
def test_bytes_come_back_as_what_floats_are_rounded_to(scene: Scene, mode: str) -> None:
    given = (scene.frames * 255).round().to(torch.uint8)
    crops, weight = torch.full_like(scene.context, 0.7), torch.tensor([1.0, 0.4])
    options = BlendOptions(mode)
    blended = scene.blend(crops, given, weight=weight, options=options)
    floats = scene.blend(crops, given.float() / 255, weight=weight, options=options)
    assert blended.dtype == torch.uint8
    assert not torch.equal(blended, given)
    assert torch.equal(blended, (floats * 255).round().to(torch.uint8))


@pytest.mark.parametrize(("x", "y"), [(200, -25), (-300, 40), (20, -150), (-2000, 0)])
def test_a_face_that_leaves_the_frame(scene: Scene, x: float, y: float) -> None:
    matrices = similarities((1.2, 10, x, y))
    blended = blend_faces(
        scene.frames[:1], torch.ones(1, SIDE, SIDE, 3), None, disc(1), matrices, options=PLAIN
    )
    radius = radius_in_crop(matrices[0], *scene.frames.shape[1:3])
    assert torch.equal(blended[0][radius > RADIUS + 13], scene.frames[0][radius > RADIUS + 13])
    assert (blended[0][radius < RADIUS - 3] > 1 - 1e-5).all()


@pytest.mark.parametrize("scale", [0.45, 1.0, 2.3])
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.9, 0.2), (0.0, 1.0)])
def test_only_the_box_of_the_face_is_computed_and_it_is_large_enough(
    scale: float, place: tuple[float, float]
) -> None:
    """As if the complete frame was: a mask to the edges of its box, upright, so that the box fits tightly."""
    frames = smooth_frames(1, 90, 220)
    crops = torch.rand((1, SIDE, SIDE, 3), generator=torch.Generator().manual_seed(3))
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, 16:105, 24:99] = 1
    options = BlendOptions(feather=0, color_match=False)
    middle = (SIDE - 1) / 2
    matrices = similarities((scale, 0, middle - scale * place[0] * 220, middle - scale * place[1] * 90))
    alpha = face_alpha(mask, options)[..., None]
    shown = warp_from_crops(alpha, matrices, (220, 90))
    colors = warp_from_crops(crops, matrices, (220, 90), detail=2.5).clamp(0, 1)
    expected = frames * (1 - shown) + colors * shown
    blended = blend_faces(frames, crops, None, mask, matrices, options=options)
    torch.testing.assert_close(blended, expected, atol=1e-4, rtol=0)
    assert not torch.equal(blended, frames)


def test_a_small_face_does_not_alias() -> None:
    """Stripes of one pixel, finer than a crop's own detail, become nearly grey at an eighth of their size."""
    frames, matrices = torch.full((1, 24, 24, 3), 0.5), similarities((7.8, 0, -20, -20))
    stripes = (torch.arange(SIDE) % 2).float().view(1, 1, SIDE, 1).expand(1, SIDE, SIDE, 3)
    blended = blend_faces(frames, stripes, None, disc(1), matrices, options=PLAIN)
    assert (blended - 0.5).abs().max() < 0.2  # without a filter: 0.5


@pytest.mark.parametrize("size", [64, 128, 200])
def test_alpha_is_whole_on_the_mask_and_ends_at_the_rim(size: int) -> None:
    options = BlendOptions(feather=0.1, grow=0.05)
    alpha = face_alpha(disc(1, size, 0.2 * size), options)[0]
    radius = from_center(size) / size
    assert (alpha[radius <= 0.2 + 0.05 - 1 / size] == 1).all()
    assert (alpha[radius >= 0.2 + math.sqrt(2) * (0.15 + 1.5 / size)] == 0).all()
    line = alpha[size // 2, size // 2 :]
    assert (line.diff() <= 0).all()
    rim = int(((line > 0) & (line < 1)).sum())
    assert abs(rim - 0.1 * size) <= 2, "the rim is a share of the crop"
    assert -line.diff().min() < 2.5 / rim, "no step in the rim"


def test_no_feather_and_a_face_that_ends_inside_its_mask() -> None:
    mask = disc(1)
    assert torch.equal(face_alpha(mask, BlendOptions(feather=0)) > 0.5, mask > 0.5)
    inside = face_alpha(mask, BlendOptions(feather=0.05, grow=-0.1))
    assert (inside[mask == 0] == 0).all()
    assert inside.max() == 1


def test_alpha_of_soft_masks_and_of_masks_without_end() -> None:
    assert face_alpha(disc(1) * 0.25).max() == pytest.approx(0.25)
    assert face_alpha(torch.zeros(2, 64, 64)).abs().max() == 0
    for options in (BlendOptions(), BlendOptions("crop")):
        full = face_alpha(torch.ones(1, SIDE, SIDE), options)[0]
        assert full[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4].min() == 1
        assert max(full[0].max(), full[-1].max(), full[:, 0].max(), full[:, -1].max()) < 0.1


def test_mode_crop_pastes_the_whole_crop_in_proportion(scene: Scene) -> None:
    options = BlendOptions("crop", color_match=False, border=0.2)
    blended = scene.blend(torch.ones_like(scene.context), options=options)
    alpha = face_alpha(scene.mask, options)
    assert (alpha[0, 26:-26, 26:-26] == 1).all()
    assert (blended[0][scene.radius(0) < 0.28 * SIDE] > 1 - 1e-5).all(), "beyond the mask, too"
    half = face_alpha(disc(1, SIDE // 2), options)
    torch.testing.assert_close(functional.avg_pool2d(alpha[:1], 2), half, atol=0.02, rtol=0)


def test_a_cast_is_measured_beside_the_face(scene: Scene) -> None:
    cast = torch.tensor([[8.0, -5.0, 3.0], [0.0, 2.0, -8.0]]) * LEVEL
    crops = scene.context + cast[:, None, None]
    crops[scene.mask > 0.5] = 0.9  # whatever was painted
    clear = (scene.context > 0).all(-1)
    assert clear[1].float().mean() < 1, "a part of the second crop is outside the frame"
    torch.testing.assert_close(color_offsets(crops, scene.context, scene.mask), -cast, atol=1e-3, rtol=0)


def test_a_hand_or_a_blurred_edge_does_not_count_as_cast(scene: Scene) -> None:
    crops = scene.context + 4 * LEVEL
    crops[:, :, :30] += 0.3  # something else in a fifth of the ring
    offsets = color_offsets(crops, scene.context, scene.mask)
    torch.testing.assert_close(offsets, torch.full((2, 3), -4 * LEVEL), atol=1.5 * LEVEL, rtol=0)


def test_a_large_difference_is_bounded(scene: Scene) -> None:
    limited = color_offsets(scene.context * 0.5, scene.context, scene.mask, BlendOptions(color_limit=0.02))
    torch.testing.assert_close(limited, torch.full((2, 3), 0.02))
    given = scene.blend(
        scene.context, offsets=torch.full((2, 3), 0.9), options=BlendOptions(color_limit=0.02)
    )
    change = (given - scene.frames).abs().max()
    assert 0.015 < change < 0.03


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_what_is_cut_off_at_the_end_of_its_range_tells_nothing(value: float) -> None:
    context = torch.full((1, SIDE, SIDE, 3), 0.5)
    context[..., 1] = 0.01 + 0.98 * value
    crops = (context + (value - 0.5) / 10).clamp(0, 1)
    assert color_offsets(crops, context, disc(1)).isnan().all()


@pytest.mark.parametrize("cast", [-6.0, 6.0])
def test_a_black_backdrop_does_not_bend_the_measure(cast: float) -> None:
    """What is made of black can only be too bright; it must not stand for the colours of the rest."""
    noise = torch.randn((1, SIDE, SIDE, 3), generator=torch.Generator().manual_seed(2)) * 2 * LEVEL
    context = torch.zeros(1, SIDE, SIDE, 3)
    context[:, 50:] = 0.4
    offsets = color_offsets((context + noise + cast * LEVEL).clamp(0, 1), context, disc(1))
    torch.testing.assert_close(offsets, torch.full((1, 3), -cast * LEVEL), atol=0.5 * LEVEL, rtol=0)


def test_without_a_ring_nothing_is_corrected(scene: Scene) -> None:
    scene.mask[:] = 1
    crops = (scene.context + 8 * LEVEL).clamp(0, 1)
    assert color_offsets(crops, scene.context, scene.mask).isnan().all()
    assert torch.equal(scene.blend(crops), scene.blend(crops, options=PLAIN))


def test_offsets_of_a_clip_are_calm_and_complete() -> None:
    truth = torch.linspace(0, 6, 80)[:, None].expand(80, 3) * LEVEL
    trembling = truth + torch.randn((80, 3), generator=torch.Generator().manual_seed(1)) * LEVEL
    trembling[20:25] = math.nan
    steady = steady_offsets(trembling)
    assert steady.isfinite().all()
    assert steady.dtype == torch.float32
    assert steady.diff(dim=0).abs().mean() < 0.15 * trembling[25:].diff(dim=0).abs().mean()
    assert (steady - truth).abs().max() < 1.2 * LEVEL
    assert torch.equal(steady_offsets(torch.full((4, 3), math.nan)), torch.zeros(4, 3))


def steepest(scene: Scene, crops: Tensor, options: BlendOptions) -> float:
    """The steepest rise across the rim that the frame did not have, mean over the ring, levels per pixel."""
    added = (scene.blend(crops, options=options) - scene.frames)[0].mean(-1) * 255
    scale = float(torch.linalg.det(scene.matrices[0][:, :2]).sqrt())
    rings = ((scene.radius(0) - RADIUS) / scale).round().long()
    profile = torch.stack([added[rings == ring].mean() for ring in range(-12, 16)])
    return float(profile.diff().abs().max())


def test_no_seam(scene: Scene) -> None:
    """A decoder's cast of 8 levels on a softer picture: matched colours remove the step, a rim spreads it."""
    pool = functional.avg_pool2d(scene.context.permute(0, 3, 1, 2), 5, 1, 2, count_include_pad=False)
    crops = (pool.permute(0, 2, 3, 1) + 8 * LEVEL).clamp(0, 1)
    seam = {
        (match, feather): steepest(scene, crops, BlendOptions(color_match=match, feather=feather))
        for match in (False, True)
        for feather in (0.0, 0.08)
    }
    assert seam[False, 0.0] > 3
    assert seam[False, 0.08] < 0.5 * seam[False, 0.0]
    assert seam[True, 0.0] < 0.2
    assert seam[True, 0.08] < 0.2


@pytest.mark.parametrize("name", ["typical", "border", "nonsquare_small", "real_estimate"])
def test_mode_square_is_the_published_blend(goldens: Path, name: str) -> None:
    folder = goldens / "d_blend"
    body, face, result = (
        torch.from_numpy(np.array(Image.open(folder / f"{name}.{part}.png").convert("RGB")))
        for part in ("body", "face256", "result")
    )
    recorded = np.load(folder / "blend.npz")
    matrices = crop_matrices(torch.from_numpy(recorded[f"{name}.M_body_to_crop512"])[None], 256)
    blended = blend_faces(
        body[None] / 255,
        face[None] / 255,
        None,
        torch.ones(1, 256, 256),
        matrices,
        options=BlendOptions("square"),
    )
    assert torch.equal((blended[0] * 255).round().byte(), result)


def test_mode_square_keeps_the_frame_around_it(goldens: Path) -> None:
    """Frames that are no whole levels keep what they have beyond 8 bits where nothing is pasted."""
    recorded = np.load(goldens / "d_blend" / "blend.npz")
    matrices = torch.from_numpy(recorded["typical.M_body_to_crop512"])[None]
    untouched = square_alpha(matrices[0], (512, 512)) == 0
    assert 0.3 < untouched.float().mean() < 0.95
    frames = smooth_frames(1, 512, 512)
    given = (frames, torch.ones(1, 64, 64, 3), None, torch.ones(1, 64, 64), crop_matrices(matrices, 64))
    blended = blend_faces(*given, options=BlendOptions("square"))
    assert torch.equal(blended[0][untouched], frames[0][untouched])
    assert (blended[0] > 0.99).any()
    faded = blend_faces(*given, weight=torch.tensor([0.25]), options=BlendOptions("square"))
    torch.testing.assert_close(faded, frames + 0.25 * (blended - frames))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "poisson"}, "mode is 'poisson': need one of face, crop, square"),
        ({"feather": 0.6}, "feather is 0.6: need 0 to 0.5; usual is 0.04"),
        ({"feather": math.nan}, "feather is nan"),
        ({"grow": -0.7}, "grow is -0.7: need -0.5 to 0.5"),
        ({"border": -0.1}, "border is -0.1: need 0 to 0.5"),
        ({"color_limit": 2}, "color_limit is 2: need 0 to 1"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(AnchorError, match=message):
        BlendOptions(**options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": torch.zeros(2, 9, 9, 4)}, r"frames of shape \(2, 9, 9, 4\)"),
        (
            {"frames": torch.zeros(2, 9, 9, 3, dtype=torch.int32)},
            "torch.int32: .*or of bytes",
        ),
        ({"crops": torch.zeros(3, 16, 16, 3)}, r"crops .* shape \(3, 16, 16, 3\), need \(2, 16, 16, 3\)"),
        ({"crops": torch.zeros(2, 16, 12, 3)}, r"crops .* need \(2, 16, 16, 3\)"),
        ({"context": torch.zeros(2, 8, 8, 3)}, r"context .* need \(2, 16, 16, 3\)"),
        ({"context": None}, "need the same crops of the frames as context"),
        ({"mask": torch.zeros(1, 16, 16)}, r"mask .* shape \(1, 16, 16\), need \(2, 16, 16\)"),
        ({"matrices": torch.zeros(3, 2, 3)}, r"matrices .* need \(2, 2, 3\)"),
        ({"matrices": torch.zeros(2, 2, 3)}, "Matrix 0 of 2 is not finite or maps"),
        ({"weight": torch.ones(3)}, r"weight .* need \(2,\)"),
        ({"weight": torch.tensor([0.5, 1.5])}, "weights go from 0.5 to 1.5: need 0 to 1"),
        ({"offsets": torch.zeros(2)}, r"offsets .* need \(2, 3\)"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    given = {
        "frames": torch.zeros(2, 20, 20, 3),
        "crops": torch.zeros(2, 16, 16, 3),
        "context": torch.zeros(2, 16, 16, 3),
        "mask": torch.ones(2, 16, 16),
        "matrices": similarities((1, 0, 0, 0), (1, 0, 0, 0)),
    } | change
    with pytest.raises(AnchorError, match=message):
        blend_faces(**given)
