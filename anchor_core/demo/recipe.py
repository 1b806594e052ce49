"""Builds the demo anchor from nothing: film synthetic people, train, fold everything into one file.

    python -m anchor_core train-demo --out out/demo --seed 0

The two stages of the paper (section 4.1) in small, about three CPU hours in all:

    film        people (ten persons), person (a minute of one), takes and faces (more of it, in short takes)
    vae         an autoencoder from nothing, on people and person
    decoder     its decoder alone once more, on the person
    pretrain    SGDM and vision tower together, on many people
    finetune    SGDM alone, on the person
    broaden     SGDM alone, on the minute and the takes
    crops       aligned faces of person and faces, in frames that the body pass made
    refine      the VAE on the crops too, with its latents of frames held where they are
    face        the face network, from nothing, on the minute; then (face_broaden) on the faces too
    anchor      one .safetensors with networks, VAE, tower, reference picture and card
    report      its result on motion that no stage has seen

Every stage is skipped when its result is there, and goes on where it was stopped otherwise. Random
numbers are fixed by the seed; kernels differ between machines, so expect a result as good, not the same
bits.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..anchor.card import AnchorCard
from ..anchor.face_card import FaceCard
from ..anchor.file import Anchor, save_anchor
from ..anchor.use import appearance_tokens, noise_schedule, sampler_settings, schedule_fields
from ..body.model import standin_body
from ..files import atomic_path
from ..motion.camera import default_camera
from ..motion.ranges import MotionRanges, measure_ranges
from ..progress import StepFactory, silent_step
from ..sampling.sampler import sample_latents
from ..sampling.schedulers import ZERO_TERMINAL_SNR
from ..sgdm.network import SGDM
from ..sgdm.vae import decode_frames
from ..training.config import SGDMConfig, VAEConfig
from ..training.data import Pictures, TrainingSet, join_sets, load_pictures, prepare
from ..training.decoder import train_decoder
from ..training.refine import refine_vae
from ..training.trainer import train_sgdm
from ..training.vae import train_vae
from .dataset import MANIFEST, DatasetSettings, clip_motion, plan_clips, write_dataset
from .faces import FOLDER as FACE_FOLDER
from .faces import BodyPass, write_faces
from .identity import make_identity
from .networks import new_face_sgdm, new_sgdm, new_vae, new_vision

log = logging.getLogger("anchor")


FPS = 25.0
CLIP_FRAMES = 60
"""Each clip has a posture of its own: short clips show many."""
TAKE_FRAMES = 25
TAKES_SEED = 100_000
"""One minute shows 25 postures, too few: 30 dB on its own frames and 25 dB on new motion. Hence the takes."""
FACES_SEED = 200_000
"""Takes that the body network has not seen: what it makes of them is as soft as with any new motion."""
CROP_SIZE = 128
"""Side of the aligned face, pixels: 2.4 times as large as it is in the frame."""
BODY_STEPS = 4
"""Of the body pass behind the crops; as near to the truth as ten, and faster."""
ANCHOR_NAME = "demo_anchor.safetensors"
REPORT_NAME = "report.json"
PEOPLE, PERSON, TAKES, FACES = "people", "person", "takes", "faces"


@dataclass(frozen=True)
class Scale:
    """How much of everything. size: side of the pictures, pixels; frames are counted per person."""

    size: int
    people: int
    people_frames: int
    person_frames: int
    takes_frames: int
    faces_frames: int
    test_frames: int
    vae: VAEConfig
    decoder: VAEConfig
    pretrain: SGDMConfig
    finetune: SGDMConfig
    broaden: SGDMConfig
    refine: VAEConfig
    face: SGDMConfig
    face_broaden: SGDMConfig
    crop_size: int = CROP_SIZE
    workers: int = 2


FULL = Scale(
    size=192,
    people=10,
    people_frames=100,
    person_frames=1500,  # one minute
    takes_frames=3000,
    faces_frames=2400,
    test_frames=48,
    vae=VAEConfig(steps=2800),
    decoder=VAEConfig(steps=2000, batch_size=32, learning_rate=1e-3),
    pretrain=SGDMConfig(steps=800, train_vision=True),
    finetune=SGDMConfig(steps=2600),
    broaden=SGDMConfig(steps=2400),
    refine=VAEConfig(steps=700, batch_size=4, learning_rate=1e-3),
    face=SGDMConfig(steps=800),
    face_broaden=SGDMConfig(steps=3800),
)
QUICK = Scale(
    size=128,  # smaller faces would be left out
    people=3,
    people_frames=8,
    person_frames=32,
    takes_frames=30,
    faces_frames=30,
    test_frames=8,
    vae=VAEConfig(steps=40, crop_size=32),
    decoder=VAEConfig(steps=20, crop_size=32),
    pretrain=SGDMConfig(steps=20, train_vision=True),
    finetune=SGDMConfig(steps=40),
    broaden=SGDMConfig(steps=20),
    refine=VAEConfig(steps=20, batch_size=4, learning_rate=1e-3),
    face=SGDMConfig(steps=20),
    face_broaden=SGDMConfig(steps=20),
    crop_size=32,
)


def train_demo_anchor(
    out: Path,
    seed: int = 0,
    *,
    quick: bool = False,
    scale: Scale | None = None,
    step: StepFactory | None = None,
) -> Path:
    """Run or finish the whole recipe in `out`; returns the path of the anchor file.

    quick: a minute instead of an hour, to see that everything works. step(name, unit): progress bars. What
    the anchor is worth on held-out motion is logged, and written to report.json.
    """
    recipe = Recipe(Path(out), seed, scale or (QUICK if quick else FULL), step or silent_step)
    path = recipe.out / ANCHOR_NAME
    if not path.is_file():
        recipe.film()
        save_anchor(recipe.train(), path)
    if not (recipe.out / REPORT_NAME).is_file():
        recipe.report(path)
    return path


@dataclass(frozen=True)
class Recipe:
    """The stages; each reads what the one before has left in `out`."""

    out: Path
    seed: int
    scale: Scale
    step: StepFactory

    def film(self) -> None:
        """Film people 1, 2, ... together, then the anchor, person 0."""
        scale = self.scale
        everybody = range(1, scale.people + 1)
        whole, short = film_settings(scale)
        self._film(PEOPLE, everybody, scale.people * scale.people_frames, self.seed, whole)
        self._film(PERSON, (0,), scale.person_frames, self.seed, whole)
        self._film(TAKES, (0,), scale.takes_frames, self.seed + TAKES_SEED, short)
        self._film(FACES, (0,), scale.faces_frames, self.seed + FACES_SEED, short)

    def _film(
        self, name: str, identities: Sequence[int], n_frames: int, seed: int, settings: DatasetSettings
    ) -> None:
        if (self.out / name / MANIFEST).is_file():
            return
        with self.step(f"filming {name}", " frames") as bar:
            write_dataset(self.out / name, identities, n_frames, seed=seed, settings=settings, progress=bar)

    def train(self) -> Anchor:
        """All stages after filming."""
        people, person = (load_pictures(self.out / name / MANIFEST) for name in (PEOPLE, PERSON))
        vae, vision, sgdm = new_vae(self.seed), new_vision(self.seed + 1), new_sgdm(self.seed + 2)
        scale, seed = self.scale, self.seed
        with self.step("training the VAE", " steps") as bar:
            train_vae(vae, [people, person], replace(scale.vae, seed=seed), self.out / "vae", bar)
        with self.step("training the decoder", " steps") as bar:
            train_decoder(vae, [person], replace(scale.decoder, seed=seed), self.out / "decoder", bar)
        self.denoise("pretrain", sgdm, vision, prepare(people, vae, vision, train_vision=True))
        one = prepare(person, vae, vision, train_vision=False)
        self.denoise("finetune", sgdm, vision, one)
        takes = prepare(load_pictures(self.out / TAKES / MANIFEST), vae, vision, train_vision=False)
        self.denoise("broaden", sgdm, vision, join_sets([one, takes]))
        null = torch.zeros(1, *one.reference.shape[1:])
        networks = {"body": sgdm, "vae": vae, "vision": vision}
        picture = torch.from_numpy(person.reference[0])
        anchor = Anchor(demo_card(scale, seed), **networks, null_appearance=null, reference=picture)
        return self.with_face(anchor, person)

    def with_face(self, anchor: Anchor, person: Pictures) -> Anchor:
        """The anchor with a face network, trained in frames that its own body network made."""
        crops = [load_pictures(self.cut_faces(name, anchor)) for name in (PERSON, FACES)]
        with self.step("training the VAE on faces", " steps") as bar:
            config = replace(self.scale.refine, seed=self.seed)
            refine_vae(anchor.vae, person, crops, config, self.out / "refine", bar)
        one, more = (prepare(part, anchor.vae, anchor.vision, train_vision=False) for part in crops)
        face = new_face_sgdm(self.seed + 3)
        self.denoise("face", face, anchor.vision, one)
        self.denoise("face_broaden", face, anchor.vision, join_sets([one, more]))
        return replace(anchor, face=face, face_reference=torch.from_numpy(crops[0].reference[0]))

    def cut_faces(self, name: str, anchor: Anchor) -> Path:
        """The aligned faces of a filmed folder; returns their manifest."""
        manifest = self.out / name / FACE_FOLDER / MANIFEST
        if not manifest.is_file():
            with self.step(f"cutting {name}", " frames") as bar:
                write_faces(self.out / name, self.scale.crop_size, body_pass(anchor), bar)
        return manifest

    def denoise(self, stage: str, sgdm: SGDM, vision: Any, data: TrainingSet) -> None:
        """Train an SGDM for one stage of the scale: `pretrain`, `finetune`, ..., `face_broaden`."""
        config: SGDMConfig = replace(getattr(self.scale, stage), seed=self.seed)
        with self.step(stage, " steps") as bar:
            train_sgdm(sgdm, vision, data, ZERO_TERMINAL_SNR, config, self.out / stage, bar)

    def report(self, path: Path) -> None:
        """Measure the finished file on held-out motion: the body with clean and with jittering meshes, and
        the face with and without its pass."""
        from ..evaluation.benchmark import face_rows, held_out_rows
        from ..evaluation.tables import plain

        body = held_out_rows(path, self.scale.test_frames, self.step)
        face = face_rows(path, self.scale.test_frames, self.step)
        for row in body:
            log.info("%s: %.2f dB, SSIM %.3f, flicker %.2f", row.name, row.psnr, row.ssim, row.flicker)
        for line in face:
            log.info("face %s: %.2f dB, flicker %.2f", line.name, line.psnr_face, line.flicker_face)
        rows = {"body": [plain(row) for row in body], "face": [plain(line) for line in face]}
        with atomic_path(self.out / REPORT_NAME) as partial:
            partial.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def body_pass(anchor: Anchor) -> BodyPass:
    """The body pass of an anchor in few steps, on mesh frames of one clip."""
    tokens, null = appearance_tokens(anchor)
    settings = sampler_settings(anchor.card, steps=BODY_STEPS, overlap=0)

    def render(mesh: torch.Tensor) -> torch.Tensor:
        assert anchor.body is not None  # it was trained in the stages before
        schedule = noise_schedule(anchor.card)
        return decode_frames(anchor.vae, sample_latents(anchor.body, mesh, tokens, null, settings, schedule))

    return render


def film_settings(scale: Scale) -> tuple[DatasetSettings, DatasetSettings]:
    """Of people and the person's minute, and of the takes."""
    whole = DatasetSettings(scale.size, FPS, clip_frames=CLIP_FRAMES, workers=scale.workers)
    return whole, replace(whole, fps=FPS / 2, clip_frames=TAKE_FRAMES)


def training_ranges(scale: Scale, seed: int) -> MotionRanges:
    """What the body network sees of the person: the motion of the minute and of the takes."""
    whole, short = film_settings(scale)
    films = ((scale.person_frames, seed, whole), (scale.takes_frames, seed + TAKES_SEED, short))
    motions = [
        clip_motion(clip, settings)[0]
        for n_frames, first, settings in films
        for clip in plan_clips((0,), n_frames, settings.clip_frames, first)
    ]
    return measure_ranges(motions, standin_body(), default_camera(scale.size, scale.size))


def demo_card(scale: Scale, seed: int) -> AnchorCard:
    """What stands on the card: everything that sampling and placing a motion needs."""
    return AnchorCard(
        name="Demo presenter",
        stage="finetuned",
        base="none: trained from nothing on the synthetic people of this pack",
        resolution=(scale.size, scale.size),
        camera=default_camera(scale.size, scale.size).to_dict(),
        betas=make_identity(0).betas,
        ranges=training_ranges(scale, seed),
        fps=FPS,
        training_steps=scale.pretrain.steps + scale.finetune.steps + scale.broaden.steps,
        seed=seed,
        **schedule_fields(ZERO_TERMINAL_SNR),
        scheduler="ddim",
        guidance_scale=1.0,  # guidance gains nothing where one person was learned, and doubles the time
        condition_scale=1.0,  # the scale of training
        steps=10,
        window_size=16,
        overlap=4,
        fidelity="trained",
        null_appearance="stored",
        face=FaceCard(
            crop_size=scale.crop_size,
            guidance_scale=1.0,
            steps=3,  # nearer to the truth than 10, steadier, and faster
            training_steps=scale.face.steps + scale.face_broaden.steps,
            mesh="drawn",
        ),
        licence="CC0 1.0",
        consent="nobody's likeness: a synthetic person on the CC0 body of MakeHuman",
        made_with=f"anchor_core {__version__}: python -m anchor_core train-demo --seed {seed}",
    )
