"""PSNR, SSIM and LPIPS against other implementations on the same frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from anchor_core.errors import AnchorError
from anchor_core.evaluation.guide import Hint
from anchor_core.evaluation.meter import Pair
from anchor_core.evaluation.perceptual import LpipsMeter, PictureMeter, load_lpips


def clip(frames=3, side=24, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, side, side, 3), dtype=np.uint8)


def measured(meter, result, truth, meshes=None):
    for index, (one, two) in enumerate(zip(result, truth, strict=True)):
        meter.add(Pair.of(index, one, two, Hint(None if meshes is None else meshes[index])))
    return {one.key: one for one in meter.measurements()}


def ssim_of_scipy(one, two):
    """Wang et al. 2004, equation 13, with a Gaussian of 11 pixels that never leaves the picture."""
    one, two = one / 255, two / 255
    blur = lambda x: gaussian_filter(x, (1.5, 1.5, 0), truncate=5 / 1.5)  # noqa: E731
    mean_one, mean_two = blur(one), blur(two)
    var_one, var_two = blur(one**2) - mean_one**2, blur(two**2) - mean_two**2
    cover = blur(one * two) - mean_one * mean_two
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_one * mean_two + c1) * (2 * cover + c2)
    value /= (mean_one**2 + mean_two**2 + c1) * (var_one + var_two + c2)
    return value[5:-5, 5:-5].mean()


def test_psnr_equals_the_formula_on_all_frames():
    result, truth = clip(), clip(seed=1)
    meter = PictureMeter()
    found = measured(meter, result, truth)
    square = ((result / 255 - truth / 255) ** 2).mean(axis=(1, 2, 3))
    assert found["psnr"].value == pytest.approx(-10 * math.log10(square.mean()), rel=1e-6)
    assert meter.curves()["psnr"].values[""] == pytest.approx(-10 * np.log10(square), rel=1e-6)
    assert math.isinf(measured(PictureMeter(), truth, truth)["psnr"].value)


def test_psnr_on_the_person_looks_at_the_mesh():
    truth, meshes = clip(), np.zeros((3, 24, 24, 3), np.uint8)
    result = truth.copy()
    meshes[:, 4:10, 4:12, 1] = 90
    assert math.isinf(measured(PictureMeter(), result, truth, meshes)["psnr_person"].value)
    result[:, :4] = 0  # beside the person
    assert math.isinf(measured(PictureMeter(), result, truth, meshes)["psnr_person"].value)
    result[:, 4:10, 4:12] = truth[:, 4:10, 4:12] // 2
    inside = (result / 255 - truth / 255)[:, 4:10, 4:12]
    found = measured(PictureMeter(), result, truth, meshes)["psnr_person"].value
    assert found == pytest.approx(-10 * math.log10((inside**2).mean()), rel=1e-6)
    assert "--motion or --dataset" in measured(PictureMeter(), result, truth)["psnr_person"].note


def test_ssim_equals_scipy():
    truth = clip()
    result = (truth * 0.7 + clip(seed=1) * 0.3).astype(np.uint8)
    expected = np.mean([ssim_of_scipy(one, two) for one, two in zip(result, truth, strict=True)])
    assert measured(PictureMeter(), result, truth)["ssim"].value == pytest.approx(expected, rel=1e-5)
    small = clip(side=10)
    assert "smaller than 11 pixels" in measured(PictureMeter(), small, small)["ssim"].note


def test_without_weights_lpips_says_so():
    found = measured(LpipsMeter(None, torch.device("cpu")), clip(), clip())
    assert math.isnan(found["lpips"].value)
    assert found["lpips"].note == "left out: no weights given (--lpips FILE)"


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """The features of AlexNet with random weights, as torchvision stores them."""
    pytest.importorskip("lpips")
    generator = torch.Generator().manual_seed(0)
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    tensors = {}
    for layer, (out, into, side) in shapes.items():
        weight = torch.randn(out, into, side, side, generator=generator) / math.sqrt(into * side * side)
        tensors[f"features.{layer}.weight"] = weight
        tensors[f"features.{layer}.bias"] = torch.randn(out, generator=generator) * 0.1
    tensors["classifier.6.bias"] = torch.zeros(4)  # what follows the features is of no use
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(tensors, path)
    return path


def lpips_by_hand(one, two, tensors, lines):
    """Zhang et al. 2018, equation 1."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    stacked = torch.from_numpy(np.stack([one, two])).float() / 127.5 - 1
    x = ((stacked - shift) / scale).permute(0, 3, 1, 2)
    total = 0.0
    plan = {0: (4, 2, False), 3: (1, 2, True), 6: (1, 1, True), 8: (1, 1, False), 10: (1, 1, False)}
    for (layer, (stride, pad, pool)), line in zip(plan.items(), lines, strict=True):
        if pool:
            x = torch.nn.functional.max_pool2d(x, 3, 2)
        weight, bias = (tensors[f"features.{layer}.{name}"] for name in ("weight", "bias"))
        x = torch.nn.functional.conv2d(x, weight, bias, stride, pad).relu()
        unit = x / (x.norm(dim=1, keepdim=True) + 1e-10)
        total += float(((unit[0] - unit[1]) ** 2 * line.view(-1, 1, 1)).sum(0).mean())
    return total


def test_lpips_equals_the_formula(trunk):
    result, truth = clip(side=64), clip(side=64, seed=1)
    meter = LpipsMeter(trunk, torch.device("cpu"))
    found = measured(meter, result, truth)["lpips"]
    network, _ = load_lpips(trunk)
    lines = [line.model[-1].weight.detach() for line in network.lins]
    tensors = torch.load(trunk)
    expected = [lpips_by_hand(one, two, tensors, lines) for one, two in zip(result, truth, strict=True)]
    assert meter.curves()["lpips"].values[""] == pytest.approx(expected, rel=1e-4)
    assert found.value == pytest.approx(np.mean(expected), rel=1e-4)
    assert "on alex; not the published weights (sha256" in found.note
    assert measured(LpipsMeter(trunk, torch.device("cpu")), truth, truth)["lpips"].value == 0


def test_a_foreign_file_is_no_trunk(tmp_path, trunk):
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(AnchorError, match=r"other.pth is neither the AlexNet nor the VGG-16"):
        load_lpips(tmp_path / "other.pth")
    tensors = torch.load(trunk)
    del tensors["features.10.bias"]
    torch.save(tensors, tmp_path / "cut.pth")
    with pytest.raises(
        AnchorError, match=r"cut.pth does not fit the trunk of LPIPS \(1 tensors are missing\)"
    ):
        load_lpips(tmp_path / "cut.pth")
