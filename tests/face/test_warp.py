"""Frame to crop and back: exact where pixels meet, true between them, and smooth where they are too many."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from anchor_core.errors import AnchorError
from anchor_core.face.align import crop_matrices, inverse, transform
from anchor_core.face.warp import warp_from_crops, warp_to_crops


def _matrix(scale: float, degrees: float = 0.0, at: tuple[float, float] = (0, 0), to: float = 0.0) -> Tensor:
    """(1, 2, 3): scaled and turned, the point `at` brought to (to, to)."""
    angle = math.radians(degrees)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    shift = to - linear @ torch.tensor(at, dtype=torch.float64)
    return torch.cat([linear, shift[:, None]], dim=1)[None]


def _places(height: int, width: int) -> Tensor:
    """(1, H, W, 2): the x and y of each pixel."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([x, y], dim=-1)[None]


def _noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.manual_seed(0))


def _checkerboard(side: int) -> Tensor:
    return _places(side, side).sum(-1, keepdim=True) % 2


@pytest.mark.parametrize("side", [7, 64, 100, 257])
def test_the_identity_changes_nothing(side: int) -> None:
    pictures = _noise(2, side, side, 3)
    matrices = _matrix(1).repeat(2, 1, 1)
    assert torch.equal(warp_to_crops(pictures, matrices, side), pictures)
    assert torch.equal(warp_from_crops(pictures, matrices, (side, side)), pictures)


def test_whole_pixels_are_copied_and_outside_is_0() -> None:
    frame = _noise(1, 30, 50, 3) + 0.1
    crop = warp_to_crops(frame, _matrix(1, at=(40, 20)), 25)
    assert torch.equal(crop[:, :10, :10], frame[:, 20:, 40:])
    assert not crop[:, 10:].any()
    assert not crop[:, :, 10:].any()
    assert torch.equal(
        warp_from_crops(crop, _matrix(1, at=(40, 20)), (50, 30))[:, 20:, 40:], frame[:, 20:, 40:]
    )


def test_a_half_turn_reverses_rows_and_columns() -> None:
    frame = _noise(1, 33, 33, 3)
    crop = warp_to_crops(frame, _matrix(1, 180, (16, 16), 16), 33)
    torch.testing.assert_close(crop, frame.flip(1, 2), rtol=0, atol=1e-5)


def test_bytes_are_shares_of_255() -> None:
    frame = torch.randint(0, 256, (1, 40, 40, 3), dtype=torch.uint8, generator=torch.manual_seed(0))
    assert torch.equal(warp_to_crops(frame, _matrix(1), 40), frame.float() / 255)


@pytest.mark.parametrize("degrees", [0, 17])
@pytest.mark.parametrize("scale", [3.1, 1.0, 0.7, 0.45, 0.29, 0.11])
def test_ramps_stay_straight_at_every_scale(scale: float, degrees: float) -> None:
    """A picture of its own coordinates shows in every pixel of the crop where that lies in the frame."""
    matrices = _matrix(scale, degrees, (400, 300), 15.5)
    crop = warp_to_crops(_places(600, 800), matrices, 32)
    expected = transform(_places(32, 32).reshape(1, -1, 2), inverse(matrices)).reshape(1, 32, 32, 2)
    torch.testing.assert_close(crop.double(), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("scale", [4.0, 1.5, 0.8, 0.3])
def test_crops_come_back_at_the_same_place(scale: float) -> None:
    """Inside of the crop, whatever its scale; 0 outside of it."""
    matrices = _matrix(scale, 9, (70, 50), 63.5)
    frame = warp_from_crops(_places(128, 128), matrices, (160, 120))
    expected = transform(_places(120, 160).reshape(1, -1, 2), matrices).reshape(1, 120, 160, 2)
    margin = max(2, 2 * scale)
    inside = ((expected > margin) & (expected < 127 - margin)).all(-1)
    outside = ((expected < -margin) | (expected > 127 + margin)).any(-1)
    assert inside.any()
    torch.testing.assert_close(frame[inside].double(), expected[inside], rtol=0, atol=2e-3)
    assert not frame[outside].any()


def test_smooth_pictures_survive_there_and_back() -> None:
    x, y = _places(120, 160).unbind(-1)
    frame = (0.5 + 0.4 * torch.sin(x / 9) * torch.cos(y / 7))[..., None]
    matrices = _matrix(2.6, 12, (80, 60), 63.5)
    back = warp_from_crops(warp_to_crops(frame, matrices, 128), matrices, (160, 120))
    placed = transform(_places(120, 160).reshape(1, -1, 2), matrices).reshape(1, 120, 160, 2)
    inside = ((placed > 6) & (placed < 121)).all(-1)
    assert (back - frame)[inside].abs().max() < 0.01


@pytest.mark.parametrize("scale", [1 / 2, 1 / 2.37, 1 / 3.2, 1 / 5.5])
def test_fine_patterns_turn_grey(scale: float) -> None:
    """A checkerboard under pixels twice as long or more; a plain bilinear reading makes waves of it."""
    side = 400
    crop = warp_to_crops(_checkerboard(side), _matrix(scale, 5, (200, 200), 15.5), 32)
    assert (crop - 0.5).abs().max() < 0.2
    frame = warp_from_crops(_checkerboard(256), _matrix(1 / scale, 5, (16, 16), 128), (33, 33))
    assert (frame[:, 10:23, 10:23] - 0.5).abs().max() < 0.2


def test_half_the_size_is_the_mean_of_four() -> None:
    frame = _noise(1, 64, 64, 3)
    means = frame.reshape(1, 32, 2, 32, 2, 3).mean((2, 4))
    crop = warp_to_crops(frame, crop_matrices(_matrix(512 / 64, at=(-0.5, -0.5), to=-0.5), 32), 32)
    torch.testing.assert_close(crop, means, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1.01, 1.3, 1.73, 2.0, 2.9, 3.1, 3.2, 4.9, 5.1, 7.5])
def test_sharpness_follows_the_scale_without_a_jump(scale: float) -> None:
    """A parabola rises by the variance of what averages it: a pixel of the crop over one of the frame."""
    x = _places(500, 500)[..., :1] - 249.5
    matrices = _matrix(1 / scale, 31, (249.5, 249.5), 15.5)
    crop = warp_to_crops(x.square(), matrices, 32)[0, ..., 0].double()
    centres = transform(_places(32, 32).reshape(1, -1, 2), inverse(matrices))[0, :, 0].reshape(32, 32) - 249.5
    assert float((crop - centres.square()).mean()) == pytest.approx((scale**2 + 1) / 12, rel=0.03)


def test_light_is_kept() -> None:
    """A bright frame on a crop that shrinks covers as much light as its area."""
    crop = torch.ones((1, 128, 128, 1))
    for scale in (1.3, 2.37, 4.0):
        frame = warp_from_crops(crop, _matrix(scale, 20, (100, 100), 63.5), (200, 200))
        assert float(frame.sum()) == pytest.approx((128 / scale) ** 2, rel=0.01)
        assert frame.max() <= 1 + 1e-6


def test_each_frame_has_its_own_matrix_and_no_other() -> None:
    frames = _noise(3, 90, 70, 3)
    matrices = torch.cat([_matrix(1.7, 10, (30, 40), 16), _matrix(0.4, -50, (30, 40), 16), _matrix(0.2)])
    together = warp_to_crops(frames, matrices, 32)
    alone = torch.cat([warp_to_crops(f[None], m[None], 32) for f, m in zip(frames, matrices, strict=True)])
    assert torch.equal(together, alone)
    assert warp_to_crops(frames[:0], matrices[:0], 32).shape == (0, 32, 32, 3)


def test_crops_outside_the_frame_are_empty() -> None:
    frames = torch.ones((1, 40, 40, 3))
    for away in (_matrix(1, at=(1000, 0)), _matrix(2, at=(0, -5000)), _matrix(1, at=(41, 41))):
        assert not warp_to_crops(frames, away, 32).any()
        assert not warp_from_crops(torch.ones((1, 32, 32, 3)), away, (40, 40)).any()


def test_a_face_of_no_size_takes_no_memory() -> None:
    assert warp_to_crops(torch.ones((1, 40, 40, 1)), _matrix(1e-5, at=(20, 20), to=8), 16).isfinite().all()


def test_half_precision_is_read_in_full() -> None:
    frame = _noise(1, 32, 32, 3).half()
    assert torch.equal(warp_to_crops(frame, _matrix(1).float(), 32), frame.float())


def test_bad_input_is_refused() -> None:
    frames = _noise(2, 32, 32, 3)
    with pytest.raises(
        AnchorError, match=r"frames of shape \(32, 32, 3\) .*: need \(frames, height, width, channels"
    ):
        warp_to_crops(frames[0], _matrix(1), 32)
    with pytest.raises(AnchorError, match=r"type torch\.int64: need .* of floats in 0 to 1 or of bytes"):
        warp_to_crops(frames.long(), _matrix(1).repeat(2, 1, 1), 32)
    with pytest.raises(AnchorError, match=r"matrices of shape \(1, 2, 3\) for 2 crops: need \(2, 2, 3\)"):
        warp_from_crops(frames, _matrix(1), (32, 32))
    with pytest.raises(AnchorError, match="frame is to have 0 x 32 pixels, width before height"):
        warp_from_crops(frames, _matrix(1).repeat(2, 1, 1), (0, 32))
    with pytest.raises(AnchorError, match="crop is to have 0 x 0 pixels"):
        warp_to_crops(frames, _matrix(1).repeat(2, 1, 1), 0)
    for wrong in (0.0, math.nan):
        matrices = torch.cat([_matrix(1), _matrix(1) * wrong])
        with pytest.raises(AnchorError, match="Matrix 1 of 2 is not finite or maps the frame to a line"):
            warp_to_crops(frames, matrices, 32)


def test_enlarged_pieces_come_back_sharper_than_by_averaging() -> None:
    generator = torch.Generator().manual_seed(3)
    small = torch.rand((1, 40, 40, 3), generator=generator)
    frame = torch.nn.functional.interpolate(small.permute(0, 3, 1, 2), size=(120, 120), mode="bicubic")
    frame = frame.clamp(0, 1).permute(0, 2, 3, 1)
    matrices = _matrix(2.4, 7, (60, 60), 63.5)
    crops = warp_to_crops(frame, matrices, 128)
    inner = slice(45, 75)
    errors = [
        (warp_from_crops(crops, matrices, (120, 120), detail=detail) - frame)[:, inner, inner].abs().mean()
        for detail in (1.0, 2.5)
    ]
    assert errors[1] < 0.6 * errors[0]


def test_detail_finer_than_the_frame_is_averaged_all_the_same() -> None:
    frame = warp_from_crops(_checkerboard(512), _matrix(8, 5, (16, 16), 256), (33, 33), detail=2.0)
    assert (frame[:, 8:24, 8:24] - 0.5).abs().max() < 0.1
