"""From videos and motions to a folder that an anchor is trained on (section 4.1 of the paper: the data).

    prepare_dataset([Recording(Path("me.mp4"), Path("me.pkl"), "me")], Path("data/me"), PrepareOptions())

A folder holds `image/`, `mesh/` (and `mesh_1/`, ... of perturbed parameters), `head/{image,mesh,mask}/` with
numbered PNGs, `motion/` with the motion of each clip as the pictures show it, the lists of `lists`, a picture
and numbers of how mesh and person fit (`alignment.png`, `alignment.json`), and `card.json`.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..body.find import open_body
from ..body.model import BodyModel
from ..errors import AnchorError
from ..files import atomic_path, write_png
from ..motion.file import load_motion
from ..motion.motion import Motion
from ..motion.ranges import measure_ranges
from ..progress import StepFactory, silent_step
from .card import ClipFacts, DatasetCard, dataset_hash, write_dataset_card
from .clip import write_clip
from .journal import ClipState, Journal, known_crops
from .lists import BODY, FACE, FACE_HELD_OUT, HELD_OUT, Shot, write_lists
from .plan import ClipPlan, plan_clips
from .recording import PrepareOptions, Recording

logger = logging.getLogger("anchor")

ALIGNMENT_PICTURE, ALIGNMENT_FACTS = "alignment.png", "alignment.json"
_RANGE_FRAMES = 20_000  # at most that ranges are measured on: more say no more and need memory
_SHOWN = 6  # clips in the picture of the alignment, those that fit worst
_ENDS = 1 << 20  # bytes at both ends of a file that tell it from another


def prepare_dataset(
    recordings: Sequence[Recording],
    out: Path,
    options: PrepareOptions | None = None,
    step: StepFactory | None = None,
) -> DatasetCard:
    """Write a dataset, or go on where an earlier call was stopped; returns its card.

    The same call again with more recordings adds them. Lists and card are written last. Raises AnchorError
    for recordings that do not fit, and where no person is under the mesh (`options.accept_misfit`).
    """
    with _each_warning_once():
        return _prepare(recordings, out, options or PrepareOptions(), step or silent_step)


def _prepare(
    recordings: Sequence[Recording], out: Path, options: PrepareOptions, step: StepFactory
) -> DatasetCard:
    body = open_body(options.body)
    plans = plan_clips(recordings, options, body, known_crops(out))
    journal = Journal(out, _settings(options), [_fingerprint(plan) for plan in plans])
    for plan in plans:
        state = journal.begin(plan.name)
        if state.alignment is None:
            with step(f"preparing {plan.name}", " frames") as bar:
                write_clip(plan, out, journal, options, body, bar)
        _check_person(plan, state, out, options)
    states = [journal.clips[plan.name] for plan in plans]
    _write_alignment(plans, states, out)
    return _finish(plans, states, out, options, body, step)


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """What a body cannot show is said by all who pose it: crops, meshes, faces."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = text not in said
        said.add(text)
        return new

    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)


def _settings(options: PrepareOptions) -> dict[str, Any]:
    """What the pictures depend on; how they are split does not belong to it."""
    read = {key: str(value) for key, value in vars(options.read).items() if value is not None}
    settings: dict[str, Any] = {
        "size": options.size,
        "head size": options.head_size,
        "perturbed meshes": options.perturbed,
        "background": list(options.background),
        "meshes": options.meshes,
        "crop": options.crop and list(options.crop),
        "camera": options.camera and options.camera.to_dict(),
        "body": options.body and str(options.body),
        "reading the motion": read,
    }
    if options.perturbed:
        settings |= {"perturbation": options.perturb_amount, "seed": options.seed}
    return settings


def _fingerprint(plan: ClipPlan) -> dict[str, Any]:
    """Tells whether a recording is the one that an earlier run began with."""
    recording = plan.recording
    files = {"video": recording.video, "motion": plan.motion_path, "matte": recording.matte}
    marks = {key: _mark(path) for key, path in files.items() if path is not None}
    return {"name": plan.name, "person": plan.person, "crop": list(plan.crop), **marks}


def _mark(path: Path) -> str:
    if path.is_dir():
        return path.name
    with path.open("rb") as handle:
        crc = zlib.crc32(handle.read(_ENDS))
        size = path.stat().st_size
        handle.seek(max(0, size - _ENDS))
        crc = zlib.crc32(handle.read(_ENDS), crc)
    return f"{path.name} {size} {crc:08x}"


def _check_person(plan: ClipPlan, state: ClipState, out: Path, options: PrepareOptions) -> None:
    facts = state.alignment or {}
    if facts.get("person_found", True) or options.accept_misfit:
        return
    why = " ".join(facts.get("verdict", [])[:1])
    raise AnchorError(
        f"{plan.footage.path.name}: {why} Look at {out / 'alignment' / (plan.name + '.png')}, or give "
        "accept the misfit (--accept-misfit) to go on as it is."
    )


def _write_alignment(plans: Sequence[ClipPlan], states: Sequence[ClipState], out: Path) -> None:
    """The clips that fit worst in one picture, the numbers of all in one file."""
    from ..video.read import read_picture

    facts = {plan.name: state.alignment or {} for plan, state in zip(plans, states, strict=True)}
    with atomic_path(out / ALIGNMENT_FACTS) as partial:
        partial.write_text(json.dumps({"clips": facts}, indent=1, ensure_ascii=False), encoding="utf-8")
    worst = sorted(facts, key=lambda name: float(facts[name].get("score") or 0))[:_SHOWN]
    shown = [name for name in facts if name in worst]
    pictures = [read_picture(out / "alignment" / f"{name}.png") for name in shown]
    width = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0))) for picture in pictures]
    write_png(out / ALIGNMENT_PICTURE, np.concatenate(padded))


def _finish(
    plans: Sequence[ClipPlan],
    states: Sequence[ClipState],
    out: Path,
    options: PrepareOptions,
    body: BodyModel,
    step: StepFactory,
) -> DatasetCard:
    shots = [_shot(plan, state) for plan, state in zip(plans, states, strict=True)]
    counts = write_lists(out, shots, options.held_out, options.seed, options.perturbed)
    with step("checking what was written", " steps") as bar:
        motions = _trained_motions(shots, out, options)
        ranges = measure_ranges(list(motions.values()), body)
        bar(1, 2, None)
        found = dataset_hash(out)
        bar(2, 2, None)
    first = load_motion(out / "motion" / f"{plans[0].name}.npz")
    assert first.camera is not None  # `write_clip` saves it with that of the crop
    rates = sorted({plan.footage.fps for plan in plans})
    if len(rates) > 1:
        logger.warning("The recordings have %s frames per second: each keeps its own.", rates)
    card = DatasetCard(
        size=options.size,
        head_size=options.head_size,
        fps=first.fps,
        frames=counts[BODY],
        held_out_frames=counts[HELD_OUT],
        camera=first.camera,
        betas=_betas([motions[s.clip] for s in shots if s.person == shots[0].person and s.clip in motions]),
        people=tuple(dict.fromkeys(shot.person for shot in shots)),
        clips=tuple(_facts(plan, state) for plan, state in zip(plans, states, strict=True)),
        perturbed=options.perturbed,
        body=options.body.name if options.body else "standin",
        ranges=ranges,
        hash=found,
        made_with=_made_with(options),
        faces=counts[FACE],
        held_out_faces=counts[FACE_HELD_OUT],
    )
    write_dataset_card(card, out)
    return card


def _shot(plan: ClipPlan, state: ClipState) -> Shot:
    faces = tuple(state.first + face for face in state.faces)
    return Shot(plan.name, plan.person, state.first, state.frames, faces)


def _facts(plan: ClipPlan, state: ClipState) -> ClipFacts:
    return ClipFacts(
        name=plan.name,
        person=plan.person,
        video=plan.recording.video.name,
        motion=plan.motion_path.name,
        first=state.first,
        frames=state.frames,
        crop=plan.crop,
        faces=len(state.faces),
        alignment={key: fact for key, fact in (state.alignment or {}).items() if key != "profile"},
    )


def _trained_motions(shots: Sequence[Shot], out: Path, options: PrepareOptions) -> dict[str, Motion]:
    """By clip, the motions of the training parts, thinned out where they are long."""
    total = sum(len(shot.trained(options.held_out)) for shot in shots)
    stride = -(-total // _RANGE_FRAMES)
    motions = {}
    for shot in shots:
        if trained := len(shot.trained(options.held_out)):
            motion = load_motion(out / "motion" / f"{shot.clip}.npz").sliced(0, trained)
            motions[shot.clip] = motion.per_frame(lambda rows: rows[::stride])
    return motions


def _betas(motions: Sequence[Motion]) -> tuple[float, ...]:
    """The median of what the estimator found in the clips of one person."""
    shapes = [motion.betas for motion in motions if motion.betas is not None]
    if not shapes:
        return ()
    longest = max(len(shape) for shape in shapes)
    padded = np.stack([np.pad(shape, (0, longest - len(shape))) for shape in shapes])
    return tuple(float(value) for value in np.median(padded, axis=0))


def _made_with(options: PrepareOptions) -> dict[str, Any]:
    chosen = _settings(replace(options, perturbed=max(1, options.perturbed)))
    return {
        "command": "python -m anchor_core prepare",
        "version": __version__,
        "settings": {**chosen, "perturbed meshes": options.perturbed, "held out": options.held_out},
    }
