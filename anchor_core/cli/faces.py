"""The face pass on the command line: its options, and what they stand for."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnchorError

if TYPE_CHECKING:
    import numpy as np

    from ..anchor.file import Anchor
    from ..filming.scene import FacePass
    from ..sampling.sampler import SamplerSettings

log = logging.getLogger("anchor")

SETTINGS: tuple[tuple[str, type, str], ...] = (
    ("face_steps", int, "denoising steps of the face pass"),
    ("face_guidance_scale", float, "weight of the appearance guidance; 1 = off, half the time"),
    ("face_condition_scale", float, "weight of the mesh condition"),
    ("face_window_size", int, "faces that are denoised together; 1 = one by one, as published"),
    ("face_overlap", int, "faces that neighbouring windows share"),
)
_OTHERS = ("face_blend", "face_smoothing", "face_appearance", "face_posterior")
_SHARED = (
    *("schedule", "weighting", "scheduler", "seed"),
    *("guidance_start", "guidance_end", "far_keys", "reuse"),
)


def add_face_options(parser: argparse.ArgumentParser) -> None:
    """--face and the options of the pass."""
    group = parser.add_argument_group("face pass", "paints the faces of finished frames once more, enlarged")
    group.add_argument(
        "--face",
        choices=("auto", "on", "off"),
        default="auto",
        help="auto: if the anchor has a face network and a picture of the face (default auto)",
    )
    group.add_argument(
        "--face-appearance",
        type=Path,
        metavar="PNG",
        help="aligned crop of the face, see face-crop (default: the anchor's own)",
    )
    for name, kind, text in SETTINGS:
        group.add_argument(flag_of(name), type=kind, help=f"{text} (default: the anchor's)")
    group.add_argument(
        "--face-blend",
        choices=("face", "crop", "square"),
        help="put back the face alone, its whole crop, or that as published (default face)",
    )
    group.add_argument(
        "--face-smoothing",
        type=float,
        metavar="FRAMES",
        help="how far the place of the face is smoothed over time; 0 = not, as published (default 1.5)",
    )
    group.add_argument(
        "--face-posterior",
        choices=("mode", "sample"),
        help="how what surrounds the face is encoded; sample = with fixed noise, as published (default mode)",
    )


def face_pass_from(args: argparse.Namespace, anchor: Anchor) -> FacePass | None:
    """The face pass that the options ask for, or None. A missing network is found out by `film_to_file`."""
    from ..face.blend import BlendOptions
    from ..filming.scene import FacePass, face_tracking

    if args.face == "off" or (args.face == "auto" and anchor.face is None):
        _refuse_options(args, anchor)
        return None
    if args.face == "auto" and args.face_appearance is None and anchor.face_reference is None:
        log.warning(
            "'%s' has a face network and no reference picture of the face, so the faces stay as the body "
            "pass makes them; pass --face-appearance with an aligned crop (face-crop cuts one)",
            anchor.card.name,
        )
        return None
    return FacePass(
        settings=_settings(args, anchor),
        track=face_tracking(anchor.card, args.face_smoothing),
        blend=BlendOptions(mode=args.face_blend or BlendOptions.mode),
        posterior=args.face_posterior or "mode",
    )


def read_face(path: Path) -> np.ndarray:
    """An aligned crop of a face, (S, S, 3) uint8; AnchorError for a picture that is not square."""
    from ..video.read import read_picture

    picture = read_picture(path)
    height, width = picture.shape[:2]
    if height != width:
        raise AnchorError(
            f"{path} has {width} x {height} pixels and a reference of the face is an aligned crop, which is"
            " square; cut one with: python -m anchor_core face-crop"
        )
    return picture


def flag_of(name: str) -> str:
    """The option of an argument."""
    return "--" + name.replace("_", "-")


def _settings(args: argparse.Namespace, anchor: Anchor) -> SamplerSettings:
    from ..anchor.use import face_card, sampler_settings
    from ..sampling.presets import preset_overrides

    given: dict[str, Any] = {name: getattr(args, name) for name in _SHARED}
    given.update({name.removeprefix("face_"): getattr(args, name) for name, _, _ in SETTINGS})
    preset = preset_overrides(args.preset, anchor.card, "face", distilled=bool(args.lora))
    asked = preset | {name: value for name, value in given.items() if value is not None}
    if "window_size" in asked and "overlap" not in asked:
        asked["overlap"] = max(0, min(face_card(anchor.card).overlap, asked["window_size"] - 1))
    return sampler_settings(anchor.card, "face", **asked)


def _refuse_options(args: argparse.Namespace, anchor: Anchor) -> None:
    """Raise AnchorError for an option of a pass that is not run."""
    names = [*(name for name, _, _ in SETTINGS), *_OTHERS]
    given = next((name for name in names if getattr(args, name) is not None), None)
    if given is not None:
        why = "--face is off" if args.face == "off" else f"'{anchor.card.name}' holds no face network"
        raise AnchorError(
            f"{flag_of(given)} is given and there is no face pass, for {why}; leave the option away"
        )
