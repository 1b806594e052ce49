"""Films the held-out clips with the networks of a row, and measures the result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...anchor.file import Anchor
from ...anchor.use import appearance_tokens, noise_schedule, sampler_settings
from ...face.codec import codec_of
from ...face.passes import face_of, inpaint_faces
from ...face.track import FaceTrack
from ...files import atomic_path
from ...progress import Progress, StepFactory
from ...render.mesh import to_bytes
from ...sgdm.vae import decode_frames, encode_frames
from ...video.sheet import choose_frames, save_sheet
from ..faces import track_faces, true_faces
from ..held_out import HeldOutClip, film
from ..metrics import acceleration_ratio, flicker, psnr, ssim
from ..tables import plain
from .points import PointDetector, distances, find_points, true_points
from .rows import MethodRow
from .runs import body_anchor, face_anchor
from .scale import MethodScale
from .world import clip_names, held_out_clip

RESULTS, SHEETS = "rows", "sheets"
CEILING, MESH, TRUTH = "ceiling", "mesh", "truth"
_SHOWN = 6  # frames of a clip on its contact sheet


@dataclass(frozen=True)
class ClipResult:
    """What one row scores on one clip; see `metrics` for the units, landmark distances are pixels."""

    psnr: float
    ssim: float
    psnr_face: float
    flicker: float
    acceleration: float
    lmd_face: float
    lmd_body: float
    lmd_hands: float


@dataclass(frozen=True, eq=False)
class Scene:
    """A held-out clip and what all rows share of it.

    track: the faces of the estimated motion, which are painted; face: (F, H, W) bool, where a face truly is.
    found, known: (F, 106, 2) points that the detector finds in the true frames, and where they truly are.
    """

    clip: HeldOutClip
    truth: Tensor
    track: FaceTrack
    face: Tensor
    found: Tensor
    known: Tensor


@dataclass(frozen=True)
class Bench:
    """Everything that measuring needs."""

    out: Path
    scale: MethodScale
    seed: int
    detector: PointDetector
    step: StepFactory

    def measure_clip(self, rows: Sequence[MethodRow], person: int, number: int) -> None:
        """Write the result of every row on a clip, and its contact sheet; what is there, stays."""
        scenes = {jitter: self.scene(person, number, jitter) for jitter in {1.0, *(r.jitter for r in rows)}}
        self.write_floor(scenes[1.0], person, number)
        for row in self.missing(rows, person, number):
            with self.step(f"{row.key}, person {person}, clip {number}", " windows") as bar:
                frames = self.film_row(row, scenes[row.jitter], person, bar)
                self.write(row.key, person, number, scenes[row.jitter], frames)
        self.draw(self.out / SHEETS / f"{person}_{number}.png", rows, scenes[1.0], person, number)

    def missing(self, rows: Sequence[MethodRow], person: int, number: int) -> list[MethodRow]:
        """The rows that have no result on a clip yet."""
        return [row for row in rows if not self.result_path(row.key, person, number).is_file()]

    def scene(self, person: int, number: int, jitter: float) -> Scene:
        """A clip with its faces and points, driven by an estimate of some jitter."""
        clip = held_out_clip(self.out, self.scale, person, number, jitter)
        anchor = face_anchor(self.out, self.scale, self.seed, person)
        face, _ = true_faces(anchor, clip)
        truth = clip.truth.float() / 255
        found = find_points(self.detector, truth, self.scale.device)
        known = true_points(clip.motion, self.scale.size)
        return Scene(clip, truth, track_faces(anchor, clip.estimate), face, found, known)

    def film_row(self, row: MethodRow, scene: Scene, person: int, progress: Progress) -> Tensor:
        """Frames (F, H, W, 3) in [0, 1] of a row."""
        anchor = body_anchor(self.out, self.scale, self.seed, row.run, person)
        assert anchor.body is not None  # `body_anchor` has one
        settings = sampler_settings(anchor.card, **row.settings)
        frames = film(anchor, anchor.body, scene.clip.mesh, settings, progress)
        if row.face == "none":
            return frames
        face = face_anchor(self.out, self.scale, self.seed, person, pretrained=row.face == "pretrained")
        return with_faces(face, frames, scene.track, row.settings)

    def write_floor(self, scene: Scene, person: int, number: int) -> None:
        """The true frames through the VAE, and the detector's own error."""
        if self.result_path(CEILING, person, number).is_file():
            return
        vae = face_anchor(self.out, self.scale, self.seed, person).vae
        self.write(CEILING, person, number, scene, decode_frames(vae, encode_frames(vae, scene.clip.truth)))
        floor = distances(scene.found, scene.known, scene.known, self.scale.size)
        _write(self.result_path("detector", person, number), floor)

    def write(self, key: str, person: int, number: int, scene: Scene, frames: Tensor) -> None:
        """Measure frames; keep the numbers, and the frames of the contact sheet."""
        shown = choose_frames(len(frames), _SHOWN)
        path = self.result_path(key, person, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path.with_suffix(".npy")) as partial:
            np.save(partial, to_bytes(frames[shown]))
        _write(path, plain(self.score(frames, scene)))

    def score(self, frames: Tensor, scene: Scene) -> ClipResult:
        """All metrics of a result."""
        found = find_points(self.detector, frames, self.scale.device)
        return ClipResult(
            psnr=psnr(frames, scene.truth),
            ssim=ssim(frames, scene.truth),
            psnr_face=psnr(frames, scene.truth, scene.face),
            flicker=flicker(frames, scene.truth),
            acceleration=acceleration_ratio(frames, scene.truth),
            **distances(found, scene.found, scene.known, self.scale.size),
        )

    def result_path(self, key: str, person: int, number: int) -> Path:
        """File of a row's result on a clip."""
        return self.out / RESULTS / f"{key}_{person}_{number}.json"

    def draw(self, path: Path, rows: Sequence[MethodRow], scene: Scene, person: int, number: int) -> None:
        """The contact sheet of a clip: mesh, truth, VAE, and every row."""
        shown = choose_frames(len(scene.truth), _SHOWN)
        pictures = {"mesh": scene.clip.mesh[shown].numpy(), "truth": scene.clip.truth[shown].numpy()}
        names = {CEILING: "VAE ceiling", **{row.key: row.name for row in rows}}
        for key, name in names.items():
            pictures[name] = np.load(self.result_path(key, person, number).with_suffix(".npy"))
        save_sheet(path, pictures, n_columns=_SHOWN, tile_width=2 * self.scale.size)


def with_faces(anchor: Anchor, frames: Tensor, track: FaceTrack, settings: dict[str, Any]) -> Tensor:
    """The face pass on frames of the body pass; the row's windows and noise hold for it too."""
    tokens, null = appearance_tokens(anchor, stage="face")
    take = inpaint_faces(
        face_of(anchor),
        codec_of(anchor.vae),
        frames,
        track,
        sampler_settings(anchor.card, "face", **settings),
        noise_schedule(anchor.card),
        appearance=tokens,
        null=null,
    )
    return take.frames


def read_results(out: Path, key: str, scale: MethodScale) -> list[dict[str, float]]:
    """The numbers of a row, clip by clip."""
    return list(_read_results(out, key, scale))


def _read_results(out: Path, key: str, scale: MethodScale) -> Iterator[dict[str, float]]:
    for person, number in clip_names(scale):
        path = out / RESULTS / f"{key}_{person}_{number}.json"
        yield json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, numbers: dict[str, Any]) -> None:
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(numbers), encoding="utf-8")
