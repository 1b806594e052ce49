"""Landmark mean distance (LMD) of face, body and hands: how far what a detector finds lies from the truth.

The mean Euclidean distance of the same landmarks, found in the frames of both clips (Chen et al. 2018,
arXiv 1803.10404; Make-Your-Anchor, section 4). Chen et al. first move the mean points of both sets onto each
other, as they compare lips of faces that lie elsewhere; we do not, for a part in the wrong place is an error
here. Our detector is DWPose (Yang et al. 2023, arXiv 2307.15880),
whole-body network of 384 x 288 pixels as ONNX, by onnxruntime: 133 points of COCO-WholeBody. Numbers of
another detector are not comparable; distances are in pixels of a frame whose longer side has 512.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnchorError
from .meter import Pair
from .report import Curve, Measurement, left_out
from .weights import PublishedWeights

DWPOSE = PublishedWeights(
    "DWPose-l 384", ("724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",)
)
PARTS = {"face": slice(23, 91), "body": slice(0, 17), "hands": slice(91, 133)}
"""Points of COCO-WholeBody; 17 to 22 are the feet."""
N_POINTS = 133
SIDE = 512
"""Longer side in pixels that distances are told for."""
_INPUT = (288, 384)  # width, height
_SPLIT = 2.0  # bins per pixel of the two classifications (SimCC, Li et al. 2022)
_MARGIN = 1.25  # of the person's box, as in the training of the network
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
_SURE = 0.3
"""Score from which a point counts as found, as DWPose's own drawings do."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """points: (133, 2) pixels of the frame; scores: (133,)."""

    points: np.ndarray
    scores: np.ndarray


Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""
Detector = Callable[[np.ndarray, Box], Landmarks]
"""A frame (H, W, 3) uint8 and the box of its person to landmarks."""


class LandmarkMeter:
    """LMD of the three parts."""

    def __init__(self, detector: Detector | None, note: str = "") -> None:
        self._detector, self._note = detector, note
        self._distances: dict[str, list[float]] = {part: [] for part in PARTS}
        self._sums = dict.fromkeys(PARTS, 0.0)
        self._both = dict.fromkeys(PARTS, 0)
        self._true = dict.fromkeys(PARTS, 0)

    def add(self, pair: Pair) -> None:
        """Look at one frame; both clips are searched in the same box."""
        if self._detector is None:
            return
        height, width = pair.truth_bytes.shape[:2]
        box = person_box(pair, (width, height))
        ours, theirs = (self._detector(frame, box) for frame in (pair.result_bytes, pair.truth_bytes))
        distances = np.linalg.norm(ours.points - theirs.points, axis=1) * SIDE / max(width, height)
        true = theirs.scores >= _SURE
        both = true & (ours.scores >= _SURE)
        for part, span in PARTS.items():
            found = distances[span][both[span]]
            self._sums[part] += float(found.sum())
            self._both[part] += len(found)
            self._true[part] += int(true[span].sum())
            self._distances[part].append(float(found.mean()) if len(found) else math.nan)

    def measurements(self) -> list[Measurement]:
        """LMD of face, body, hands."""
        return [one for part in PARTS for one in self._part(part)]

    def _part(self, part: str) -> list[Measurement]:
        if self._detector is None:
            return left_out("no weights given (--landmarks FILE)", f"lmd_{part}")
        if not self._both[part]:
            return left_out("the detector finds none in both clips", f"lmd_{part}")
        share = f"{100 * self._both[part] / self._true[part]:.0f} % of the true points found"
        note = "; ".join(filter(None, (share, self._note)))
        return [Measurement(f"lmd_{part}", self._sums[part] / self._both[part], note)]

    def curves(self) -> dict[str, Curve]:
        """The mean distance in each frame."""
        if not any(self._both.values()):
            return {}
        return {"landmarks": Curve("Distance of landmarks", f"px of {SIDE}", dict(self._distances))}


def load_dwpose(path: Path, device: str = "cpu") -> tuple[Detector, str]:
    """The detector of an ONNX file, and a note where the file is not the published one.

    Raises AnchorError where onnxruntime is missing or the file is another network.
    """
    try:
        import onnxruntime
    except ImportError:
        raise AnchorError(
            "landmarks need the package onnxruntime: install it with: pip install onnxruntime"
        ) from None
    if not path.is_file():
        raise AnchorError(f"There is no file {path}: check the name and the folder.")
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    known = [one for one in [*wanted, "CPUExecutionProvider"] if one in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), providers=known)
        shape = session.get_inputs()[0].shape
    except Exception as error:  # what a damaged file raises is up to the library
        raise AnchorError(
            f"{path.name} is not a readable ONNX file ({str(error).splitlines()[0][:120]}):"
            " give dw-ll_ucoco_384.onnx of DWPose"
        ) from None
    if list(shape[1:]) != [3, _INPUT[1], _INPUT[0]] or len(session.get_outputs()) != 2:
        raise AnchorError(
            f"{path.name} takes {shape}, DWPose takes [1, 3, 384, 288]: give dw-ll_ucoco_384.onnx"
        )
    return DWPose(session), DWPOSE.note(path)


class DWPose:
    """A session of onnxruntime, or what behaves as one, as a Detector."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def __call__(self, frame: np.ndarray, box: Box) -> Landmarks:
        """The landmarks of the person in the box."""
        from PIL import Image

        left, top, scale = _placed(box)
        transform = (scale, 0, left, 0, scale, top)
        crop = Image.fromarray(frame).transform(
            _INPUT, Image.Transform.AFFINE, transform, Image.Resampling.BILINEAR
        )
        picture = (np.asarray(crop, np.float32) - _MEAN) / _DEVIATION
        columns, rows = self._session.run(None, {self._input: picture.transpose(2, 0, 1)[None]})
        points, scores = decode_simcc(np.asarray(columns)[0], np.asarray(rows)[0])
        return Landmarks(points * scale + (left, top), scores)


def decode_simcc(columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of places along x (K, 288 * 2) and y (K, 384 * 2) to points (K, 2) in pixels and scores (K,)."""
    points = np.stack([columns.argmax(1), rows.argmax(1)], axis=1) / _SPLIT
    return points, np.minimum(columns.max(1), rows.max(1))


def person_box(pair: Pair, size: tuple[int, int]) -> Box:
    """The box of the mesh, or the whole frame (width, height) where there is none."""
    if pair.person is None or not bool(pair.person.any()):
        return 0.0, 0.0, float(size[0]), float(size[1])
    columns, rows = (pair.person.any(dim).nonzero()[:, 0] for dim in (0, 1))
    return float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1


def _placed(box: Box) -> tuple[float, float, float]:
    """Left, top and pixels per pixel of the network's picture, which holds the box with its margin."""
    left, top, right, bottom = box
    scale = _MARGIN * max((right - left) / _INPUT[0], (bottom - top) / _INPUT[1])
    return (left + right - scale * _INPUT[0]) / 2, (top + bottom - scale * _INPUT[1]) / 2, scale
