"""Distances of distributions: FID (Heusel et al. 2017) of frames, FVD (Unterthiner et al. 2018) of clips.

Both fit a Gaussian to features of result and of truth and take the Fréchet distance of the two,

    d = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

Only sums of features and of their products are kept, so memory does not grow with the number of frames.
Features: the pool of Inception-v3 by torch-fidelity (which has the weights and the resizing of the original),
the logits of I3D for clips of 16 frames.
"""

from __future__ import annotations

import io
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import AnchorError
from .i3d import load_i3d
from .meter import Pair
from .report import Curve, Measurement, left_out
from .weights import PublishedWeights, read_weights

INCEPTION = PublishedWeights("Inception-v3 of torch-fidelity", ("6726825d",))
I3D_WEIGHTS = PublishedWeights("I3D in PyTorch")
CLIP_FRAMES = 16
"""Frames of a clip, as FVD is usually told."""
CLIP_STEP = 8
"""A clip starts every so many frames: one video gives few of them."""
_I3D_SIDE = 224
_FEW = 256  # below so many samples the distance is dominated by their number
_BATCH = 8


class FeatureMoments:
    """Mean and covariance of features that go by, from sums in double precision."""

    def __init__(self) -> None:
        self.count = 0
        self._origin = self._sum = self._products = np.zeros(0)

    def add(self, features: np.ndarray) -> None:
        """(N, D) more samples."""
        rows = features.astype(np.float64)
        if not self.count:  # sums about the first sample lose no digits where all are alike and far from 0
            self._origin = rows[0]
            self._sum = np.zeros(rows.shape[1])
            self._products = np.zeros((rows.shape[1], rows.shape[1]))
        rows = rows - self._origin
        self.count += len(rows)
        self._sum = self._sum + rows.sum(0)
        self._products += rows.T @ rows

    @property
    def mean(self) -> np.ndarray:
        """(D,)."""
        return self._origin + self._sum / self.count

    @property
    def covariance(self) -> np.ndarray:
        """(D, D), unbiased, as both papers' code has it. Needs two samples."""
        mean = self._sum / self.count
        return (self._products - self.count * np.outer(mean, mean)) / (self.count - 1)


def frechet_distance(one: FeatureMoments, two: FeatureMoments) -> float:
    """Squared Fréchet distance of two Gaussians; also where the covariances are singular.

    The eigenvalues of C1 C2 are those of the symmetric B C2 B with B = C1^(1/2): real and not negative.
    """
    difference = one.mean - two.mean
    first, second = one.covariance, two.covariance
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = np.linalg.eigvalsh(root @ second @ root)
    cross = np.sqrt(np.clip(product, 0, None)).sum()
    return float(difference @ difference + np.trace(first) + np.trace(second) - 2 * cross)


class FidMeter:
    """Fréchet Inception distance of all frames."""

    def __init__(self, weights: Path | None, device: torch.device) -> None:
        self._moments = FeatureMoments(), FeatureMoments()
        self._kept: list[Tensor] = []
        self._network: Any = None
        if weights is not None:
            self._network = load_inception(weights).to(device)
            self._note = INCEPTION.note(weights)
        self._device = device

    def add(self, pair: Pair) -> None:
        """Look at one frame."""
        if self._network is None:
            return
        frames = np.stack([pair.result_bytes, pair.truth_bytes])
        self._kept.append(torch.from_numpy(frames).permute(0, 3, 1, 2))
        if len(self._kept) == _BATCH:
            self._take()

    @torch.no_grad()
    def _take(self) -> None:
        if not self._kept:
            return
        frames = torch.stack(self._kept, dim=1).to(self._device)  # (2, N, 3, H, W)
        self._kept.clear()
        for moments, batch in zip(self._moments, frames, strict=True):
            moments.add(self._network(batch)[0].cpu().numpy())

    def measurements(self) -> list[Measurement]:
        """FID."""
        if self._network is None:
            return left_out("no weights given (--inception FILE)", "fid")
        self._take()
        return _distance("fid", self._moments, "frames", self._note)

    def curves(self) -> dict[str, Curve]:
        """None: it is one number."""
        return {}


class FvdMeter:
    """Fréchet video distance of overlapping clips of 16 frames."""

    def __init__(self, weights: Path | None, device: torch.device) -> None:
        self._moments = FeatureMoments(), FeatureMoments()
        self._recent: deque[Tensor] = deque(maxlen=CLIP_FRAMES)
        self._network = None
        if weights is not None:
            self._network = load_i3d(weights).to(device)
            self._note = I3D_WEIGHTS.note(weights)
        self._device = device

    def add(self, pair: Pair) -> None:
        """Look at one frame; a clip ends every CLIP_STEP of them."""
        if self._network is None:
            return
        frames = torch.stack([pair.result, pair.truth]).permute(0, 3, 1, 2) * 2 - 1
        side = (_I3D_SIDE, _I3D_SIDE)
        self._recent.append(functional.interpolate(frames, side, mode="bilinear", align_corners=False))
        full = len(self._recent) == CLIP_FRAMES
        if full and (pair.index + 1 - CLIP_FRAMES) % CLIP_STEP == 0:
            self._take()

    @torch.no_grad()
    def _take(self) -> None:
        assert self._network is not None
        clips = torch.stack(list(self._recent), dim=2).to(self._device)  # (2, 3, F, 224, 224)
        for moments, clip in zip(self._moments, clips, strict=True):
            moments.add(self._network(clip[None]).cpu().numpy())

    def measurements(self) -> list[Measurement]:
        """FVD."""
        if self._network is None:
            return left_out("no weights given (--i3d FILE)", "fvd")
        return _distance("fvd", self._moments, f"clips of {CLIP_FRAMES} frames", self._note)

    def curves(self) -> dict[str, Curve]:
        """None: it is one number."""
        return {}


def load_inception(weights: Path) -> Any:
    """torch-fidelity's Inception-v3 with its last pooled features, (N, 3, H, W) uint8 to ((N, 2048),).

    Raises AnchorError where the package is missing or the weights do not fit.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        message = "FID needs the package torch-fidelity: install it with: pip install torch-fidelity"
        raise AnchorError(message) from None
    safe = io.BytesIO()  # the package would unpickle the file with all that is in it: it gets tensors alone
    torch.save(read_weights(weights), safe)
    safe.seek(0)
    try:
        return FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=safe)
    except RuntimeError as error:
        raise AnchorError(
            f"{weights.name} does not fit Inception-v3 ({str(error).splitlines()[-1].strip()[:200]}):"
            " give weights-inception-2015-12-05-6726825d.pth of torch-fidelity"
        ) from None


def _distance(
    key: str, moments: tuple[FeatureMoments, FeatureMoments], what: str, note: str
) -> list[Measurement]:
    count = moments[0].count
    if count < 2:
        return left_out(f"{count} {what}, and a covariance needs two or more", key)
    few = ": compare with equal numbers only" if count < _FEW else ""
    notes = filter(None, (f"{count} {what}{few}", note))
    return [Measurement(key, frechet_distance(*moments), "; ".join(notes))]
