"""`prepare`: from videos and motions to a dataset folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnchorError
from .edits import add_read_options, read_options_from
from .progress import step_bar

if TYPE_CHECKING:
    from ..dataset.card import DatasetCard
    from ..dataset.recording import PrepareOptions, Recording
    from ..motion.camera import Camera


def add_commands(commands: Any) -> None:
    """Register `prepare`."""
    prepare = commands.add_parser("prepare", help="make the pictures that an anchor is trained on")
    prepare.add_argument(
        "videos",
        type=Path,
        nargs="+",
        metavar="VIDEO",
        help="videos, folders of pictures, or finished output folders of SHOW",
    )
    prepare.add_argument(
        "--motion",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="the motion of each video, with its camera (SHOW folders hold theirs)",
    )
    prepare.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="dataset to write")
    _add_people(prepare)
    _add_pictures(prepare)
    add_read_options(prepare)
    prepare.set_defaults(run=run)


def _add_people(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--names",
        nargs="+",
        default=[],
        metavar="NAME",
        help="who is in each video, or one name for all (default: one person)",
    )
    parser.add_argument(
        "--matte",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="MASK video or folder of each video, white where the person is: the rest becomes --background",
    )
    parser.add_argument(
        "--background",
        type=int,
        nargs=3,
        default=(0, 0, 0),
        metavar=("R", "G", "B"),
        help="0 to 255 (default black)",
    )
    parser.add_argument(
        "--body", type=Path, metavar="PATH", help="your SMPL-X .npz, or a folder of them (default: stand-in)"
    )


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size", type=int, default=512, metavar="S", help="side of the pictures, pixels (default 512)"
    )
    parser.add_argument(
        "--head-size", type=int, default=256, metavar="S", help="side of the face crops (default 256)"
    )
    parser.add_argument(
        "--held-out",
        type=float,
        default=0.1,
        metavar="X",
        help="share of each video, its end, that is not trained on (default 0.1)",
    )
    parser.add_argument(
        "--perturbed",
        type=int,
        default=0,
        metavar="K",
        help="further meshes of each frame, from perturbed SMPL-X parameters (default 0)",
    )
    parser.add_argument(
        "--perturbation", type=float, default=3.0, metavar="X", help="how far those are off (default 3)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of reference pictures and perturbations (default 0)"
    )
    parser.add_argument(
        "--crop",
        type=float,
        nargs=4,
        metavar=("X", "Y", "W", "H"),
        help="part of the video to use, pixels (default: a square around the person)",
    )
    parser.add_argument(
        "--camera", type=Path, metavar="JSON", help="camera of the video, where the motion has none"
    )
    parser.add_argument(
        "--meshes",
        choices=("auto", "given", "drawn"),
        default="auto",
        help="those of a SHOW folder as they are, or drawn anew (default: given where they lie on black)",
    )
    parser.add_argument("--trim", action="store_true", help="cut video and motion to the shorter of the two")
    parser.add_argument(
        "--accept-misfit", action="store_true", help="go on where no person is found under the mesh"
    )


def run(args: argparse.Namespace) -> None:
    """Prepare the dataset, and say what it holds."""
    from ..dataset.prepare import prepare_dataset

    recordings, options = _recordings(args), _options(args)
    card = prepare_dataset(recordings, args.out, options, step_bar)
    _say(card, args.out)


def _recordings(args: argparse.Namespace) -> list[Recording]:
    from ..dataset.recording import Recording

    count = len(args.videos)
    motions = _one_each(args.motion, count, "--motion") or [None] * count
    mattes = _one_each(args.matte, count, "--matte") or [None] * count
    names = args.names * count if len(args.names) == 1 else args.names
    names = _one_each(names, count, "--names") or [""] * count
    return [
        Recording(video, motion, name, matte)
        for video, motion, name, matte in zip(args.videos, motions, names, mattes, strict=True)
    ]


def _one_each(given: list[Any], count: int, option: str) -> list[Any]:
    if given and len(given) != count:
        raise AnchorError(
            f"{option} names {len(given)} for {count} videos: give one for each, in their order."
        )
    return given


def _options(args: argparse.Namespace) -> PrepareOptions:
    from ..dataset.recording import PrepareOptions

    names = ("size", "head_size", "held_out", "perturbed", "seed", "trim", "meshes", "body", "accept_misfit")
    return PrepareOptions(
        **{name: getattr(args, name) for name in names},
        perturb_amount=args.perturbation,
        crop=None if args.crop is None else tuple(args.crop),
        camera=None if args.camera is None else _camera(args.camera),
        background=tuple(args.background),
        read=read_options_from(args),
    )


def _camera(path: Path) -> Camera:
    from ..motion.camera import Camera

    try:
        return Camera.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except AnchorError:
        raise
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise AnchorError(
            f"--camera {path} cannot be read ({error}): give a JSON file with focal_px, center_px, size and "
            "translation."
        ) from None


def _say(card: DatasetCard, out: Path) -> None:
    for clip in card.clips:
        x, y, width, height = clip.crop
        print(
            f"{clip.name}: {clip.frames} frames of {clip.person}, {clip.faces} with a face, from "
            f"{width:g} x {height:g} pixels at {x:g}, {y:g}"
        )
        for sentence in clip.alignment.get("verdict", []):
            print(f"  {sentence}")
    print(
        f"{out}: {card.frames} frames to train on and {card.held_out_frames} held out, {card.size} pixels, "
        f"{card.fps:.5g} fps; faces: {card.faces} and {card.held_out_faces}, {card.head_size} pixels"
    )
    print(f"how mesh and person fit: {out / 'alignment.png'}")
