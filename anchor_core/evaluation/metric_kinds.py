"""The metrics of `evaluate`: name, unit, which way is good, and what each says, in the order of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "nearer to 1", "nearer to 0"]


@dataclass(frozen=True)
class MetricKind:
    """meaning: one sentence for people. digits: decimals that are shown."""

    name: str
    unit: str
    better: Better
    meaning: str
    digits: int = 2


METRIC_KINDS: dict[str, MetricKind] = {
    "psnr": MetricKind(
        "PSNR", "dB", "higher", "Peak signal-to-noise ratio of all pixels of all frames together."
    ),
    "psnr_person": MetricKind("PSNR on the person", "dB", "higher", "The same on the pixels of the mesh."),
    "ssim": MetricKind(
        "SSIM", "", "higher", "Structural similarity, mean over frames; 1 for equal frames.", digits=4
    ),
    "lpips": MetricKind(
        "LPIPS", "", "lower", "Learned perceptual distance, mean over frames; 0 for equal frames.", digits=4
    ),
    "fid": MetricKind(
        "FID", "", "lower", "Fréchet distance of the Inception features of all frames; 0 for equal clips."
    ),
    "fvd": MetricKind(
        "FVD", "", "lower", "Fréchet distance of the I3D features of clips of 16 frames; 0 for equal clips."
    ),
    "lmd_face": MetricKind(
        "LMD face", "px", "lower", "Mean distance of the face's landmarks, in pixels of a frame of 512."
    ),
    "lmd_body": MetricKind("LMD body", "px", "lower", "The same of the body's joints."),
    "lmd_hands": MetricKind("LMD hands", "px", "lower", "The same of the joints of both hands."),
    "flicker": MetricKind(
        "flicker",
        "levels",
        "lower",
        "Mean change from frame to frame that the truth lacks, in 8-bit levels.",
    ),
    "seams": MetricKind(
        "seam index", "", "nearer to 1", "Flicker where the windows change over flicker around.", digits=3
    ),
    "acceleration": MetricKind(
        "acceleration",
        "",
        "nearer to 1",
        "Mean second difference in time over that of the truth: above 1 jitters, below smears.",
        digits=3,
    ),
    "colour_offset": MetricKind(
        "colour offset", "levels", "nearer to 0", "Mean error of the channel that is off by most: a tint."
    ),
    "colour_drift": MetricKind(
        "colour drift",
        "levels/min",
        "nearer to 0",
        "Slope of the mean error of the channel that drifts most, by least squares, ± standard error.",
    ),
    "face_jitter": MetricKind(
        "face steadiness",
        "px",
        "lower",
        "How far the face jumps from frame to frame against the true one, root mean square.",
        digits=3,
    ),
    "face_offset": MetricKind(
        "face offset", "px", "lower", "Mean distance of the face from the true one.", digits=3
    ),
}
