"""How large the benchmark of the method is: pictures, people, steps; a quick one and one for a GPU.

Two choices carry the experiment over from the paper. The person's film is short and shows few postures while
the pre-training people show many, as one minute stands against 27 hours there. And every way of training gets
the same number of optimiser steps in all, so that no row wins by computing more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...training.config import LoopConfig, SGDMConfig, VAEConfig, check_range

FPS = 25.0
"""Of the held-out clips, frames per second."""
FILM_FPS = 12.5
"""Of the training films: fewer frames per second show more motion in as many frames."""


@dataclass(frozen=True)
class MethodScale:
    """How much of everything; frames are counted per person.

    size, crop_size: sides of frame and aligned face, pixels. people: of the pre-training. anchors: the test
    people, whom no pre-training saw. anchor_frames: the "minute" of each. clips, clip_frames: held-out motion
    of each. perturbed: renders of perturbed SMPL-X per frame; perturbation: share of the samples that see
    one; perturbation_amount: as a multiple of the estimator's own error, which the meshes have besides.
    body_steps, face_steps: of the solver.
    """

    size: int
    crop_size: int
    people: int
    people_frames: int
    anchors: int
    anchor_frames: int
    clips: int
    clip_frames: int
    film_frames: int
    vae: VAEConfig
    pretrain: SGDMConfig
    finetune: SGDMConfig
    face_pretrain: SGDMConfig
    face_finetune: SGDMConfig
    landmarks: LoopConfig
    perturbed: int = 3
    perturbation: float = 0.5
    perturbation_amount: float = 6.0
    body_steps: int = 10
    face_steps: int = 3
    device: str = "cpu"
    workers: int = 2

    def __post_init__(self) -> None:
        for name in ("people", "anchors", "clips", "workers", "film_frames", "perturbed"):
            check_range(name, getattr(self, name), 1, 10**6)
        check_range("clip_frames", self.clip_frames, 3, 10**6)  # accelerations need three
        check_range("perturbation", self.perturbation, 0, 1)

    @property
    def one_stage(self) -> SGDMConfig:
        """Training in one stage: as many steps as pre-training and fine-tuning together."""
        return replace(self.pretrain, steps=self.pretrain.steps + self.finetune.steps)

    @property
    def short(self) -> SGDMConfig:
        """Training in one stage, in the steps of the second."""
        return replace(self.pretrain, steps=self.finetune.steps)

    @property
    def people_ids(self) -> range:
        """Seeds of the pre-training people."""
        return range(1, self.people + 1)

    @property
    def anchor_ids(self) -> range:
        """Seeds of the test people."""
        return range(self.people + 1, self.people + 1 + self.anchors)


QUICK = MethodScale(
    size=128,
    crop_size=128,
    people=8,
    people_frames=120,
    anchors=2,
    anchor_frames=160,
    clips=2,
    clip_frames=48,
    film_frames=20,
    vae=VAEConfig(steps=450, learning_rate=1.5e-3, whole_size=128),
    pretrain=SGDMConfig(steps=500, batch_size=8, train_vision=True),
    finetune=SGDMConfig(steps=350, batch_size=8),
    face_pretrain=SGDMConfig(steps=200, batch_size=8),
    face_finetune=SGDMConfig(steps=180, batch_size=8),
    landmarks=LoopConfig(steps=300, learning_rate=2e-3),
)
FULL = MethodScale(
    size=192,
    crop_size=128,
    people=24,
    people_frames=400,
    anchors=4,
    anchor_frames=1500,  # one minute
    clips=3,
    clip_frames=96,
    film_frames=60,
    vae=VAEConfig(steps=12000, whole_size=128, device="cuda"),
    pretrain=SGDMConfig(steps=20000, train_vision=True, device="cuda"),
    finetune=SGDMConfig(steps=8000, device="cuda"),
    face_pretrain=SGDMConfig(steps=8000, device="cuda"),
    face_finetune=SGDMConfig(steps=4000, device="cuda"),
    landmarks=LoopConfig(steps=5000, learning_rate=2e-3, device="cuda"),
    body_steps=20,
    device="cuda",
    workers=1,
)
SCALES = {"quick": QUICK, "full": FULL}


def on_device(scale: MethodScale, device: str) -> MethodScale:
    """The same scale with all trainings and the sampling on another device."""
    names = ("vae", "pretrain", "finetune", "face_pretrain", "face_finetune", "landmarks")
    return replace(
        scale, device=device, **{name: replace(getattr(scale, name), device=device) for name in names}
    )
