"""The trainings that are compared: the paper's two stages, and what it is compared with.

    pretrain        many people                             (section 4.1, first stage)
    ours_<p>        one person, from pretrain               (second stage)
    perturbed_<p>   the same, on perturbed SMPL-X too       (the paper's best row)
    alone_<p>       one person, from nothing                (without two-stage training, I)
    short_<p>       the same in the steps of the second stage alone
    together        all people at once, from nothing        (without two-stage training, II)
    face_pretrain, face_<p>                                 (section 3.4, likewise in two stages)

The paper's text of its settings I and II was not at hand; these are the two ways to leave a stage out.
Single stages get the steps of both, but for `short`. The vision tower is learned with whatever starts from
nothing, since there is no CLIP in this world; the second stage keeps it. One VAE serves all, as Stable
Diffusion's does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...anchor.card import AnchorCard
from ...anchor.face_card import FaceCard
from ...anchor.file import Anchor, load_anchor
from ...anchor.use import appearance_tokens, schedule_fields
from ...demo.dataset import MANIFEST
from ...demo.faces import FOLDER as FACE_FOLDER
from ...demo.networks import new_face_sgdm, new_sgdm, new_vae, new_vision
from ...demo.recipe import ANCHOR_NAME, body_pass
from ...files import ASSETS, atomic_path
from ...motion.camera import default_camera
from ...progress import Progress, StepFactory
from ...sampling.schedulers import ZERO_TERMINAL_SNR
from ...sgdm.network import SGDM
from ...training.config import SGDMConfig
from ...training.data import TrainingSet, join_sets, prepare
from ...training.manifest import read_manifest
from ...training.trainer import train_sgdm
from ...training.vae import train_vae
from ...video.read import read_picture
from .scale import FPS, MethodScale
from .stages import once
from .world import FILMS, PEOPLE, cut_faces, faces_of, film_name, frames_of, perturbed_meshes

RUNS, WEIGHTS = "runs", "networks.safetensors"
VAE, PRETRAIN, TOGETHER, FACE_PRETRAIN = "vae", "pretrain", "together", "face_pretrain"


@dataclass(frozen=True)
class Run:
    """One training.

    films: what it sees; start: the run that it goes on from, None for nothing; config: a field or property of
    the scale; perturbed: on perturbed meshes too; person: of a face, whose body run makes the surroundings.
    """

    name: str
    films: tuple[str, ...]
    start: str | None
    config: str
    perturbed: bool = False
    face: bool = False
    person: int | None = None


def plan_runs(scale: MethodScale) -> list[list[Run]]:
    """All runs in levels: those of a level need only earlier levels."""
    films = [film_name(person) for person in scale.anchor_ids]
    first = [Run(PRETRAIN, (PEOPLE,), None, "pretrain")]
    first += [Run(TOGETHER, (PEOPLE, *films), None, "one_stage")]
    second, third = [], [Run(FACE_PRETRAIN, (PEOPLE,), PRETRAIN, "face_pretrain", face=True)]
    fourth = []
    for person, film in zip(scale.anchor_ids, films, strict=True):
        first.append(Run(run_name("alone", person), (film,), None, "one_stage"))
        first.append(Run(run_name("short", person), (film,), None, "short"))
        second.append(Run(run_name("ours", person), (film,), PRETRAIN, "finetune"))
        second.append(Run(run_name("perturbed", person), (film,), PRETRAIN, "finetune", perturbed=True))
        face = Run(
            run_name("face", person), (film,), FACE_PRETRAIN, "face_finetune", face=True, person=person
        )
        fourth.append(face)
    return [first, second, third, fourth]


def run_name(kind: str, person: int) -> str:
    """Of a run for one test person."""
    return f"{kind}_{person}"


def train_autoencoder(out: Path, scale: MethodScale, seed: int, step: StepFactory) -> None:
    """The VAE: that of the shipped demo anchor, trained further on frames and faces of everybody.

    It stands for Stable Diffusion's, which is given to all rows of the paper too.
    """
    folder = out / RUNS / VAE

    def make() -> None:
        names = [PEOPLE, *(film_name(person) for person in scale.anchor_ids)]
        pictures = [load(out, name) for load in (frames_of, faces_of) for name in names]
        vae = new_vae(seed)
        vae.load_state_dict(load_anchor(ASSETS / ANCHOR_NAME).vae.float().state_dict())
        with step("training the VAE", " steps") as bar:
            train_vae(vae, pictures, replace(scale.vae, seed=seed), folder, bar)
        _save({"vae": vae}, folder / WEIGHTS)

    once(folder, make)


def train_run(out: Path, scale: MethodScale, seed: int, run: Run, progress: Progress | None = None) -> None:
    """One run from its start to its weights; goes on where it was stopped."""
    folder = out / RUNS / run.name

    def make() -> None:
        sgdm, vision = start_networks(out, scale, seed, run)
        config: SGDMConfig = replace(getattr(scale, run.config), seed=seed)
        if run.perturbed:
            config = replace(config, perturbation=scale.perturbation)
        data = training_set(out, scale, seed, run, vision, config.train_vision)
        train_sgdm(sgdm, vision, data, ZERO_TERMINAL_SNR, config, folder, progress)
        _save({"sgdm": sgdm, "vision": vision}, folder / WEIGHTS)

    once(folder, make)


def start_networks(out: Path, scale: MethodScale, seed: int, run: Run) -> tuple[SGDM, Any]:
    """Network and tower that a run begins with. The first face network takes over the tower alone."""
    if run.start is None:
        return new_sgdm(seed + 2), new_vision(seed + 1)
    if run.name == FACE_PRETRAIN:
        return new_face_sgdm(seed + 3), load_networks(out, scale, run.start, seed)[1]
    return load_networks(out, scale, run.start, seed)


def training_set(
    out: Path, scale: MethodScale, seed: int, run: Run, vision: Any, train_vision: bool
) -> TrainingSet:
    """What a run learns from, encoded by the VAE."""
    vae = load_vae(out, scale, seed)
    parts = []
    for film in run.films:
        if not run.face:
            pictures = frames_of(out, film)
        elif run.person is None:  # as published: the surroundings are those of the film itself
            pictures = replace(faces_of(out, film), context=None)
        else:
            pictures = cut_faces(
                out, film, scale, body_pass(body_anchor(out, scale, seed, "ours", run.person))
            )
        data = prepare(pictures, vae, vision, train_vision)
        parts.append(replace(data, perturbed=perturbed_meshes(out, film)) if run.perturbed else data)
    return join_sets(parts) if len(parts) > 1 else parts[0]


def load_vae(out: Path, scale: MethodScale, seed: int) -> Any:
    """The trained autoencoder, on the device."""
    vae = new_vae(seed)
    vae.load_state_dict(_tensors(out / RUNS / VAE / WEIGHTS, "vae"))
    vae.register_to_config(scaling_factor=1.0)  # its latents are whitened
    return vae.to(scale.device, memory_format=torch.channels_last).eval().requires_grad_(False)


def load_networks(out: Path, scale: MethodScale, name: str, seed: int) -> tuple[SGDM, Any]:
    """SGDM and vision tower of a finished run, on the device."""
    path = out / RUNS / name / WEIGHTS
    sgdm = new_face_sgdm(seed) if name.startswith("face") else new_sgdm(seed)
    vision = new_vision(seed)
    parts: dict[str, Any] = {"sgdm": sgdm, "vision": vision}
    for part, network in parts.items():
        network.load_state_dict(_tensors(path, part))
        network.to(scale.device, memory_format=torch.channels_last).eval()
    return sgdm, vision


def body_anchor(out: Path, scale: MethodScale, seed: int, kind: str, person: int) -> Anchor:
    """A body run as an anchor of a test person: "pretrain" and "together" are the same for all."""
    name = kind if kind in (PRETRAIN, TOGETHER) else run_name(kind, person)
    sgdm, vision = load_networks(out, scale, name, seed)
    return _anchor(out, scale, seed, person, vision, body=sgdm)


def face_anchor(out: Path, scale: MethodScale, seed: int, person: int, *, pretrained: bool = False) -> Anchor:
    """The face run of a test person, or the pre-trained one, as an anchor."""
    name = FACE_PRETRAIN if pretrained else run_name("face", person)
    sgdm, vision = load_networks(out, scale, name, seed)
    return _anchor(out, scale, seed, person, vision, face=sgdm)


def _anchor(out: Path, scale: MethodScale, seed: int, person: int, vision: Any, **networks: SGDM) -> Anchor:
    folder = out / FILMS / film_name(person)
    anchor = Anchor(
        method_card(scale, person),
        vae=load_vae(out, scale, seed),
        vision=vision,
        reference=_reference(folder / MANIFEST),
        face_reference=_reference(folder / FACE_FOLDER / MANIFEST),
        **networks,  # type: ignore[arg-type]
    )
    tokens, _ = appearance_tokens(anchor)
    return replace(anchor, null_appearance=torch.zeros_like(tokens))


def method_card(scale: MethodScale, person: int) -> AnchorCard:
    """How the networks of this world want to be sampled: no guidance, the trained scale, windows of 16."""
    return AnchorCard(
        name=f"Person {person}",
        base="none: trained from nothing",
        resolution=(scale.size, scale.size),
        camera=default_camera(scale.size, scale.size).to_dict(),
        fps=FPS,
        **schedule_fields(ZERO_TERMINAL_SNR),
        guidance_scale=1.0,
        condition_scale=1.0,
        steps=scale.body_steps,
        window_size=16,
        overlap=4,
        fidelity="trained",
        null_appearance="stored",
        face=FaceCard(crop_size=scale.crop_size, guidance_scale=1.0, steps=scale.face_steps, mesh="drawn"),
    )


def _reference(manifest: Path) -> Tensor:
    return torch.from_numpy(read_picture(read_manifest(manifest)[0].reference))


def _save(networks: dict[str, Any], path: Path) -> None:
    tensors = {
        f"{part}.{name}": tensor.detach().cpu().contiguous()
        for part, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    with atomic_path(path) as partial:
        save_file(tensors, partial)


def _tensors(path: Path, part: str) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {
        key.removeprefix(prefix): value for key, value in load_file(path).items() if key.startswith(prefix)
    }
