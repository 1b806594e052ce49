"""The face half of the benchmark: one body pass, and the face pass of each experiment on its frames.

Faces are tracked from the jittering estimate, as they are when a video is made. They are measured where they
truly are: on the mesh of the motion that was filmed, whatever an experiment tracks, masks or blends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..anchor.file import Anchor
from ..anchor.use import appearance_tokens, face_card, noise_schedule, sampler_settings
from ..body.model import standin_body
from ..errors import AnchorError
from ..face.blend import BlendOptions, blend_faces
from ..face.codec import codec_of
from ..face.inpaint import crops_of, face_conditioning
from ..face.passes import face_of, paste_faces
from ..face.stream import PassOptions
from ..face.track import FaceTrack, TrackOptions, track_motion
from ..face.warp import warp_from_crops
from ..motion.camera import default_camera
from ..motion.motion import Motion
from ..progress import Progress, StepFactory, count_windows
from ..sampling.sampler import sample
from .face_experiments import ANCHORS_OWN, FaceExperiment
from .held_out import HeldOutClip, film
from .metrics import flicker, psnr, rim_gradient, ssim_around
from .tables import Columns

SKIN = 0.3
"""`forehead` of the measured face: it ends below the hair of the demo presenter. That swings by itself, so
where its edge lies is chance, and of more weight than all that an experiment changes."""

FACE_COLUMNS: Columns = (
    ("PSNR of the face dB", 2),
    ("of the square", 2),
    ("of the frame", 2),
    ("SSIM of the face", 4),
    ("flicker of the face", 2),
    ("of the frame", 2),
    ("rim excess", 2),
    ("rim error", 2),
    ("CPU s", 1),
)


@dataclass(frozen=True)
class FaceRow:
    """One line of the table; see `metrics` for the units.

    psnr_face, flicker_face: on the pixels of the face; psnr_square: in the square of its aligned crop;
    ssim_face: in the box around the face. rim: gradient across the rim of what was blended in, less that of
    the true frames there; rim_error: that of the error, 0 where all edges are the true ones. seconds: of
    tracking, sampling and blending.
    """

    name: str
    psnr_face: float
    psnr_square: float
    psnr: float
    ssim_face: float
    flicker_face: float
    flicker: float
    rim: float
    rim_error: float
    seconds: float


@dataclass(frozen=True, eq=False)
class FaceScene:
    """What all experiments share.

    truth, body: (F, H, W, 3) float in [0, 1], the filmed frames and those of the body pass. estimate: the
    motion that faces are tracked from. face, square: (F, H, W) bool, the visible face and its aligned crop.
    """

    anchor: Anchor
    truth: Tensor
    body: Tensor
    estimate: Motion
    face: Tensor
    square: Tensor


def film_scene(anchor: Anchor, clip: HeldOutClip, step: StepFactory) -> FaceScene:
    """Run the body pass with the anchor's settings, and find where the faces truly are.

    Raises AnchorError for an anchor without a body, and where the clip shows no face.
    """
    if anchor.body is None:
        raise AnchorError(
            "the anchor has no body network and the face pass needs frames of one; choose another anchor"
        )
    with step("body pass", " windows") as bar:
        body = film(anchor, anchor.body, clip.mesh, sampler_settings(anchor.card), bar)
    face, square = true_faces(anchor, clip)
    return FaceScene(anchor, clip.truth.float() / 255, body, clip.estimate, face, square)


def true_faces(anchor: Anchor, clip: HeldOutClip) -> tuple[Tensor, Tensor]:
    """Pixels (F, H, W) bool of the visible faces, as the true mesh shows them, and of their aligned crops."""
    track = track_faces(anchor, clip.motion, smoothing=0.0, dilation=0.0, forehead=SKIN)
    if len(track.visible) == 0:
        raise AnchorError(
            f"the {len(track)} held-out frames of {track.frame_size[0]} pixels show no face to measure "
            f"({track.hidden[0]}); choose an anchor of a larger resolution"
        )
    mask = track.painted()
    crops = torch.stack([mask, torch.ones_like(mask)], dim=-1)
    face, square = (warp_from_crops(crops, track.crop_matrices, track.frame_size) >= 0.5).unbind(-1)
    hidden = torch.tensor([bool(why) for why in track.hidden])
    square[hidden] = False
    return face, square


def track_faces(anchor: Anchor, motion: Motion, **options: Any) -> FaceTrack:
    """The faces of a motion of the demo world, with the options of the anchor's card but for those given."""
    card = face_card(anchor.card)
    size = (anchor.card.resolution[0],) * 2
    wanted = TrackOptions(**{"forehead": card.forehead, "dilation": card.dilation, **options})
    return track_motion(
        motion, standin_body(), default_camera(*size), crop_size=card.crop_size, options=wanted
    )


def measure_faces(
    scene: FaceScene, experiments: Sequence[FaceExperiment], step: StepFactory
) -> list[FaceRow]:
    """A row per experiment. Raises AnchorError for an anchor without a face network."""
    bench = _Bench(scene)
    rows = []
    for experiment in experiments:
        with step(experiment.name, " windows") as bar:
            rows.append(bench.measure(experiment, bar))
    return rows


def compare_faces(name: str, frames: Tensor, scene: FaceScene, alpha: Tensor, seconds: float) -> FaceRow:
    """All metrics of a result; alpha: (F, H, W), how much of the new face each pixel shows."""
    truth = scene.truth
    return FaceRow(
        name,
        psnr_face=psnr(frames, truth, scene.face),
        psnr_square=psnr(frames, truth, scene.square),
        psnr=psnr(frames, truth),
        ssim_face=ssim_around(frames, truth, scene.face),
        flicker_face=flicker(frames, truth, scene.face),
        flicker=flicker(frames, truth),
        rim=rim_gradient(frames, alpha) - rim_gradient(truth, alpha),
        rim_error=rim_gradient(frames - truth, alpha),
        seconds=seconds,
    )


def blended_alpha(track: FaceTrack, options: BlendOptions | None = None) -> Tensor:
    """How much of the new face each pixel of the frames shows, (F, H, W): white faces blended into black."""
    width, height = track.frame_size
    return blend_faces(
        torch.zeros(len(track), height, width, 3),
        torch.ones(*track.mask.shape, 3),
        None,
        track.painted(),
        track.crop_matrices,
        weight=track.weights,
        options=replace(options or BlendOptions(), color_match=False),
    )[..., 0]


class _Bench:
    """Runs experiments on one scene; what two of them share is made once and counted in both times."""

    def __init__(self, scene: FaceScene) -> None:
        self._scene, self._network = scene, face_of(scene.anchor)
        self._tokens = appearance_tokens(scene.anchor, stage="face")
        self._made: dict[Hashable, tuple[Any, float]] = {}

    def measure(self, experiment: FaceExperiment, progress: Progress | None = None) -> FaceRow:
        """One row: paint the faces as the experiment says and compare with the truth."""
        scene = self._scene
        if experiment.source == "none":  # its rim is that of the anchor's own blend, to compare with
            track, _ = self._track(ANCHORS_OWN)
            return compare_faces(experiment.name, scene.body, scene, blended_alpha(track), 0.0)
        track, tracking = self._track(experiment)
        latents, sampling = self._latents(experiment, track, progress)
        options = PassOptions(BlendOptions(**experiment.blend))
        started = time.process_time()
        codec = codec_of(scene.anchor.vae, experiment.posterior)
        take = paste_faces(codec, latents, self._frames(experiment), track, options)
        seconds = tracking + sampling + time.process_time() - started
        return compare_faces(
            experiment.name, take.frames, scene, blended_alpha(track, options.blend), seconds
        )

    def _track(self, experiment: FaceExperiment) -> tuple[FaceTrack, float]:
        scene = self._scene
        return self._once(
            _key("track", experiment.track),
            lambda: track_faces(scene.anchor, scene.estimate, **experiment.track),
        )

    def _latents(
        self, experiment: FaceExperiment, track: FaceTrack, progress: Progress | None
    ) -> tuple[Tensor, float]:
        """Clean latents (N, C, h, w) of the visible faces, from the network or from the true frames."""
        scene, card = self._scene, self._scene.anchor.card
        codec = codec_of(scene.anchor.vae, experiment.posterior)
        settings = sampler_settings(card, "face", **experiment.settings)

        def encode() -> Tensor:
            crops = crops_of(scene.truth, track, track.visible)
            return torch.cat([codec.encode(part, 0) for part in crops.split(PassOptions().chunk)])

        def paint() -> Tensor:
            conditioning = face_conditioning(codec, self._frames(experiment), track, *self._tokens)
            schedule, report = noise_schedule(card), count_windows(progress)
            return sample(self._network, conditioning, settings, schedule, callback=report)

        key = _key("latents", experiment.track, experiment.posterior, experiment.source, settings)
        return self._once((*key, experiment.surroundings), encode if experiment.source == "vae" else paint)

    def _frames(self, experiment: FaceExperiment) -> Tensor:
        return self._scene.body if experiment.surroundings == "body" else self._scene.truth

    def _once(self, key: Hashable, make: Callable[[], Any]) -> tuple[Any, float]:
        """What `make` gives, and the seconds that it took when it was asked for first."""
        if key not in self._made:
            started = time.process_time()
            value = make()
            self._made[key] = value, time.process_time() - started
        return self._made[key]


def _key(*parts: Any) -> tuple[Hashable, ...]:
    """Parts of an experiment as the key of what they make; dictionaries count by their entries."""
    return tuple(tuple(sorted(part.items())) if isinstance(part, dict) else part for part in parts)
