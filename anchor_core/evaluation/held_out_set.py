"""The held-out part of a prepared data set as a truth: its frames, meshes and motion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from ..body.model import BodyModel
from ..dataset.card import ClipFacts, read_dataset_card
from ..dataset.lists import HELD_OUT
from ..errors import AnchorError
from ..motion.motion import Motion
from ..motion.read import read_motion
from ..training.manifest import Sample, read_manifest
from .frames import Clip, picture_clip
from .guide import Guide

_LISTED = 8  # names of clips that a message tells


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The held-out frames of one clip, what is known about them, and how long the whole clip is."""

    truth: Clip
    guide: Guide
    clip_frames: int

    def end_of(self, result: Clip) -> Clip:
        """The result as it is, or its end where it shows the whole clip: the end is held out."""
        skipped = result.n_frames - self.truth.n_frames
        if skipped <= 0 or result.n_frames != self.clip_frames:
            return result
        return replace(
            result,
            n_frames=self.truth.n_frames,
            read=lambda: islice(result.read(), skipped, None),
            skipped=skipped,
        )


def held_out_truth(folder: Path, body: BodyModel, clip: str | None = None) -> HeldOut:
    """The held-out frames of one clip of a data set.

    body: of its motion. clip: its name; needed where several clips have held-out frames. Raises AnchorError.
    """
    card = read_dataset_card(folder)
    manifest = folder / HELD_OUT
    if not manifest.is_file():
        raise AnchorError(
            f"{folder} has no {HELD_OUT}: give a data set of `prepare` that holds frames out, or --truth"
        )
    samples = _of_clip(read_manifest(manifest), clip, folder)
    facts = next((one for one in card.clips if one.name == samples[0].clip), None) if card else None
    fps = 0.0 if card is None else card.fps
    truth = picture_clip([sample.target for sample in samples], f"{folder} (held out)", fps)
    meshes = picture_clip([sample.source for sample in samples], "meshes", fps)
    guide = Guide(_motion(folder, facts, samples), body, meshes)
    return HeldOut(truth, guide, facts.frames if facts else 0)


def _of_clip(samples: list[Sample], clip: str | None, folder: Path) -> list[Sample]:
    names = list(dict.fromkeys(sample.clip for sample in samples))
    listed = ", ".join(names[:_LISTED])
    if clip is None and len(names) > 1:
        raise AnchorError(
            f"{folder} holds frames of {len(names)} clips out ({listed}): choose one with --clip"
        )
    clip = clip or names[0]
    if clip not in names:
        raise AnchorError(f"{folder} holds no frames of a clip '{clip}' out: there are {listed}")
    return [sample for sample in samples if sample.clip == clip]


def _motion(folder: Path, facts: ClipFacts | None, samples: list[Sample]) -> Motion | None:
    """The motion of these frames; None where the data set was not made by `prepare`."""
    file = folder / "motion" / f"{samples[0].clip}.npz"
    if facts is None or not file.is_file():
        return None
    first, last = (int(sample.target.stem) - facts.first for sample in (samples[0], samples[-1]))
    return read_motion(file).sliced(first, last + 1)
