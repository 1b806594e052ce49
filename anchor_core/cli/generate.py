"""`demo` and `generate`: from a motion to a video, one implementation with two sets of defaults."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .faces import add_face_options, face_pass_from, flag_of
from .options import (
    DEMO_ANCHOR,
    DEMO_MOTION,
    add_base_option,
    add_device_options,
    add_motion_options,
    anchor_from,
    body_from,
    check_outputs,
    device_from,
    motion_from,
)
from .progress import step_bar
from .retargeting import add_retarget_options, retargeted, warn_of_ranges

if TYPE_CHECKING:
    from ..anchor.file import Anchor
    from ..pipeline import Take

SAMPLER_OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("steps", int, "denoising steps"),
    ("guidance_scale", float, "weight of the appearance guidance; 1 = off, half the time"),
    ("condition_scale", float, "weight of the mesh condition (W_c)"),
    ("window_size", int, "frames that are denoised together"),
    ("overlap", int, "frames that neighbouring windows share"),
    ("schedule", str, "static, reference, uniform or looped windows, of both passes"),
    ("weighting", str, "flat, pyramid or overlap-linear, of both passes"),
    ("scheduler", str, "ddim, dpm++2m, unipc, euler or lcm, of both passes"),
    ("seed", int, "the same seed and settings give the same video on the same device"),
)


def add_commands(commands: Any) -> None:
    """Register `demo` and `generate`."""
    demo = commands.add_parser("demo", help="make a video with the anchor and the motion that ship")
    _add_options(demo, anchor=DEMO_ANCHOR, motion=DEMO_MOTION, out=Path("demo.mp4"))
    generate = commands.add_parser("generate", help="make a video of your anchor with your motion")
    _add_options(generate, anchor=None, motion=None, out=Path("anchor.mp4"))


def _add_options(
    parser: argparse.ArgumentParser, anchor: Path | None, motion: Path | None, out: Path
) -> None:
    parser.add_argument(
        "--anchor",
        type=Path,
        default=anchor,
        required=anchor is None,
        metavar="FILE",
        help="anchor file or folder",
    )
    add_base_option(parser)
    add_motion_options(parser, motion)
    add_retarget_options(parser)
    parser.add_argument(
        "--appearance", type=Path, metavar="PNG", help="reference picture (default: the anchor's own)"
    )
    parser.add_argument(
        "--vae", type=Path, metavar="FILE", help="SD1.5 checkpoint or VAE, if the anchor has none"
    )
    parser.add_argument(
        "--clip-vision", type=Path, metavar="FILE", help="CLIP ViT-B/32, if the anchor has none"
    )
    parser.add_argument(
        "--text-encoder", type=Path, metavar="FILE", help="SD1.5 checkpoint, for the empty prompt"
    )
    parser.add_argument(
        "--out", type=Path, default=out, metavar="MP4", help=f"(default {out}; a sheet goes beside it)"
    )
    for name, kind, text in SAMPLER_OPTIONS:
        parser.add_argument(
            flag_of(name), type=kind, help=f"{text} (default: the anchor's)" if name != "seed" else text
        )
    add_face_options(parser)
    add_device_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Film the motion and write video and sheet."""
    from ..anchor.use import sampler_settings
    from ..pipeline import Runtime, Scene, film, save_take
    from ..video.write import check_video_name

    check_video_name(args.out)
    check_outputs(args, args.out, args.out.with_suffix(".png"))
    with step_bar("reading", " files") as bar:
        motion = motion_from(args)
        bar(1, 3)
        anchor = anchor_with_parts(args)
        bar(2, 3)
        body = body_from(args, motion.gender)
        bar(3, 3)
    motion = retargeted(args, motion, anchor.card)
    warn_of_ranges(motion, anchor.card, body)
    face = face_pass_from(args, anchor)
    scene = Scene(anchor, motion, body, _picture(args.appearance), args.renderer, face)
    asked = {name: getattr(args, name) for name, _, _ in SAMPLER_OPTIONS}
    take = film(scene, sampler_settings(anchor.card, **asked), Runtime(*device_from(args), step_bar))
    facts = {"anchor": anchor.card.name, "motion": args.motion.name, "start": args.start}
    sheet = save_take(take, args.out, facts)
    _report(take, args.out, sheet)


def anchor_with_parts(args: argparse.Namespace) -> Anchor:
    """The anchor, with base parts from the files that the options name."""
    from ..anchor.base_parts import load_null_appearance, load_vae, load_vision

    anchor = anchor_from(args.anchor, args.base)
    if args.vae:
        anchor.vae = load_vae(args.vae)
    if args.clip_vision:
        anchor.vision = load_vision(args.clip_vision)
    if args.text_encoder:
        anchor.null_appearance = load_null_appearance(args.text_encoder)
    return anchor


def _report(take: Take, out: Path, sheet: Path) -> None:
    """Say what was made, and which faces were left as they are."""
    from ..video.read import describe_video

    print(f"{out}: {describe_video(out)}")
    if take.track is None:
        print(f"{sheet}: mesh over result")
        return
    reasons = Counter(reason for reason in take.track.hidden if reason)
    left = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    print(f"{take.n_painted} faces painted" + (f", others left as they are: {left}" if left else ""))
    print(f"{sheet}: mesh, body pass and result; the same of the faces")


def _picture(path: Path | None) -> Any:
    if path is None:
        return None
    from ..video.read import read_picture

    return read_picture(path)
