"""Fréchet distances against closed forms, scipy and torch-fidelity; the networks against their papers."""

from __future__ import annotations

import io
import math
import os
import pickle

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from anchor_core.errors import AnchorError
from anchor_core.evaluation import frechet
from anchor_core.evaluation.frechet import (
    FeatureMoments,
    FidMeter,
    FvdMeter,
    frechet_distance,
    load_inception,
)
from anchor_core.evaluation.guide import Hint
from anchor_core.evaluation.i3d import CLASSES, I3D, load_i3d, pad_same
from anchor_core.evaluation.meter import Pair
from anchor_core.evaluation.weights import PublishedWeights, sha256_of

CPU = torch.device("cpu")


def moments(samples, parts=1):
    found = FeatureMoments()
    for part in np.array_split(samples, parts):
        found.add(part)
    return found


def samples(n, dims, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dims)) @ rng.normal(size=(dims, dims)) + offset


def test_moments_of_parts_equal_those_of_numpy():
    rows = samples(37, 5, offset=1e4)
    found = moments(rows, parts=6)
    assert found.count == 37
    assert found.mean == pytest.approx(rows.mean(0))
    assert found.covariance == pytest.approx(np.cov(rows, rowvar=False), rel=1e-9)


def test_the_distance_of_known_gaussians():
    # Of independent variables it is the sum of (m1 - m2)^2 + (s1 - s2)^2.
    rows = np.array([[-1.0, -2], [1, 2], [-1, 2], [1, -2]])
    one, two = moments(rows), moments(rows * [3, 0.5] + [5, 0])
    sigma = math.sqrt(4 / 3)
    expected = 25 + (sigma * 2) ** 2 + (2 * sigma * 0.5) ** 2
    assert frechet_distance(one, two) == pytest.approx(expected)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("n", [60, 6])  # the second has singular covariances
def test_the_distance_equals_scipy_and_torch_fidelity(n):
    first, second = samples(n, 12, 0), samples(n + 3, 12, 1, offset=0.3)
    found = frechet_distance(moments(first), moments(second))
    c1, c2 = (np.cov(rows, rowvar=False) for rows in (first, second))
    difference = first.mean(0) - second.mean(0)
    cross = sqrtm(c1 @ c2 + 1e-12 * np.eye(12)).real
    expected = difference @ difference + np.trace(c1 + c2 - 2 * cross)
    assert found == pytest.approx(expected, rel=1e-4)
    fidelity = pytest.importorskip("torch_fidelity.metric_fid")
    stats = [fidelity.fid_features_to_statistics(torch.from_numpy(rows)) for rows in (first, second)]
    theirs = fidelity.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert found == pytest.approx(theirs, rel=1e-5)


def clip(frames, side=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, side, side, 3), dtype=np.uint8)


def run(meter, result, truth):
    for index, (one, two) in enumerate(zip(result, truth, strict=True)):
        meter.add(Pair.of(index, one, two, Hint()))
    return meter.measurements()[0]


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """Inception-v3 with random weights, as torch-fidelity stores them."""
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    class Unfilled(extractor.FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict, strict=True, assign=False):
            return None

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    torch.manual_seed(0)
    network = Unfilled("inception", ["2048"], feature_extractor_weights_path=empty)
    for name, weight in network.named_parameters():
        if name.endswith("conv.weight"):  # as strong as it came in: else nothing is left after 40 layers
            weight.normal_(0, math.sqrt(2 / weight[0].numel()))
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


def test_fid_compares_the_features_of_torch_fidelity(inception, monkeypatch):
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    compared = []
    # The distance has its own tests, and takes seconds with 2048 features.
    monkeypatch.setattr(frechet, "frechet_distance", lambda one, two: compared.append((one, two)) or 7.5)
    clips = clip(3), clip(3, seed=1) // 2
    found = run(FidMeter(inception, CPU), *clips)
    assert found.value == 7.5
    assert found.note.startswith(
        "3 frames: compare with equal numbers only; not the published weights (sha256 "
    )
    network = fidelity.FeatureExtractorInceptionV3(
        "x", ["2048"], feature_extractor_weights_path=str(inception)
    )
    for frames, taken in zip(clips, compared[0], strict=True):
        features = network(torch.from_numpy(frames).permute(0, 3, 1, 2))[0].double().numpy()
        assert features.std(0).max() > 1e-3
        assert taken.mean == pytest.approx(features.mean(0), rel=1e-4, abs=1e-6)
        assert np.allclose(taken.covariance, np.cov(features, rowvar=False), rtol=1e-3, atol=1e-6)


def test_weights_are_data_only(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    (tmp_path / "w.pth").write_bytes(pickle.dumps({"conv.weight": Evil()}))
    for load in (load_inception, load_i3d):
        with pytest.raises(AnchorError, match=r"w.pth cannot be read safely"):
            load(tmp_path / "w.pth")
    assert not (tmp_path / "evil").exists()


def test_other_weights_do_not_fit(tmp_path):
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(AnchorError, match=r"w.pth does not fit Inception-v3"):
        load_inception(tmp_path / "w.pth")
    with pytest.raises(AnchorError, match=r"w.pth does not fit I3D .*i3d_pretrained_400.pt"):
        load_i3d(tmp_path / "w.pth")


def test_published_files_are_known_by_their_hash(tmp_path):
    (tmp_path / "w").write_bytes(b"abc")
    assert sha256_of(tmp_path / "w").startswith("ba7816bf")  # FIPS 180-2, appendix B.1
    assert PublishedWeights("x", ("ba7816bf",)).note(tmp_path / "w") == ""
    assert "published 12345678" in PublishedWeights("x", ("12345678",)).note(tmp_path / "w")
    assert "no hash is published for x" in PublishedWeights("x").note(tmp_path / "w")


def test_without_weights_both_say_so():
    for meter, option in ((FidMeter(None, CPU), "--inception"), (FvdMeter(None, CPU), "--i3d")):
        found = run(meter, clip(2), clip(2))
        assert math.isnan(found.value)
        assert found.note == f"left out: no weights given ({option} FILE)"


def test_i3d_has_the_parameters_of_its_table():
    def unit(a, b, side):
        return a * b * side**3 + 2 * b  # no bias, and two numbers of the batch norm

    def mixed(a, b0, b1a, b1b, b2a, b2b, b3):
        return (
            unit(a, b0, 1)
            + unit(a, b1a, 1)
            + unit(b1a, b1b, 3)
            + unit(a, b2a, 1)
            + unit(b2a, b2b, 3)
            + unit(a, b3, 1)
        )

    expected = unit(3, 64, 7) + unit(64, 64, 1) + unit(64, 192, 3)
    expected += mixed(192, 64, 96, 128, 16, 32, 32) + mixed(256, 128, 128, 192, 32, 96, 64)
    expected += mixed(480, 192, 96, 208, 16, 48, 64) + mixed(512, 160, 112, 224, 24, 64, 64)
    expected += mixed(512, 128, 128, 256, 24, 64, 64) + mixed(512, 112, 144, 288, 32, 64, 64)
    expected += mixed(528, 256, 160, 320, 32, 128, 128) + mixed(832, 256, 160, 320, 32, 128, 128)
    expected += mixed(832, 384, 192, 384, 48, 128, 128) + 1024 * CLASSES + CLASSES
    with torch.device("meta"):
        network = I3D()
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    names = set(network.state_dict())
    assert {"Conv3d_1a_7x7.conv3d.weight", "Mixed_4f.b2b.bn.running_var", "logits.conv3d.bias"} <= names


@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(8, 3, 2), (9, 3, 2), (7, 7, 2), (16, 7, 2), (5, 2, 2), (4, 1, 1)]
)
def test_padding_is_that_of_tensorflow(side, kernel, stride):
    x = torch.ones(1, 1, side, side, side)
    padded = pad_same(x, (kernel,) * 3, (stride,) * 3)
    total = padded.shape[2] - side
    assert (side + total - kernel) // stride + 1 == math.ceil(side / stride)
    before = int((padded[0, 0, :, side // 2 + total // 2, side // 2 + total // 2] == 1).nonzero()[0])
    assert before == max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) // 2


def test_i3d_takes_a_clip_to_400_numbers(tmp_path):
    torch.manual_seed(0)
    network = I3D().eval()
    torch.save(network.state_dict(), tmp_path / "i3d.pt")
    loaded = load_i3d(tmp_path / "i3d.pt")
    video = torch.randn(1, 3, 9, 224, 224)
    with torch.no_grad():
        found = loaded(video)
        assert found.shape == (1, CLASSES)
        assert found.isfinite().all()
        # The last two layers by themselves: what is left in time is averaged after the logits.
        seen = []
        handle = loaded.Mixed_5c.register_forward_hook(lambda module, inputs, output: seen.append(output))
        loaded(video)
        handle.remove()
        pooled = seen[0].unfold(2, 2, 1).mean(-1).mean((3, 4))  # (1, 1024, T)
        weight, bias = loaded.logits.conv3d.weight[:, :, 0, 0, 0], loaded.logits.conv3d.bias
        expected = (weight @ pooled[0] + bias[:, None]).mean(1)
    assert torch.allclose(found[0], expected, atol=1e-5)


class Means(torch.nn.Module):
    """A stand-in for I3D: the mean colours of the first and the last frame."""

    def forward(self, video):
        assert video.shape[1:] == (3, 16, 224, 224)
        return torch.cat([video[:, :, 0].mean((2, 3)), video[:, :, -1].mean((2, 3))], dim=1)


@pytest.fixture
def means(monkeypatch, tmp_path):
    monkeypatch.setattr(frechet, "load_i3d", lambda path: Means())
    (tmp_path / "i3d.pt").write_bytes(b"weights")
    return tmp_path / "i3d.pt"


def test_fvd_takes_a_clip_every_eight_frames(means):
    result, truth = clip(41, 32), clip(41, 32, seed=1)
    found = run(FvdMeter(means, CPU), result, truth)
    features = []
    for frames in (result, truth):
        colours = (frames / 127.5 - 1).mean(axis=(1, 2))
        features.append(np.stack([np.concatenate([colours[t], colours[t + 15]]) for t in (0, 8, 16, 24)]))
    assert found.value == pytest.approx(frechet_distance(*map(moments, features)), rel=1e-2)
    assert found.note.startswith(
        "4 clips of 16 frames: compare with equal numbers only; no hash is published"
    )


def test_too_few_frames_leave_it_out(means):
    found = run(FvdMeter(means, CPU), clip(20, 32), clip(20, 32))
    assert math.isnan(found.value)
    assert found.note == "left out: 1 clips of 16 frames, and a covariance needs two or more"
