"""Builds the demo anchor from nothing: film synthetic people, train, fold everything into one file.

    python -m anchor_core train-demo --out out/demo --seed 0

The two stages of the paper (section 4.1) in small, about 80 CPU minutes in all:

    film        people (ten persons), person (a minute of one), takes (four more, in short takes)
    vae         an autoencoder from nothing, on people and person
    decoder     its decoder alone once more, on the person
    pretrain    SGDM and vision tower together, on many people
    finetune    SGDM alone, on the person
    broaden     SGDM alone, on the minute and the takes
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
from ..anchor.file import Anchor, save_anchor
from ..files import atomic_path
from ..motion.camera import default_camera
from ..progress import StepFactory, silent_step
from ..sampling.schedulers import ZERO_TERMINAL_SNR
from ..sgdm.network import SGDM
from ..training.config import SGDMConfig, VAEConfig
from ..training.data import TrainingSet, join_sets, load_pictures, prepare
from ..training.decoder import train_decoder
from ..training.trainer import train_sgdm
from ..training.vae import train_vae
from .dataset import MANIFEST, DatasetSettings, write_dataset
from .identity import make_identity
from .networks import new_sgdm, new_vae, new_vision

log = logging.getLogger("anchor")


FPS = 25.0
CLIP_FRAMES = 60
"""Each clip has a posture of its own: short clips show many."""
TAKE_FRAMES = 25
TAKES_SEED = 100_000
"""One minute shows 25 postures, too few: 30 dB on its own frames and 25 dB on new motion. Hence the takes."""
ANCHOR_NAME = "demo_anchor.safetensors"
REPORT_NAME = "report.json"
PEOPLE, PERSON, TAKES = "people", "person", "takes"


@dataclass(frozen=True)
class Scale:
    """How much of everything. size: side of the pictures, pixels; frames are counted per person."""

    size: int
    people: int
    people_frames: int
    person_frames: int
    takes_frames: int
    test_frames: int
    vae: VAEConfig
    decoder: VAEConfig
    pretrain: SGDMConfig
    finetune: SGDMConfig
    broaden: SGDMConfig
    workers: int = 2


FULL = Scale(
    size=192,
    people=10,
    people_frames=100,
    person_frames=1500,  # one minute
    takes_frames=3000,
    test_frames=48,
    vae=VAEConfig(steps=2800),
    decoder=VAEConfig(steps=2000, batch_size=32, learning_rate=1e-3),
    pretrain=SGDMConfig(steps=800, train_vision=True),
    finetune=SGDMConfig(steps=2600),
    broaden=SGDMConfig(steps=2400),
)
QUICK = Scale(
    size=64,
    people=3,
    people_frames=8,
    person_frames=32,
    takes_frames=30,
    test_frames=8,
    vae=VAEConfig(steps=40, crop_size=32),
    decoder=VAEConfig(steps=20, crop_size=32),
    pretrain=SGDMConfig(steps=20, train_vision=True),
    finetune=SGDMConfig(steps=40),
    broaden=SGDMConfig(steps=20),
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
        whole = DatasetSettings(scale.size, FPS, clip_frames=CLIP_FRAMES, workers=scale.workers)
        short = replace(whole, fps=FPS / 2, clip_frames=TAKE_FRAMES)
        self._film(PEOPLE, everybody, scale.people * scale.people_frames, self.seed, whole)
        self._film(PERSON, (0,), scale.person_frames, self.seed, whole)
        self._film(TAKES, (0,), scale.takes_frames, self.seed + TAKES_SEED, short)

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
        networks = {"body": sgdm, "vae": vae, "vision": vision}
        null = torch.zeros(1, *one.reference.shape[1:])
        picture = torch.from_numpy(person.reference[0])
        return Anchor(demo_card(scale, seed), **networks, null_appearance=null, reference=picture)

    def denoise(self, stage: str, sgdm: SGDM, vision: Any, data: TrainingSet) -> None:
        """Train the SGDM for one stage: `pretrain`, `finetune` or `broaden`."""
        config: SGDMConfig = replace(getattr(self.scale, stage), seed=self.seed)
        with self.step(stage, " steps") as bar:
            train_sgdm(sgdm, vision, data, ZERO_TERMINAL_SNR, config, self.out / stage, bar)

    def report(self, path: Path) -> None:
        """Measure the finished file on held-out motion: with clean meshes, and with jittering estimates."""
        from ..evaluation.benchmark import held_out_rows, plain

        rows = held_out_rows(path, self.scale.test_frames, self.step)
        for row in rows:
            log.info("%s: %.2f dB, SSIM %.3f, flicker %.2f", row.name, row.psnr, row.ssim, row.flicker)
        with atomic_path(self.out / REPORT_NAME) as partial:
            partial.write_text(json.dumps([plain(row) for row in rows], indent=1), encoding="utf-8")


def demo_card(scale: Scale, seed: int) -> AnchorCard:
    """What stands on the card: everything that sampling and placing a motion needs."""
    schedule = ZERO_TERMINAL_SNR
    return AnchorCard(
        name="Demo presenter",
        stage="finetuned",
        base="none: trained from nothing on the synthetic people of this pack",
        resolution=(scale.size, scale.size),
        camera=default_camera(scale.size, scale.size).to_dict(),
        betas=make_identity(0).betas,
        fps=FPS,
        training_steps=scale.pretrain.steps + scale.finetune.steps + scale.broaden.steps,
        seed=seed,
        prediction_type=schedule.prediction_type,
        num_train_timesteps=schedule.train_steps,
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule=schedule.beta_schedule,
        zero_terminal_snr=schedule.zero_terminal_snr,
        timestep_spacing=schedule.timestep_spacing,
        steps_offset=schedule.steps_offset,
        set_alpha_to_one=schedule.set_alpha_to_one,
        scheduler="ddim",
        guidance_scale=1.0,  # guidance gains nothing where one person was learned, and doubles the time
        condition_scale=1.0,  # the scale of training
        steps=10,
        window_size=16,
        overlap=4,
        fidelity="trained",
        null_appearance="stored",
        licence="CC0 1.0",
        consent="nobody's likeness: a synthetic person on the CC0 body of MakeHuman",
        made_with=f"anchor_core {__version__}: python -m anchor_core train-demo --seed {seed}",
    )
